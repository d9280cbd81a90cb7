"""Pages about other registries: registrations, replication rules and their runs, proxy caches."""

import re

from tests.portal.elsewhere import ended
from tests.portal.visitor import Site

from moorage.portal import parts
from moorage.portal.pages import replication_runs
from moorage.portal.shapes.replication import ReplicationTask
from moorage.replication.transfer import Progress


def test_registries_are_tried_kept_and_forgotten(site: Site) -> None:
    """A test keeps nothing and says what it found; the secret is in no page; a provider's own
    address goes in by itself; what is in use stays."""
    admin, url = site.admin(), site.registry.url
    base = "/harbor/registries"
    about = {"type": "harbor", "name": "tried", "url": url, "verify": "true"}
    account = {"access_key": site.registry.username, "access_secret": site.registry.password}
    tried = admin.post(f"{base}?do=new", op="test", **about, **account)
    assert tried.status_code == 200
    assert "It answers." in tried.text
    assert 'value="tried"' in tried.text
    assert site.registry.password not in tried.text
    wrong = admin.post(f"{base}?do=new", op="test", **about | {"url": "http://127.0.0.1:1"})
    assert wrong.status_code == 400
    assert 'role="alert"' in wrong.text
    assert "tried" not in admin.get(base)
    page = admin.done(f"{base}?do=new", op="create", **about, **account)
    number = re.search(r'"Actions for tried".*?do=edit&amp;id=(\d+)', page, re.DOTALL)
    assert number is not None
    edit = f"{base}?do=edit&id={number[1]}"
    assert site.registry.password not in admin.get(edit)
    known = {"id": number[1], "url": url, "access_key": site.registry.username}
    assert "It answers." in admin.post(edit, op="test", **known).text
    page = admin.done(edit, op="edit", name="renamed", description="x", **known)
    assert "not verified" in page
    assert "renamed" not in admin.done(base, op="delete", id=number[1])
    kept = admin.post(base, op="delete", id=str(site.elsewhere["registry"]))
    assert kept.status_code == 412
    assert "replication policies use this registry" in kept.text


def test_a_replication_from_preview_to_retry(site: Site) -> None:
    """The editor shows what would move before it is kept; a run is followed, its tasks and their
    log are read; what was said comes back when the rule is edited; switched, stopped, deleted."""
    admin, other = site.admin(), str(site.elsewhere["registry"])
    base = "/harbor/replications"
    rule = {
        "name": "by form",
        "mode": "pull",
        "registry": other,
        "name_value": "payments/charts/*",
        "tag_value": ">=0.1",
        "tag_kind": "semver",
        "namespace": "mirrored",
        "replaced": "-1",
        "trigger": "scheduled",
        "cron": "0 30 2 * * *",
        "speed": "80000",
        "override": "true",
        "chunked": "true",
        "enabled": "true",
    }
    typed = admin.post(f"{base}?do=new", op="preview", **rule)
    assert typed.status_code == 200, typed.text
    assert "mirrored/payments:0.4.2" in typed.text
    assert 'value="by form"' in typed.text
    assert "by form</a>" not in admin.get(base)
    absent = rule | {"mode": "push", "namespace": "not-there-yet"}  # a project to be made there
    assert (
        "not-there-yet/payments:0.4.2" in admin.post(f"{base}?do=new", op="preview", **absent).text
    )
    refused = admin.post(f"{base}?do=new", op="preview", **rule | {"tag_value": "no version"})
    assert refused.status_code == 400
    page = admin.done(f"{base}?do=new", op="create", **rule)
    number = re.search(r'/harbor/replications/(\d+)">by form</a>', page)
    assert number is not None
    edit = admin.get(f"{base}?do=edit&id={number[1]}")
    for text in ('value="80000"', 'value="0 30 2 * * *"', 'value="semver" selected'):
        assert text in edit
    assert "mirrored/payments:0.4.2" in admin.get(f"{base}/{number[1]}?do=preview")
    answer = admin.post(base, op="run", id=number[1])
    tasks = answer.headers["location"]
    run = int(tasks.split("/")[-2])
    assert ended(site.maker(), run) == "Succeed"
    shown = admin.get(tasks)
    assert "100 %" in shown
    log = re.search(r'href="([^"]+task=\d+)"', shown)
    assert log is not None
    assert "copy payments/charts/payments:0.4.2" in admin.get(log[1])
    assert f"#{run}</a>" in admin.get(f"{base}/{number[1]}?status=Succeed")
    assert f"#{run}</a>" not in admin.get(f"{base}/{number[1]}?status=Failed")
    retried = admin.post(tasks, op="retry", task="999999")
    assert retried.status_code == 404
    admin.done(base, op="stop", run=str(run))
    admin.done(tasks, op="stop")
    assert "Disabled" in admin.done(base, op="switch", id=number[1])
    assert "semver" in admin.get(f"{base}?do=edit&id={number[1]}")
    assert "by form</a>" not in admin.done(base, op="delete", id=number[1])


