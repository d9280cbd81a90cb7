"""The portal in a real browser: nothing forbidden, nothing inaccessible, little to load."""

import os
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from tests.portal.browser import SECONDS, Watched, axe
from tests.portal.flows import WIDE, Flow
from tests.portal.paths import every, long, strangers
from tests.portal.visitor import Site

pytestmark = pytest.mark.slow

FULL = "TESTS_PORTAL_FULL" in os.environ
DARK = None if FULL else ["color-contrast"]
NARROW = (
    None
    if FULL
    else ["target-size", "scrollable-region-focusable", "link-name", "button-name", "label"]
)
"""Rules whose outcome hangs on colours, and on the width; with TESTS_PORTAL_FULL=1 all of them."""
NARROW_WINDOW: Any = {"width": 390, "height": 844}
FIRST_LOAD = 120 << 10
PAGE_CHANGE = 40 << 10
"""Bytes over the wire."""


@pytest.fixture(scope="module")
def administrator(browser: Any, site: Site) -> Watched:
    """The administrator, where every text is a canary, in a wide window."""
    return Watched(browser, site, viewport=WIDE).sign_in()


@pytest.fixture
def somebody(administrator: Watched) -> Watched:
    """The same, of whom nothing wrong is known yet."""
    administrator.wrong.clear()
    return administrator


def test_every_page_is_quiet_and_accessible(full: Site, flow: Flow) -> None:
    """No console error, no request elsewhere; axe is content in light, in dark and 390 pixels
    wide, where nothing has to be scrolled sideways. Every page that a link leads to is looked at,
    and what forms answer with."""
    wrong = looked_at(flow, [*every(full), *long(full)[:3]])
    assert wrong + flow.wrong == [], "\n".join(wrong + flow.wrong)


def test_no_text_runs_on_any_page(site: Site, somebody: Watched) -> None:
    """Where whatever somebody writes is a canary: none runs, none makes a page too wide."""
    page, wrong = somebody.page, []
    page.set_viewport_size(NARROW_WINDOW)
    for path in every(site):
        page.goto(path)
        wrong += too_wide(somebody)
        if page.title() == "pwned":
            wrong.append(f"{path} ran the canary")
    page.set_viewport_size(WIDE)
    assert wrong + somebody.wrong == [], "\n".join(wrong + somebody.wrong)


def test_pages_of_strangers_and_errors_are_accessible(browser: Any, site: Site) -> None:
    """Signing in and up, what is public, and a page that is not there."""
    watched = Watched(browser, site, viewport=WIDE)
    wrong = looked_at(watched, [*strangers(site), "/harbor/none"])
    failed = "Failed to load resource: the server responded with a status of 404"
    said = [each for each in watched.wrong if failed not in each]
    assert wrong + said == [], "\n".join(wrong + said)


def test_answers_to_forms_are_accessible(site: Site, somebody: Watched) -> None:
    """A secret that is shown once, what came of many, and a form that was refused."""
    page, wrong = somebody.page, []
    base = f"/harbor/projects/{site.project('payments')}"
    page.goto(f"{base}/robot-account?do=new")
    page.get_by_label("Name", exact=True).fill("axe")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="Keep this secret now").wait_for()
    wrong += checked(somebody)
    page.goto(f"{base}/repositories/api/artifacts-tab?do=label&id=latest&id={site.newest()}")
    page.locator("form.form button[value=label]").click()
    page.get_by_text("2 done").first.wait_for()
    wrong += checked(somebody)
    page.goto("/harbor/projects?do=new")
    page.get_by_label("Name", exact=True).fill("Not A Name")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("alert").wait_for()
    wrong += checked(somebody)
    refused = "Failed to load resource: the server responded with a status of 400"
    said = [each for each in somebody.wrong if refused not in each]
    assert wrong + said == [], "\n".join(wrong + said)


def looked_at(watched: Watched, paths: Sequence[str]) -> list[str]:
    """What is wrong with these pages."""
    wrong = []
    for path in paths:
        watched.page.goto(path)
        wrong += checked(watched)
    return wrong


