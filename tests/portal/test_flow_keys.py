"""What the browser alone does: keys, themes, copies, menus, rows that open; each of app.js.

`DOES` says which test does what; a key or an attribute that app.js knows and no test uses fails.
"""

import re
from collections.abc import Callable

import pytest
from tests.portal.flows import JOBS, SIGN_IN, Flow, fires

from moorage.portal.assets import FOLDER

SIDE = "document.querySelector('.side').getBoundingClientRect()"
ON_THE_SCREEN = (
    "sheet => (box => box.top >= 0 && box.left >= 0 && box.bottom <= 600 && box.right <= 900)"
    "(sheet.getBoundingClientRect())"
)
"""In a window of 900 by 600; a menu that has just opened is put there a moment later."""
DOES: dict[str, str] = {}
"""Key, or attribute of an element, to the test that uses it."""


def uses(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The keys and elements that a test uses."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        DOES.update(dict.fromkeys(names, test.__name__))
        return test

    return decorate


def artifacts(flow: Flow) -> str:
    """The list with a thousand tags."""
    return f"/harbor/projects/{flow.site.project('checkout')}/repositories/api/artifacts-tab"


@pytest.mark.slow
@uses("/", "j", "k", "x", "Enter", "data-slash", "data-row", "data-check", "data-needs")
@fires()
def test_rows_by_keys(flow: Flow) -> None:
    """`/` leads to the filter; j and k go down and up, x ticks, Enter opens what is in the row."""
    page = flow.page
    flow.go(artifacts(flow))
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.locator("h1").click()
    for key in ("j", "j", "k", "x", "j", "x"):
        page.keyboard.press(key)
    flow.shows("2 chosen")
    assert page.locator("[data-check]").nth(0).is_checked()
    assert page.locator("[data-check]").nth(1).is_checked()
    assert page.get_by_role("button", name="Compare").is_enabled()
    page.keyboard.press("x")
    assert page.get_by_role("button", name="Compare").is_disabled()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/artifacts-tab/artifacts/sha256:*")
    page.go_back()
    page.wait_for_url("**/artifacts-tab")
    page.go_forward()
    page.wait_for_url("**/artifacts-tab/artifacts/sha256:*")


@pytest.mark.slow
@uses("data-check-all", "data-picked", "data-twist")
@fires()
def test_all_rows_and_what_is_in_one(flow: Flow) -> None:
    """One box ticks all of the page; an index opens and closes."""
    page = flow.page
    flow.go(f"{artifacts(flow)}?size=50")
    page.get_by_role("checkbox", name="Choose all rows on this page").check()
    flow.shows("50 chosen")
    page.get_by_role("checkbox", name="Choose all rows on this page").uncheck()
    assert page.locator("[data-check]:checked").count() == 0
    twist = page.locator("button[data-twist]").first
    twist.click()
    page.locator("tr.child:visible").nth(1).wait_for()
    assert twist.get_attribute("aria-expanded") == "true"
    twist.click()
    page.locator("tr.child:visible").first.wait_for(state="detached")


@pytest.mark.slow
@uses("ctrl", "Escape", "ArrowDown", "ArrowUp", "Tab", "palette", "palette-q")
@fires()
def test_the_palette(flow: Flow) -> None:
    """Ctrl K, a few letters, arrows and Enter; Tab stays in it; Escape, or a click beside it."""
    page = flow.page
    flow.go("/harbor/logs")
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Go to")
    page.get_by_role("option", name="Replication", exact=True).wait_for()
    box.fill("notifications/")
    lines = page.get_by_role("option").filter(has_text="notifications/")
    lines.nth(2).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "palette-q"
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    wanted = page.locator('#palette-list [aria-selected="true"] a')
    where = wanted.get_attribute("href")
    assert where == page.locator("#palette-list li").nth(1).locator("a").get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{where}")
    page.keyboard.press("Control+k")
    box.wait_for()
    page.keyboard.press("Escape")
    box.wait_for(state="hidden")
    page.keyboard.press("Control+k")
    box.wait_for()
    page.mouse.click(5, 5)
    box.wait_for(state="hidden")


@pytest.mark.slow
@uses("data-theme-toggle", "data-burger")
@fires(SIGN_IN)
def test_themes_and_the_menu_of_a_narrow_window(flow: Flow) -> None:
    """A theme stays for the next page; narrow, the menu comes by its button and goes by Escape."""
    narrow = flow.another("mara", viewport={"width": 390, "height": 844}, color_scheme="light")
    page = narrow.page
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    narrow.go("/harbor/logs")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    link = page.locator(".side").get_by_role("link", name="Projects")
    assert page.evaluate(f"{SIDE}.right <= 0")
    page.get_by_role("link", name="Menu").click()
    narrow.until(f"{SIDE}.left >= 0")
    page.keyboard.press("Escape")
    narrow.until(f"{SIDE}.right <= 0")
    page.get_by_role("link", name="Menu").click()
    link.click()
    page.wait_for_url("**/harbor/projects")


@pytest.mark.slow
@uses("data-copy", "data-said", "data-client", "data-commands", "data-for")
@fires()
def test_commands_are_copied(flow: Flow) -> None:
    """Those of the client that was chosen, on this page and on the next; digests too."""
    page = flow.page
    flow.context.grant_permissions(["clipboard-read", "clipboard-write"])
    flow.go(artifacts(flow))
    page.get_by_role("combobox", name="Client").select_option("podman")
    line = page.locator(".line:visible")
    line.get_by_text("podman pull").wait_for()
    flow.page.reload()
    line.get_by_text("podman pull").wait_for()
    line.get_by_role("button", name="Copy the command").click()
    flow.said("Copied")
    assert clipboard(flow).startswith(f"podman pull {flow.site.registry.host}/checkout/api:")
    page.get_by_role("button", name="Copy the digest").first.click()
    flow.until("navigator.clipboard.readText().then(text => text.startsWith('sha256:'))")
    page.get_by_role("combobox", name="Client").select_option("docker")


def clipboard(flow: Flow) -> str:
    """What was copied."""
    return str(flow.page.evaluate("navigator.clipboard.readText()"))


@pytest.mark.slow
@uses("menu")
@fires()
def test_a_menu_at_the_edge_is_whole(flow: Flow) -> None:
    """The last line of a long table that scrolls: its menu is on the screen, and goes along."""
    page = flow.page
    page.set_viewport_size({"width": 900, "height": 600})
    try:
        flow.go("/harbor/users?size=50")
        last = page.locator("details.menu", has=page.locator("summary[aria-label^=Actions]")).last
        last.locator("summary").click()
        last.locator(".sheet").wait_for()
        flow.until(f"(({ON_THE_SCREEN}))(document.querySelector('details.menu[open] .sheet'))")
        page.keyboard.press("Escape")
        last.locator(".sheet").wait_for(state="hidden")
    finally:
        page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.slow
@fires()
def test_a_menu_stays_open_while_the_page_changes(flow: Flow) -> None:
    """What is opened on a page that is followed live is of the same line after it has changed."""
    maker, kind = flow.site.maker(), "GARBAGE_COLLECTION"
    flow.go(f"{JOBS}/pending-jobs")
    menu = flow.row(kind).locator("details.menu")
    menu.locator("summary").click()
    try:
        maker.api("PUT", f"/jobservice/queues/{kind}", {"action": "pause"})
        flow.row(kind).get_by_text("held").wait_for()
        menu.get_by_role("button", name="Go on").wait_for()
        assert flow.page.locator("details.menu[open]").count() == 1
    finally:
        maker.api("PUT", f"/jobservice/queues/{kind}", {"action": "resume"})
    menu.get_by_role("button", name="Hold").wait_for()


def test_nothing_of_the_script_is_forgotten() -> None:
    """Each key and each kind of element that app.js listens for is in a test above."""
    source = (FOLDER / "app.js").read_text()
    keys = set(re.findall(r'key === "([^"]+)"', source)) | {"ctrl"}
    parts = set(re.findall(r"\[(data-[a-z-]+)[\]=]", source)) | {"data-copy", "data-said"}
    parts |= set(re.findall(r'target\.id [!=]== "([a-z-]+)"', source))
    assert keys | parts == DOES.keys() - {"menu"}
