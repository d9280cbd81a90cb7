"""A form that is saved as it is shown changes nothing, also of what it does not show."""

import json
import re
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import unquote

import pytest
from tests.portal.html import Document
from tests.portal.visitor import Site, Visitor

QUOTAS = "/harbor/project-quotas"
MIB, GIB = 1 << 20, 1 << 30


def shown(page: str, name: str) -> str:
    """What stands in a field of a form."""
    found = re.search(rf'<input id="i-{name}" name="{name}" type="\w+" value="([^"]*)"', page)
    assert found is not None, name
    return unescape(found[1])


def project(site: Site, name: str) -> tuple[int, int]:
    """A new project, and its quota."""
    made = site.maker().api("POST", "/projects", {"project_name": name})
    number = int(made.headers["location"].rpartition("/")[2])
    (quota,) = site.maker().api("GET", "/quotas", reference_id=str(number)).json()
    return number, int(quota["id"])


def refused(admin: Visitor, path: str, why: str, **fields: str) -> str:
    """The page that says why a form was not taken."""
    answer = admin.post(path, **fields)
    assert answer.status_code == 400, answer.text
    assert f"<p>{why}" in unescape(answer.text)
    return answer.text


def test_a_quota_stays_to_the_byte(site: Site) -> None:
    """What is shown of it is what is saved; what is no size changes nothing."""
    admin, maker = site.admin(), site.maker()
    _, quota = project(site, "kept-quota")
    api, form = f"/quotas/{quota}", f"{QUOTAS}?do=edit&id={quota}"
    why = "Give a size such as 512 MiB"
    for size, text in (
        (512 * MIB, "512 MiB"),
        (3 * GIB // 2, "1.5 GiB"),
        (GIB + 1, "1073741825 B"),
        (-1, "-1"),
    ):
        maker.api("PUT", api, {"hard": {"storage": size}})
        assert shown(admin.get(form), "limit") == text
        admin.done(form, op="edit", id=str(quota), limit=text)
        assert maker.api("GET", api).json()["hard"]["storage"] == size
    admin.done(form, op="edit", id=str(quota), limit="0.5")
    for text in ("", "0", "-2", "1 GB", "much"):
        page = refused(admin, form, why, op="edit", id=str(quota), limit=text)
        assert shown(page, "limit") == text
    assert maker.api("GET", api).json()["hard"]["storage"] == GIB // 2


def test_the_default_quota_stays_to_the_byte(site: Site) -> None:
    """In the same way."""
    admin, maker, form = site.admin(), site.maker(), f"{QUOTAS}?do=default"
    try:
        for size, text in ((100 * MIB, "100 MiB"), (5 * GIB // 2, "2.5 GiB")):
            maker.api("PUT", "/configurations", {"storage_per_project": size})
            assert shown(admin.get(form), "limit") == text
            admin.done(form, op="default", limit=text)
            kept = maker.api("GET", "/configurations").json()["storage_per_project"]["value"]
            assert kept == size
        refused(admin, form, "Give a size such as 512 MiB", op="default", limit="")
        assert maker.api("GET", "/configurations").json()["storage_per_project"]["value"] == size
    finally:
        maker.api("PUT", "/configurations", {"storage_per_project": -1})


@pytest.mark.parametrize(
    ("limit", "hard"), [("1.5 GiB", 3 * GIB // 2), ("512 MiB", 512 * MIB), ("-1", -1), ("", -1)]
)
def test_a_new_project_has_the_quota_that_was_said(site: Site, limit: str, hard: int) -> None:
    """With its unit; none is the default; 0 makes no project."""
    admin, name = site.admin(), f"kept-new-{hard}-{len(limit)}".replace("--", "-")
    page = "/harbor/projects?do=new"
    refused(admin, page, "Give a size such as 512 MiB", op="create", name=name, limit="0")
    admin.done(page, op="create", name=name, limit=limit)
    number = site.project(name)
    (quota,) = site.maker().api("GET", "/quotas", reference_id=str(number)).json()
    assert quota["hard"]["storage"] == hard


GC, PURGE = "/harbor/clearing-job/gc", "/harbor/clearing-job/audit-log-purge"
HOURLY = {"type": "Hourly"}
COLLECT = {"delete_untagged": True, "empty_trash": True, "dry_run": False, "workers": 4}


def fields(page: str, op: str) -> dict[str, Any]:
    """What a browser would send of the form with that button, if nobody touched it."""
    form = next(each for each in Document.read("", page).forms if ("op", op) in each.buttons)
    return {name: value for name, value in form.filled(("op", op), {}).items() if name != "csrf"}


@pytest.mark.parametrize(
    ("where", "api", "parameters"),
    [
        (GC, "/system/gc", COLLECT),
        (GC, "/system/gc", dict.fromkeys(COLLECT, False) | {"workers": 1, "dry_run": True}),
        *(
            (
                PURGE,
                "/system/purgeaudit",
                {
                    "audit_retention_hour": hours,
                    "include_event_types": types,
                    "dry_run": dry,
                },
            )
            for hours, types, dry in (
                (730 * 24, "create_artifact,other", False),
                (36, "delete_artifact", True),
                (0, "other", False),
            )
        ),
    ],
)
def test_a_schedule_keeps_what_it_does(
    site: Site, where: str, api: str, parameters: Mapping[str, Any]
) -> None:
    """Only the rhythm changes; where there is no schedule, the form begins with what is usual."""
    admin, maker = site.admin(), site.maker()
    form, put = f"{where}?do=schedule", f"{api}/schedule"
    usual = fields(admin.get(form), "schedule")
    try:
        given = {"schedule": {"type": "Schedule", "cron": "0 0 3 1 1 *"}, "parameters": parameters}
        maker.api("PUT", put, given)
        said = fields(admin.get(form), "schedule")
        assert said["type"] == ["Custom"]
        admin.done(form, **said | {"type": "Custom", "cron": "0 0 4 1 1 *"})
        found = maker.api("GET", put).json()
        assert found["schedule"]["cron"] == "0 0 4 1 1 *"
        assert json.loads(found["job_parameters"]) == parameters
    finally:
        admin.done(form, **usual | {"type": "None"})
    assert maker.api("GET", put).json().get("schedule") is None
    assert fields(admin.get(form), "schedule") == usual


def test_a_purge_says_how_long_entries_stay(site: Site) -> None:
    """An emptied field is no age, and none is chosen for it."""
    for op in ("run", "schedule"):
        said = {"op": op, "type": "Weekly", "age": "", "unit": "days", "types": "other"}
        refused(site.admin(), f"{PURGE}?do={op}", "Say how long entries stay.", **said)
    found = site.maker().api("GET", "/system/purgeaudit/schedule").json()
    assert found.get("schedule") is None


ROBOTS = "/harbor/robot-accounts"
PULL, PUSH = ({"resource": "repository", "action": each} for each in ("pull", "push"))


def place(namespace: str, *access: Mapping[str, str], kind: str = "project") -> dict[str, Any]:
    """Rights in one place."""
    return {"kind": kind, "namespace": namespace, "access": list(access)}


def robot(site: Site, name: str, *permissions: Mapping[str, Any]) -> str:
    """The id of a robot account of the system with these rights."""
    body = {"name": name, "level": "system", "duration": 7, "permissions": permissions}
    made = site.maker().api("POST", "/robots", body)
    return str(made.json()["id"])


def rights(site: Site, number: str) -> dict[str, set[str]]:
    """What it may do, by place."""
    found = site.maker().api("GET", f"/robots/{number}").json()["permissions"] or ()
    return {
        each["namespace"]: {f"{pair['resource']} {pair['action']}" for pair in each["access"]}
        for each in found
    }


def test_rights_that_differ_by_project_stay(site: Site) -> None:
    """They are named, there are no boxes for them, and whatever is sent they are not widened."""
    admin = site.admin()
    catalog = {"resource": "catalog", "action": "read"}
    number = robot(
        site,
        "kept-differing",
        place("payments", PULL, PUSH),
        place("checkout", PULL),
        place("/", catalog, kind="system"),
    )
    before = rights(site, number)
    assert before["checkout"] == {"repository pull"}
    form = f"{ROBOTS}?do=edit&id={number}"
    page = admin.get(form)
    assert "Its rights differ between projects." in page
    assert "<code>payments: repository pull, repository push</code>" in page
    assert "<code>checkout: repository pull</code>" in page
    assert "<code>/: catalog read</code>" in page
    said = fields(page, "edit")
    assert not said.keys() & {"right", "projects"}
    admin.done(form, **said | {"description": "as before"})
    boxes = {"projects": "payments\ncheckout", "right": "project:repository:push"}
    admin.done(form, op="edit", id=number, description="of an older page", **boxes)
    assert rights(site, number) == before
    kept = site.maker().api("GET", f"/robots/{number}").json()
    assert (kept["description"], kept["duration"]) == ("of an older page", 7)
    site.maker().api("DELETE", f"/robots/{number}")


def test_rights_that_are_the_same_everywhere_are_boxes(site: Site) -> None:
    """Saved as they are shown they stay, and one can be taken away in all projects."""
    admin, both = site.admin(), {"repository pull", "repository push"}
    number = robot(site, "kept-equal", place("payments", PULL, PUSH), place("checkout", PUSH, PULL))
    form = f"{ROBOTS}?do=edit&id={number}"
    said = fields(admin.get(form), "edit")
    admin.done(form, **said)
    assert rights(site, number) == {"payments": both, "checkout": both}
    admin.done(form, **said | {"right": ["project:repository:pull"]})
    assert rights(site, number) == {each: {"repository pull"} for each in ("payments", "checkout")}
    site.maker().api("DELETE", f"/robots/{number}")


def test_a_robot_account_without_rights_is_offered_none(site: Site) -> None:
    """Its only project is gone: an edit ticks nothing for every project by itself."""
    admin, maker = site.admin(), site.maker()
    gone, _quota = project(site, "kept-gone")
    number = robot(site, "kept-nowhere", place("kept-gone", PULL))
    maker.api("DELETE", f"/projects/{gone}")
    assert rights(site, number) == {}
    assert "right" not in fields(admin.get(f"{ROBOTS}?do=edit&id={number}"), "edit")
    maker.api("DELETE", f"/robots/{number}")


BOTH = "The new address gets no authorization header and no signature: none was typed for it."
HEADER = "No authorization header goes to the new address: none was typed for it."
SIGNED = "What the new address is sent is not signed: no secret was typed for it."


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({}, BOTH),
        ({"auth_header": "Bearer b"}, SIGNED),
        ({"secret": "signs-b"}, HEADER),
        ({"auth_header": "Bearer b", "secret": "signs-b"}, ""),
        ({"type": "slack"}, HEADER),
        ({"type": "slack", "auth_header": "Bearer b"}, ""),
    ],
)
def test_a_webhook_that_moves_says_which_secret_is_not_sent(
    site: Site, typed: Mapping[str, str], said: str
) -> None:
    """Each is for its address; what is typed for the new one is not named."""
    admin, number = site.admin(), site.project("payments")
    api, page = f"/projects/{number}/webhook/policies", f"/harbor/projects/{number}/webhook"
    target = {"type": "http", "address": "https://a.example/", "secret": "signs-a"}
    hook = {
        "name": "moves",
        "event_types": ["PUSH_ARTIFACT"],
        "targets": [target | {"auth_header": "Bearer a"}],
    }
    made = site.maker().api("POST", api, hook).headers["location"].rpartition("/")[2]
    try:
        form = f"{page}?do=edit&id={made}"
        unchanged = fields(admin.get(form), "edit")
        answer = admin.post(form, **unchanged)
        assert flash(answer) == "Saved."
        answer = admin.post(form, **unchanged | {"address": "https://b.example/"} | dict(typed))
        assert answer.status_code == 303, answer.text
        assert flash(answer) == f"Saved. {said}".strip()
    finally:
        site.maker().api("DELETE", f"{api}/{made}")


def flash(answer: Any) -> str:
    """What the next page says."""
    found = re.search(r"flash=([^;]*)", str(answer.headers.get_list("set-cookie")))
    assert found is not None, answer.headers
    return unquote(found[1])


def test_a_secret_in_a_form_that_was_refused_is_typed_again(site: Site) -> None:
    """The page says so, and shows it nowhere; of what was not typed it says what it did."""
    admin, number = site.admin(), site.project("payments")
    page, again = f"/harbor/projects/{number}/webhook?do=new", "Type it again"
    assert again not in admin.get(page)
    said = {"op": "create", "name": "typed", "type": "http", "event": "PUSH_ARTIFACT"}
    answer = admin.post(page, **said, address="no address", secret="typed-once")
    assert answer.status_code == 400, answer.text
    assert answer.text.count(again) == 1
    assert "typed-once" not in answer.text
    help_of = dict(re.findall(r'<small id="h-(\w+)">([^<]*)</small>', answer.text))
    assert help_of["secret"] == "Type it again: it is not in the page that came back."
    assert help_of["auth_header"].startswith("Never shown again. Empty keeps it")
    answer = admin.post("/harbor/users?do=new", op="create", username="typed", password="weak")
    help_of = dict(re.findall(r'<small id="h-(\w+)">([^<]*)</small>', answer.text))
    assert help_of["password"].startswith("Type it again: ")
    assert "8 to 128 characters" in help_of["password"]
