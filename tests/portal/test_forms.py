"""Every form of the portal is sent as it stands in its page, without JavaScript.

FORMS says what is written into each. A form that the pages have and FORMS has not fails here, and
so does an `op` that the code knows and no form sends.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.portal.crawl import crawl, route, template
from tests.portal.full import Size, filled
from tests.portal.html import Sent
from tests.portal.paths import every, everything
from tests.portal.visitor import Site

from moorage.portal.pages import ROUTES

pytestmark = pytest.mark.slow

SMALL = Size(projects=2, repositories=4, artifacts=16, pulls=20, runs=2)
P, R = "/harbor/projects/{project}", "/harbor/projects/{project}/repositories/{rest:path}"
LIST, ONE = f"{R}/artifacts-tab", f"{R}/artifacts-tab/artifacts"
JOBS = "/harbor/job-service-dashboard"
SECRET = "Aa1-other-secret"
OTHER = {"registry": "1"}
RULE = {"repositories": "none-*", "tags": "v9*"}

FORMS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    # what is made
    ("/harbor/projects", "create"): {"name": "by-form", "limit": "3"},
    ("/harbor/projects", "create-cache"): {"name": "cache-by-form", "filter": "payments/**"},
    ("/harbor/users", "create"): {
        "username": "sora",
        "email": "sora@example.com",
        "realname": "Sora",
        "comment": "new",
        "password": SECRET,
    },
    ("/harbor/groups", "create"): {"name": "Frontend"},
    ("/harbor/robot-accounts", "create"): {"name": "everywhere", "description": "x"},
    ("/harbor/labels", "create"): {"name": "shared", "description": "x"},
    ("/harbor/registries", "test"): {"type": "harbor", "name": "typed", "url": "{url}"},
    ("/harbor/registries", "create"): {"type": "harbor", "name": "another", "url": "{url}"},
    ("/harbor/replications", "preview"): {"name": "typed", "name_value": "payments/**"} | OTHER,
    ("/harbor/replications", "create"): {"name": "by form", "name_value": "payments/**"} | OTHER,
    ("/account/tokens", "create"): {"name": "script", "days": "3", "project": "payments"},
    (f"{P}/members", "add"): {"name": "haru"},
    (f"{P}/labels", "create"): {"name": "of the project", "description": "x"},
    (f"{P}/robot-account", "create"): {"name": "nightly", "description": "x", "duration": "3"},
    (f"{P}/webhook", "create"): {
        "name": "more",
        "address": "http://127.0.0.1:1/",
        "event": ["PUSH_ARTIFACT"],
        "auth_header": "Bearer x",
        "secret": SECRET,
    },
    (f"{P}/tag-strategy/tag-retention", "create"): RULE | {"count": "3"},
    (f"{P}/tag-strategy/immutable-tag", "create"): RULE,
    # what is changed
    (f"{P}/configs", "save"): {},
    (f"{P}/members", "role"): {"role": "2"},
    (f"{P}/labels", "edit"): {"name": "renamed"},
    (f"{P}/robot-account", "switch"): {},
    (f"{P}/robot-account", "edit"): {"description": "edited"},
    (f"{P}/robot-account", "secret"): {},
    (f"{P}/webhook", "edit"): {"name": "edited"},
    (f"{P}/webhook", "test"): {},
    (f"{P}/webhook", "switch"): {},
    (f"{P}/tag-strategy/tag-retention", "schedule"): {"when": "0 0 0 * * *"},
    (f"{P}/tag-strategy/tag-retention", "dry"): {},
    (f"{P}/tag-strategy/tag-retention", "run"): {},
    (f"{P}/tag-strategy/tag-retention", "stop"): {},
    (f"{P}/tag-strategy/tag-retention", "switch"): {},
    (f"{P}/tag-strategy/immutable-tag", "switch"): {},
    (f"{P}/trash", "restore"): {},
    (f"{R}/info-tab", "describe"): {"description": "# Said"},
    (ONE, "tag"): {"name": "by-form"},
    (ONE, "label"): {},
    (ONE, "unlabel"): {},
    (ONE, "copy"): {"project": "checkout", "repository": "one"},
    (LIST, "copy"): {"project": "checkout", "repository": "many"},
    (LIST, "label"): {},
    (LIST, "unlabel"): {},
    ("/harbor/users", "admin"): {"id": "{person}"},
    ("/harbor/users", "password"): {"id": "{person}", "password": SECRET},
    ("/harbor/groups", "rename"): {"name": "Renamed"},
    ("/harbor/robot-accounts", "edit"): {"description": "edited"},
    ("/harbor/robot-accounts", "switch"): {},
    ("/harbor/robot-accounts", "secret"): {},
    ("/harbor/labels", "edit"): {"name": "renamed"},
    ("/harbor/project-quotas", "edit"): {"limit": "9"},
    ("/harbor/project-quotas", "default"): {"limit": "90"},
    ("/harbor/registries", "edit"): {"description": "edited"},
    ("/harbor/replications", "edit"): {"description": "edited"},
    ("/harbor/replications", "run"): {"id": "1"},
    ("/harbor/replications", "switch"): {},
    ("/harbor/clearing-job/gc", "schedule"): {"type": "Daily"},
    ("/harbor/clearing-job/gc", "run"): {"dry_run": "true"},
    ("/harbor/clearing-job/audit-log-purge", "schedule"): {"type": "Weekly"},
    ("/harbor/clearing-job/audit-log-purge", "run"): {},
    (f"{JOBS}/pending-jobs", "pause"): {},
    (f"{JOBS}/pending-jobs", "resume"): {},
    (f"{JOBS}/pending-jobs", "stop"): {},
    (f"{JOBS}/schedules", "pause"): {},
    (f"{JOBS}/schedules", "resume"): {},
    ("/harbor/configs/auth", "save"): {},
    ("/harbor/configs/ldap", "save"): {},
    ("/harbor/configs/oidc", "save"): {},
    ("/harbor/configs/setting", "save"): {"banner_message": "tide"},
    ("/harbor/configs/audit", "save"): {},
    ("/account/profile", "profile"): {"realname": "Harbour master"},
    ("/account/language", ""): {},
    # what goes
    (ONE, "untag"): {},
    (ONE, "delete"): {},
    (LIST, "untag"): {"id": "{second}"},
    (LIST, "delete"): {"id": "{third}"},
    (f"{P}/repositories", "delete"): {},
    (f"{P}/members", "remove"): {},
    (f"{P}/labels", "delete"): {},
    (f"{P}/robot-account", "delete"): {},
    (f"{P}/webhook", "delete"): {},
    (f"{P}/tag-strategy/tag-retention", "delete"): {},
    (f"{P}/tag-strategy/immutable-tag", "delete"): {},
    (f"{P}/configs", "delete"): {"name": "by-form"},
    ("/harbor/groups", "delete"): {},
    ("/harbor/robot-accounts", "delete"): {},
    ("/harbor/labels", "delete"): {},
    ("/harbor/replications", "delete"): {},
    ("/harbor/registries", "delete"): {"id": "{registry}"},
    ("/account/tokens", "end"): {},
    ("/harbor/users", "token"): {},
    ("/harbor/users", "delete"): {"id": "{person}"},
    ("/account/profile", "password"): {"old": "{password}", "new": SECRET, "again": SECRET},
    ("/account/sign-out", ""): {},
}
"""Route and `op` of a form, in an order that works: what is written into it."""

RUNNING = {
    ("/harbor/clearing-job/gc", "stop"),
    ("/harbor/clearing-job/audit-log-purge", "stop"),
    ("/harbor/replications", "stop"),
    (f"{P}/tag-strategy/tag-retention", "stop"),
}
"""Forms that are there while something waits or runs."""
ELSEWHERE = {
    ("/harbor/projects", "first-push"): "test_first_run",
    ("/harbor/configs/ldap", "test"): "test_settings",
    ("/harbor/configs/oidc", "test"): "test_settings",
    ("/harbor/replications/{run:int}/tasks", "retry"): "test_elsewhere",
    ("/harbor/replications/{run:int}/tasks", "stop"): "test_elsewhere",
    (LIST, "none"): "test_bulk",
    (f"{JOBS}/workers", "job"): "test_account",
    ("/account/profile", "secret"): "test_account",
    ("/oidc-onboard", ""): "test_account",
}
"""Forms that need more than a page, and the module that sends them."""
PERSON = {
    "username": "haru",
    "email": "haru@example.com",
    "realname": "Haru",
    "password": "Work-2026-Long",
}
WHERE = {
    (f"{P}/configs", "delete"): "/harbor/projects/by-form/configs",
    ("/harbor/users", "token"): "/harbor/users?tokens=1",
    ("/harbor/replications", "stop"): "/harbor/replications/1",
}
"""Pages that no link of a list leads to first."""
HELD = ("GARBAGE_COLLECTION", "PURGE_AUDIT_LOG", "RETENTION", "REPLICATION")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A registry where everything may be deleted."""
    with filled(tmp_path_factory.mktemp("forms"), SMALL) as site:
        yield site


