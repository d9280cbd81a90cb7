"""The portal in a real browser: nothing forbidden, nothing inaccessible, little to load."""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.portal.browser import Watched, axe, chromium
from tests.portal.paths import every, strangers
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
WIDE: Any = {"width": 1280, "height": 900}
FIRST_LOAD = 120 << 10
PAGE_CHANGE = 40 << 10
"""Bytes over the wire."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without anybody in it."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def administrator(browser: Any, site: Site) -> Watched:
    """The administrator in a wide window."""
    return Watched(browser, site, viewport=WIDE).sign_in()


@pytest.fixture
def somebody(administrator: Watched) -> Watched:
    """The same, of whom nothing wrong is known yet."""
    administrator.wrong.clear()
    return administrator


def test_every_page_is_quiet_and_accessible(site: Site, somebody: Watched) -> None:
    """No console error, no request elsewhere, no canary that ran; axe is content in light, in dark
    and 390 pixels wide, where nothing has to be scrolled sideways. Every page that a link leads to
    is looked at, and what forms answer with."""
    wrong = looked_at(somebody, every(site))
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
        if watched.page.title() == "pwned":
            wrong.append(f"{path} ran the canary")
    return wrong


def checked(watched: Watched) -> list[str]:
    """What is wrong with the page in light, in dark and narrow."""
    page, source = watched.page, axe()
    page.evaluate(source)
    wrong = watched.violations()
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    wrong += [f"dark {each}" for each in watched.violations(DARK)]
    page.set_viewport_size({"width": 390, "height": 844})
    wrong += [f"narrow {each}" for each in watched.violations(NARROW)]
    beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if beyond > 0:
        wrong.append(f"{page.url} is {beyond} px too wide")
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


def test_rows_open_and_are_chosen_by_keys(site: Site, somebody: Watched) -> None:
    """An index shows its platforms; j, x and the bar of what is chosen; two can be compared."""
    page = somebody.page
    page.goto(f"/harbor/projects/{site.project('payments')}/repositories/api/artifacts-tab")
    page.locator("[data-twist]").first.click()
    page.locator("tr.child:visible").first.wait_for()
    assert not page.get_by_role("button", name="Compare").is_visible()
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    page.get_by_text("2 chosen").wait_for()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/compare?a=*")
    page.get_by_role("heading", name="Environment").wait_for()
    assert somebody.wrong == []


def test_the_palette_goes_places(site: Site, somebody: Watched) -> None:
    """Ctrl K, a few letters, Enter."""
    page = somebody.page
    page.goto("/harbor/projects")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Go to").fill("charts/pay")
    page.get_by_role("option", name="payments/charts/payments").first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/repositories/charts%2Fpayments/artifacts-tab")
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    assert page.locator("#palette").is_hidden()
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_role("button", name="Switch between light and dark").click()
    assert somebody.wrong == []


def test_a_collection_is_followed_live(site: Site, somebody: Watched) -> None:
    """Begun by its form, its end shows without a reload."""
    page = somebody.page
    page.goto("/harbor/clearing-job/gc?do=run")
    page.get_by_label("Only count, delete nothing").check()
    page.locator("form.form").get_by_role("button", name="Collect now").click()
    page.wait_for_url(re.compile(r"\?run=\d+"))
    page.locator("table").get_by_text("Done").first.wait_for()
    assert somebody.wrong == []


def test_a_connection_is_tested_in_place(site: Site, somebody: Watched) -> None:
    """What was typed stays, also the secret that no page brings back; the answer stands below."""
    page = somebody.page
    page.goto("/harbor/registries?do=new")
    page.get_by_label("Name", exact=True).fill("by browser")
    page.get_by_label("URL").fill(site.registry.url)
    page.get_by_label("User name or access key").fill(site.registry.username)
    page.get_by_label("Password or secret").fill(site.registry.password)
    page.get_by_role("button", name="Test the connection").click()
    page.get_by_text("It answers.").wait_for()
    assert page.get_by_label("Password or secret").input_value() == site.registry.password
    page.get_by_role("button", name="Create").click()
    page.get_by_text("by browser is registered.").wait_for()
    page.get_by_role("link", name="by browser", exact=True).click()
    page.wait_for_url(re.compile(r"do=edit&id=\d+"))
    page.goto(page.url.replace("do=edit", "do=delete"))
    page.locator("form.form").get_by_role("button", name="Delete").click()
    page.get_by_text("Deleted.").wait_for()
    assert somebody.wrong == []


def test_a_replication_is_followed_live(site: Site, somebody: Watched) -> None:
    """Begun from the menu of its rule, its end shows without a reload."""
    page = somebody.page
    page.goto(f"/harbor/replications/{site.elsewhere['rule']}")
    page.get_by_role("button", name="Replicate now").click()
    page.wait_for_url(re.compile(r"/replications/\d+/tasks"))
    page.locator("table").get_by_text("Done").wait_for()
    page.get_by_text("100 %").wait_for()
    assert somebody.wrong == []


def test_a_project_from_nothing_to_trash(site: Site, somebody: Watched) -> None:
    """Made, filled, an artifact deleted by its menu and restored, the project deleted."""
    page = somebody.page
    page.goto("/harbor/projects")
    page.get_by_role("link", name="New project").click()
    page.get_by_label("Name", exact=True).fill("browser")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="Push to this project").wait_for()
    site.maker().image("browser/app", "1.0.0")
    page.goto(f"{page.url}/app")
    page.get_by_role("checkbox", name="Choose 1.0.0").check()
    page.get_by_role("button", name="Delete artifacts").click()
    page.get_by_role("heading", name="Delete an artifact?").wait_for()
    page.locator("form.form").get_by_role("button", name="Delete").click()
    page.get_by_text("The artifact is deleted.").wait_for()
    base = f"/harbor/projects/{site.project('browser')}"
    page.goto(f"{base}/trash")
    page.locator("summary[aria-label^='Actions for sha256']").click()
    page.get_by_role("button", name="Restore").click()
    page.get_by_text("Restored: 1.0.0").wait_for()
    page.goto(f"{base}/repositories?do=delete&id=app")
    page.locator("form.form").get_by_role("button", name="Delete").click()
    page.goto(f"{base}/configs")
    page.get_by_label("Type the name of the project").fill("browser")
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("browser is deleted.").wait_for()
    assert somebody.wrong == []


def test_little_is_loaded(browser: Any, site: Site) -> None:
    """The first page with all that it needs, and each change of page with what is kept."""
    watched = Watched(browser, site)
    weights: list[int] = []
    watched.page.on(
        "requestfinished",
        lambda request: weights.append(
            request.sizes()["responseBodySize"] + request.sizes()["responseHeadersSize"]
        ),
    )
    watched.page.goto("/account/sign-in", wait_until="load")
    assert sum(weights) < FIRST_LOAD, weights
    watched.sign_in()
    for path in every(site):
        weights.clear()
        watched.page.goto(path, wait_until="load")
        watched.page.wait_for_load_state("domcontentloaded")
        assert sum(weights) < PAGE_CHANGE, (path, weights)
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
