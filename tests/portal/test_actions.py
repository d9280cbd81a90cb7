"""Every action of the portal is done in a browser: none without a flow, no flow without an action.

What a flow says that it does (`flows.fires`) its own test holds against the requests of the
browser. Here all of that is held against what there is: the forms of all pages, the operations
that the code compares with, and the routes that take a form.
"""

import importlib
import inspect
from pathlib import Path

import pytest
from tests.portal.crawl import crawl, template
from tests.portal.flows import PASSWORD, Action
from tests.portal.paths import everything, strangers
from tests.portal.test_forms import ELSEWHERE, FORMS, RUNNING, operations
from tests.portal.visitor import Site

from moorage.portal.pages import ROUTES


def fired() -> set[Action]:
    """What all flows do together."""
    found: set[Action] = set()
    for file in sorted(Path(__file__).parent.glob("test_flow_*.py")):
        module = importlib.import_module(f"tests.portal.{file.stem}")
        for name, value in vars(module).items():
            if name.startswith("test_"):
                found |= getattr(value, "fires", frozenset())
    return found


def of(where: str) -> str:
    """The route of an action as it stands in ROUTES."""
    return template(where.replace("{rest:path}", "rest").replace("{run:int}", "1"))


def test_every_form_has_a_flow() -> None:
    """What `test_forms` knows, and nothing that it does not know; it holds that against all pages
    and against the code."""
    known = {*FORMS, *RUNNING, *ELSEWHERE}
    doors = {("/account/sign-in", ""), ("/account/sign-up", "")}
    assert fired() == known | doors


def test_every_route_and_operation_has_a_flow() -> None:
    """Whatever a page is posted for, as the code itself says it."""
    done = {(of(where), op) for where, op in fired()}
    missing = []
    for path, _, post in ROUTES:
        if post is not None and path not in {where for where, _ in done}:
            missing.append(path)
    for module in {inspect.getmodule(post) for _, _, post in ROUTES if post is not None}:
        assert module is not None
        own = {path for path, _, post in ROUTES if inspect.getmodule(post) is module}
        seen = {op for where, op in done if where in own}
        missing += [f"{module.__name__} {op}" for op in operations(module) - seen]
    assert missing == []


@pytest.mark.slow
def test_every_form_of_every_page_has_a_flow(full: Site) -> None:
    """As an administrator, a maintainer and nobody find them by following links."""
    mara = full.visitor("mara", PASSWORD)
    starts = ["/harbor/projects", f"/harbor/projects/{full.project('payments')}/repositories"]
    found = [
        everything(full),
        crawl(mara, [*starts, "/account/profile", "/account/tokens"]),
        crawl(full.visitor(), strangers(full)),
    ]
    forms = {key for each in found for key in each.forms}
    assert len(forms) > 60
    assert forms - fired() == set()
