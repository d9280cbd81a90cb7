"""Other registries in a browser: registered, tried, replicated to, and followed live."""

import re

import pytest
from tests.portal.flows import JOBS, RUN, Flow, fires
from tests.portal.listener import listener
from tests.portal.test_flow_rules import hold, release

pytestmark = pytest.mark.slow

BASE = "/harbor/replications"


@fires(*(("/harbor/registries", op) for op in ("test", "create", "edit", "delete")))
def test_a_registry_is_tried_kept_moved_and_forgotten(flow: Flow) -> None:
    """A test keeps what is typed; another server gets no secret that was given for this one: the
    form asks for it again, and so does its test."""
    here, page = flow.site.registry, flow.page
    account = {"access_key": here.username, "access_secret": here.password}
    flow.go("/harbor/registries")
    flow.follow("New registry")
    flow.fill("create", name="flow registry", url=here.url, **account)
    flow.in_place("test", "It answers.")
    assert flow.form("create").locator("[name=access_secret]").input_value() == here.password
    flow.submit("create", "flow registry is registered.")
    flow.row("flow registry").get_by_text("healthy").wait_for()
    flow.choose("flow registry", "Edit")
    flow.in_place("test", "It answers.")
    with listener() as other:
        flow.refuse("edit", "access_secret", url=other.address)
        page.get_by_role("status").filter(has_text="That did not work").wait_for()
        flow.go("/harbor/registries")
        flow.choose("flow registry", "Edit")
        form = flow.fill("edit", url=other.address)
        flow.in_place("test", "access_secret")
        assert not other.holds(here.password)
        assert form.locator("[name=url]").input_value() == other.address
    flow.submit("edit", "Saved.", url=here.url, description="moved and back")
    flow.row("flow registry").get_by_text("moved and back").wait_for()
    flow.choose("flow registry", "Delete")
    flow.submit("delete", "Deleted.")
    flow.gone("flow registry")


@fires(
    *((BASE, op) for op in ("preview", "create", "edit", "switch", "run", "delete")),
)
def test_a_rule_from_preview_to_the_last_byte(flow: Flow) -> None:
    """What would move is shown before anything is kept; the run is followed live to 100 %."""
    other = str(flow.site.elsewhere["registry"])
    flow.project("flow-mirror")
    flow.go(BASE)
    flow.follow("New rule")
    flow.fill("create", name="flow rule", registry=other, namespace="flow-mirror")
    flow.fill("create", name_value="payments/charts/*")
    flow.press(flow.page.locator('button[name="op"][value="preview"]'))
    flow.shows("Nothing is copied yet: this is what would move.")
    flow.shows("flow-mirror/charts/payments:0.4.2")
    flow.submit("create", "Saved.")
    flow.choose("flow rule", "Replicate now", "It runs.")
    flow.page.get_by_text("100 %").wait_for()
    flow.page.locator("table").get_by_text("Done").wait_for()
    flow.page.locator("table a.name").first.click()
    flow.page.locator("pre.log").get_by_text("payments/charts/payments:0.4.2").first.wait_for()
    flow.go(BASE)
    flow.choose("flow rule", "Edit")
    flow.refuse("edit", "a cron expression has six fields", trigger="scheduled", cron="at times")
    flow.submit("edit", "Saved.", trigger="scheduled", cron="0 30 2 1 1 *")
    flow.choose("flow rule", "Disable", "Saved.")
    flow.row("flow rule").get_by_text("Disabled").wait_for()
    flow.choose("flow rule", "Delete")
    flow.submit("delete", "Deleted.")
    flow.page.locator("tr[data-row] a.name", has_text="flow rule").wait_for(state="detached")


@fires(
    (BASE, "run"),
    (BASE, "stop"),
    (RUN, "stop"),
    (RUN, "retry"),
    (f"{JOBS}/pending-jobs", "pause"),
    (f"{JOBS}/pending-jobs", "resume"),
)
def test_a_replication_is_stopped_and_tried_again(flow: Flow) -> None:
    """From the list of runs and from its own page, while its tasks wait; then one goes on."""
    rule = flow.site.elsewhere["rule"]
    hold(flow, "REPLICATION")
    for place in ("list", "page"):
        flow.go(f"{BASE}/{rule}")
        flow.press(flow.page.get_by_role("button", name="Replicate now"))
        flow.said("It runs.")
        run = flow.page.url.split("/")[-2]
        flow.page.locator("tr[data-row]").first.wait_for()
        if place == "list":
            flow.go(f"{BASE}/{rule}")
            flow.choose(f"#{run}", "Stop", "It stops.")
        else:
            flow.press(flow.page.locator('.actions button[value="stop"]'))
            flow.said("It stops.")
        flow.page.locator("table").get_by_text("Stopped").wait_for()
    release(flow, "REPLICATION")
    flow.go(f"{BASE}/{run}/tasks")
    task = flow.page.locator("table a.name").first.inner_text()
    flow.choose(task, "Try again", "It runs.")
    flow.page.wait_for_url(re.compile(rf"{BASE}/\d+/tasks"))
    flow.page.locator("table").get_by_text("Done").wait_for()
