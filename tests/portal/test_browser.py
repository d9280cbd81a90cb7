"""The portal in a real browser: nothing forbidden, nothing inaccessible, little to load."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.portal.browser import Watched, axe, chromium
from tests.portal.paths import paths
from tests.portal.visitor import Site

pytestmark = pytest.mark.slow

NARROW = ["target-size", "scrollable-region-focusable", "link-name", "button-name", "label"]
"""Rules whose outcome hangs on the width."""
FIRST_LOAD = 120 << 10
PAGE_CHANGE = 40 << 10
"""Bytes over the wire."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without anybody in it."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def somebody(browser: Any, site: Site) -> Watched:
    """The administrator in a wide window."""
    return Watched(browser, site, viewport={"width": 1280, "height": 900}).sign_in()


def test_every_page_is_quiet_and_accessible(site: Site, somebody: Watched) -> None:
    """No console error, no request elsewhere, no canary that ran; axe is content in light, in dark
    and 390 pixels wide, where nothing has to be scrolled sideways."""
    source, page, wrong = axe(), somebody.page, []
    somebody.wrong.clear()
    for path in paths(site.project("payments"), site.newest(), site.elsewhere):
        page.set_viewport_size({"width": 1280, "height": 900})
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(path)
        page.evaluate(source)
        wrong += somebody.violations()
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        wrong += [f"dark {each}" for each in somebody.violations(["color-contrast"])]
        page.set_viewport_size({"width": 390, "height": 844})
        wrong += [f"narrow {each}" for each in somebody.violations(NARROW)]
        beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if beyond > 0:
            wrong.append(f"{path} is {beyond} px too wide")
        if page.title() == "pwned":
            wrong.append(f"{path} ran the canary")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    assert wrong + somebody.wrong == [], "\n".join(wrong + somebody.wrong)


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
    """The first page with all that it needs, and a change of page with what is kept."""
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
    for path in paths(site.project("payments"), site.newest(), site.elsewhere)[:30]:
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