class Sender:
    """Finds a form in the pages of its route, and sends it."""

    def __init__(self, site: Site) -> None:
        self.visitor = site.admin()
        self.sent: set[tuple[str, str]] = set()
        found = everything(site)
        self.seen = dict(found.forms)
        self._pages = [*dict.fromkeys([*every(site), *found.pages.values()])]

    def find(self, key: tuple[str, str], said: Mapping[str, Any]) -> Sent:
        """The form, in its pages as they are now; of several, the one with the `id` in `said`."""
        known = self.seen.get(key, ())
        where = route(known[0].page) if known else key[0]
        starts = [path for path in self._pages if route(path) == where]
        if "id" in said:
            plain = starts[0].partition("?")[0]
            starts = [f"{plain}?do={key[1]}&id={said['id']}", plain]
        if key in WHERE:
            starts, where = [WHERE[key]], route(WHERE[key])
        found = crawl(self.visitor, starts, within=where)
        self.seen |= found.forms
        for form in found.forms.get(key, ()):
            ids = [each.value for each in form.controls if each.name == "id"]
            if "id" not in said or said["id"] in ids:
                return form
        raise AssertionError(f"no page has the form {key}")

    def send(self, key: tuple[str, str], said: Mapping[str, Any]) -> str:
        """Send it; the page that it leads to, which says of no trouble."""
        form = self.find(key, said)
        buttons = [each for each in form.buttons if each == ("op", key[1])] or form.buttons
        fields = form.filled(buttons[0] if buttons else ("", ""), said)
        answer = self.visitor.client.post(form.action, data=fields)
        assert answer.status_code in (200, 303), (key, answer.status_code, trouble(answer.text))
        text = answer.text
        if answer.status_code == 303:
            text = self.visitor.get(answer.headers["location"])
        assert 'class="failed"' not in text, (key, text)
        self.sent.add(key)
        return text


