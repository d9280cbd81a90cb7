"""Rules and webhooks of a project in a browser: what is kept, what stays, and who is told."""

import pytest
from tests.portal.flows import IMMUTABLE, JOBS, PROJECT, RETENTION, Flow, fires
from tests.portal.listener import listener

pytestmark = pytest.mark.slow


@fires(
    *((RETENTION, op) for op in ("create", "schedule", "dry", "run", "switch", "delete", "stop")),
    (f"{JOBS}/pending-jobs", "pause"),
    (f"{JOBS}/pending-jobs", "resume"),
)
def test_retention_from_a_rule_to_what_goes(flow: Flow) -> None:
    """A preview tells what would go; a trial and a real run are followed to their end; one that
    waits is stopped; by schedule; switched off and deleted."""
    path, maker = flow.project("flow-retention"), flow.site.maker()
    for tag in ("1.0.0", "1.1.0", "1.2.0"):
        maker.image("flow-retention/app", tag)
    base = f"{path}/tag-strategy/tag-retention"
    flow.go(base)
    flow.shows("No rules: everything is kept")
    flow.follow("New rule")
    flow.submit("create", "Saved.", repositories="app", tags="1.*", count="1")
    flow.follow("Preview")
    flow.page.get_by_text("goes", exact=True).nth(1).wait_for()
    flow.page.get_by_text("a rule keeps it").wait_for()
    flow.go(base)
    flow.press(flow.page.locator('.actions button[value="dry"]'))
    flow.said("It runs.")
    flow.row("flow-retention/app").get_by_text("1 / 3").wait_for()
    flow.row("flow-retention/app").get_by_text("Done").wait_for()
    hold(flow, "RETENTION")
    flow.go(base)
    flow.press(flow.page.locator('.actions button[value="dry"]'))
    run = flow.page.url.rpartition("=")[2]
    flow.choose(run, "Stop", "It stops.")
    release(flow, "RETENTION")
    flow.go(base)
    flow.row(f"#{run}").get_by_text("Stopped").wait_for()
    flow.follow("Apply now")
    flow.shows("What no rule keeps goes to the trash.")
    flow.submit("run", "It runs.")
    flow.row("flow-retention/app").get_by_text("Done").wait_for()
    flow.go(f"{path}/repositories/app/artifacts-tab")
    flow.row("1.2.0").wait_for()
    flow.gone("1.0.0")
    flow.go(base)
    flow.follow("Schedule")
    flow.refuse("schedule", "a cron expression has six fields", when="custom", cron="now and then")
    flow.submit("schedule", "Saved.", when="0 0 0 * * 0")
    flow.choose("app", "Disable", "Saved.")
    flow.row("app").get_by_text("Disabled").wait_for()
    flow.choose("app", "Delete", "Saved.")
    flow.shows("No rules: everything is kept")


def hold(flow: Flow, kind: str) -> None:
    """Let nothing of a queue begin, on the page of the queues."""
    flow.go(f"{JOBS}/pending-jobs")
    flow.choose(kind, "Hold", "Done.")
    flow.row(kind).get_by_text("held").first.wait_for()


def release(flow: Flow, kind: str) -> None:
    """Let it go on."""
    flow.go(f"{JOBS}/pending-jobs")
    flow.choose(kind, "Go on", "Done.")
    flow.row(kind).get_by_text("open").first.wait_for()


@fires(*((IMMUTABLE, op) for op in ("create", "switch", "delete")))
def test_tags_that_stay(flow: Flow) -> None:
    """A rule locks tags, which the list shows; off, they are free again."""
    path = flow.project("flow-immutable")
    flow.site.maker().image("flow-immutable/app", "v1")
    base, listed = f"{path}/tag-strategy/immutable-tag", f"{path}/repositories/app/artifacts-tab"
    flow.go(base)
    flow.follow("New rule")
    flow.submit("create", "Saved.", repositories="app", tags="v*")
    flow.go(listed)
    flow.row("v1").get_by_text("immutable").wait_for(state="attached")
    flow.go(base)
    flow.choose("app", "Disable", "Saved.")
    flow.row("app").get_by_text("Disabled").wait_for()
    flow.go(listed)
    flow.row("v1").get_by_text("immutable").wait_for(state="detached")
    flow.go(base)
    flow.choose("app", "Delete", "Saved.")
    flow.shows("No rules")


@fires(*((f"{PROJECT}/webhook", op) for op in ("create", "edit", "test", "switch", "delete")))
def test_a_webhook_tells(flow: Flow) -> None:
    """Made for some events, tried, and its delivery followed live with its log; another address
    gets no secret of the one before, and the form says so; switched off, deleted."""
    base = f"{flow.project('flow-webhook')}/webhook"
    flow.go(base)
    flow.follow("New webhook")
    flow.page.get_by_role("checkbox", name="PUSH_ARTIFACT").check()
    with listener() as told:
        flow.submit("create", "Saved.", name="ship", address=told.address, auth_header="Bearer me")
        flow.row("ship").get_by_text("PUSH_ARTIFACT").wait_for()
        delivered(flow)
        assert told.bears("Bearer me")
    with listener() as other:
        flow.go(base)
        flow.choose("ship", "Edit")
        flow.submit("edit", "gets no authorization header", address=other.address)
        delivered(flow)
        assert other.headers
        assert not other.holds("Bearer me")
    flow.go(base)
    flow.choose("ship", "Disable", "Saved.")
    flow.row("ship").get_by_text("Disabled").wait_for()
    flow.choose("ship", "Delete")
    flow.submit("delete", "Deleted.")
    flow.shows("No webhooks")


def delivered(flow: Flow) -> None:
    """Send a test, and wait for its end."""
    flow.choose("ship", "Send a test", "A test is on its way.")
    run = flow.page.url.rpartition("=")[2]
    flow.row(f"#{run}").get_by_text("Done").wait_for()
    flow.page.get_by_role("heading", name=f"Delivery {run}").wait_for()


@fires((f"{PROJECT}/webhook", "test"), (f"{JOBS}/workers", "job"))
def test_a_job_that_runs_is_stopped(flow: Flow) -> None:
    """It stands in the list of what runs now without a reload, with its log; its menu ends it."""
    path = flow.project("flow-slow")
    with listener(answers=False) as told:
        target = {"type": "http", "address": told.address}
        hook = {"name": "slow", "enabled": True, "event_types": ["PUSH_ARTIFACT"]}
        number = path.rpartition("/")[2]
        flow.made(f"/projects/{number}/webhook/policies", {**hook, "targets": [target]})
        flow.go(f"{path}/webhook")
        flow.choose("slow", "Send a test", "A test is on its way.")
        flow.go(f"{JOBS}/workers")
        line = flow.row("WEBHOOK")
        line.wait_for()
        job = line.locator("a.name").inner_text().removeprefix("#")
        flow.follow(f"#{job}")
        flow.page.get_by_role("heading", name=f"Log of job {job}").wait_for()
        flow.choose(job, "Stop", "Done.")
        flow.gone(f"#{job}")