def too_wide(watched: Watched) -> list[str]:
    """How far a page has to be scrolled sideways."""
    page = watched.page
    beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [f"{page.url} is {beyond} px too wide"] if beyond > 0 else []


def checked(watched: Watched) -> list[str]:
    """What is wrong with the page in light, in dark and narrow."""
    page, source = watched.page, axe()
    page.evaluate(source)
    wrong = watched.violations()
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    wrong += [f"dark {each}" for each in watched.violations(DARK)]
    page.set_viewport_size(NARROW_WINDOW)
    wrong += [f"narrow {each}" for each in watched.violations(NARROW)]
    wrong += too_wide(watched)
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    return wrong


def test_lists_follow_what_is_typed_and_the_back_button(site: Site, somebody: Watched) -> None:
    """Filters and sorting stand in the address; the page before is the page before."""
    page = somebody.page
    page.goto("/harbor/projects")
    page.get_by_placeholder("Filter by name").fill("pay")
    page.wait_for_url(re.compile(r"[?&]q=pay"))
    page.get_by_role("link", name="checkout").wait_for(state="detached")
    page.get_by_role("link", name="Name", exact=True).click()
    page.wait_for_url(re.compile("sort=-name"))
    assert "q=pay" in page.url
    page.get_by_role("link", name="payments").click()
    page.wait_for_url("**/repositories")
    page.go_back()
    page.wait_for_url(re.compile(r"q=pay"))
    page.get_by_role("link", name="checkout").wait_for(state="detached")
    assert somebody.wrong == []


def test_little_is_loaded(browser: Any, full: Site) -> None:
    """The first page with all that it needs, and each change of page with what is kept."""
    watched = Watched(browser, full)
    shown = "/account/sign-in"
    asked: dict[Any, str] = {}  # of which page: that it has ended is heard of later
    weights: dict[str, list[int]] = {}

    def begins(request: Any) -> None:
        asked[request] = shown

    def ended(request: Any) -> None:
        sizes = request.sizes()
        weight = sizes["responseBodySize"] + sizes["responseHeadersSize"]
        weights.setdefault(asked[request], []).append(weight)

    watched.page.on("request", begins)
    watched.page.on("requestfinished", ended)
    watched.page.goto(shown, wait_until="load")
    shown = "signing in"
    watched.sign_in()
    pages = dict.fromkeys([*every(full), *long(full)])
    for shown in pages:
        watched.page.goto(shown, wait_until="load")
    told, until = {"/account/sign-in", *pages}, time.monotonic() + SECONDS
    while not told <= weights.keys():  # that a request has ended is heard of after its page
        assert time.monotonic() < until, told - weights.keys()
        watched.page.wait_for_timeout(50)
    assert sum(weights.pop("/account/sign-in")) < FIRST_LOAD
    large = {path: found for path, found in weights.items() if sum(found) >= PAGE_CHANGE}
    assert large.keys() <= {"signing in"}, large
    assert watched.wrong == []


def test_without_javascript(browser: Any, site: Site) -> None:
    """Signing in, filtering, a confirmation and a form: all of it is plain HTML."""
    watched = Watched(browser, site, java_script_enabled=False).sign_in()
    page = watched.page
    page.get_by_placeholder("Filter by name").fill("pay")
    page.get_by_role("button", name="Filter").click()
    assert page.get_by_role("link", name="checkout").count() == 0
    project = site.project("payments")
    page.goto(f"/harbor/projects/{project}/labels?do=new")
    page.get_by_label("Name", exact=True).fill("no-script")
    page.get_by_role("button", name="Create").click()
    page.get_by_text("no-script").first.wait_for()
    page.locator("summary[aria-label='Actions for no-script']").click()
    page.get_by_role("link", name="Delete").click()
    page.locator("form.form").get_by_role("button", name="Delete").click()
    assert page.get_by_text("no-script").count() == 0
    assert watched.wrong == []