def test_what_the_editor_does_not_show_stays(site: Site) -> None:
    """A rule with two filters of a type, made over the API, keeps both when it is edited."""
    admin, maker = site.admin(), site.maker()
    filters = [{"type": "name", "value": value} for value in ("payments/**", "**/api")]
    body = {"name": "two filters", "dest_registry": {"id": site.elsewhere["registry"]}}
    answer = maker.api("POST", "/replication/policies", {**body, "filters": filters})
    path = answer.headers["location"].removeprefix("/api/v2.0")
    number = path.rpartition("/")[2]
    edit = f"/harbor/replications?do=edit&id={number}"
    assert "A further filter of this rule stays as it is." in admin.get(edit)
    said = {"id": number, "name": "two filters", "mode": "push", "registry": "1"}
    admin.done(edit, op="edit", name_value="checkout/**", trigger="manual", **said)
    found = maker.api("GET", path).json()["filters"]
    assert [each["value"] for each in found] == ["checkout/**", "**/api"]
    maker.api("DELETE", path)


def test_a_proxy_cache_by_forms(site: Site) -> None:
    """Made by an administrator with its bounds, told apart in the list, changed in its settings."""
    admin = site.admin()
    about = {"name": "hub", "public": "true", "speed": "9000", "connections": "7"}
    refused = admin.post("/harbor/projects?do=proxy", op="create-cache", **about)
    assert refused.status_code == 400
    other = {"registry": str(site.elsewhere["registry"]), "filter": "payments/**", "local": "true"}
    page = admin.done("/harbor/projects?do=proxy", op="create-cache", **about, **other)
    assert "Pull through this cache" in page
    assert "Push to this project" not in page
    listed = admin.get("/harbor/projects")
    assert "Proxy cache" in listed
    assert "Normal" in listed
    base = f"/harbor/projects/{site.project('hub')}"
    assert "Cache of" in admin.get(f"{base}/summary")
    settings = admin.get(f"{base}/configs")
    for text in ('value="9000"', 'value="7"', 'value="payments/**"', 'name="local" value="true" c'):
        assert text in settings
    page = admin.done(f"{base}/configs", op="save", connections="3", referrers="true")
    found = site.maker().api("GET", "/projects/hub").json()["metadata"]
    assert found["public"] == "false"
    assert (found["proxy_speed_kb"], found["max_upstream_conn"]) == ("-1", "3")
    assert (found["proxy_referrer_api"], found["proxy_cache_local_on_not_found"]) == (
        "true",
        "false",
    )
    mara = site.visitor("mara", "Work-2026-Long")
    assert "New proxy cache" not in mara.get("/harbor/projects")
    admin.done(f"{base}/configs", op="delete", name="hub")


def test_progress_is_read_as_the_job_tells_it() -> None:
    """The bytes of a task that runs stand on a bar; one that ended says what it moved."""
    told = str(Progress(moved=100, spared=50, expected=400))
    running = ReplicationTask(status="InProgress", progress=told)
    assert replication_runs.moved(running) == parts.progress(150, 400)
    ended = ReplicationTask(status="Succeed", progress=told, moved_bytes=400)
    assert replication_runs.moved(ended) == parts.size(400)