def trouble(page: str) -> str:
    """What a page says of a form that did not work."""
    found = re.search(r'<div class="alert" role="alert">(.*?)</div></div>', page, re.DOTALL)
    return found[1] if found else page[:1000]


def test_every_form_is_sent(own: Site) -> None:
    """By its button, with what stands in it and what FORMS says; the page after it tells of no
    trouble. What waits in a queue that is held can be stopped."""
    sender, maker = Sender(own), own.maker()
    for kind in HELD:
        maker.api("PUT", f"/jobservice/queues/{kind}", {"action": "pause"})
    maker.api("POST", "/users/current/tokens", {"name": "older", "duration": 3})
    tags = maker.api("GET", "/projects/payments/repositories/api/tags", sort="-version").json()
    values = {
        "url": own.registry.url,
        "password": own.registry.password,
        "person": maker.api("POST", "/users", PERSON).headers["location"].rpartition("/")[2],
        "registry": str(own.elsewhere["registry"] + 1),  # the next one that is made
        "second": tags[1]["name"],
        "third": tags[2]["name"],
    }
    for key, said in FORMS.items():
        if key == ("/account/sign-out", ""):
            sender.visitor = own.visitor("mara", "Work-2026-Long")
        given = {
            name: values[text[1:-1]] if isinstance(text, str) and text[:1] == "{" else text
            for name, text in said.items()
        }
        sender.send(key, given)
        if key[1] == "run" and (key[0], "stop") in RUNNING:
            sender.send((key[0], "stop"), {})
    assert (sender.seen.keys() | FORMS.keys()) - sender.sent - ELSEWHERE.keys() - RUNNING == set()
    assert sender.sent >= RUNNING


def test_no_operation_is_forgotten() -> None:
    """Each `op` that a module of pages compares with is in a form that some test sends."""
    sent = {*FORMS, *RUNNING, *ELSEWHERE}
    missing = {}
    for module in {inspect.getmodule(post) for _, _, post in ROUTES if post is not None}:
        assert module is not None
        own = [path for path, _, post in ROUTES if inspect.getmodule(post) is module]
        known = {op for where, op in sent if _of(where) in own}
        if operations(module) - known:
            missing[module.__name__] = operations(module) - known
    assert missing == {}


def _of(where: str) -> str:
    """The route of a key of FORMS."""
    return template(where.replace("{rest:path}", "rest").replace("{run:int}", "1"))


def operations(module: ModuleType) -> set[str]:
    """What `op` is compared with, in a module or in those that it hands the form to."""
    found: set[str] = set()
    for each in (module, *(getattr(module, name, None) for name in ("artifact",))):
        if each is None:
            continue
        for node in ast.walk(ast.parse(inspect.getsource(each))):
            if isinstance(node, ast.Compare) and ast.unparse(node.left) in _OP:
                constants = ast.walk(node.comparators[0])
                found |= {str(c.value) for c in constants if isinstance(c, ast.Constant)}
    return found - {""}


_OP = ("op", "visit.field('op')")


def test_modules_that_are_named_send_their_forms() -> None:
    """What needs more than a page has a test of its own."""
    for (_where, op), module in ELSEWHERE.items():
        text = (Path(__file__).parent / f"{module}.py").read_text()
        assert not op or f'op="{op}"' in text, (module, op)
