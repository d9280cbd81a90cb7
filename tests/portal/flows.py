"""What somebody does in the portal, in a browser, and the forms that this sends.

    @fires(("/harbor/labels", "create"), …)       which actions a test says that it does
    def test_…(flow: Flow) -> None:

An action is a route and the `op` of the button that sends its form, as in `crawl`. What was sent is
read from the requests of the browser, and only what the server took counts; at the end of a test
it is exactly what the test says, and nothing is wrong in the browser. `test_actions` compares what
all tests say with what the portal has.
"""

import functools
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec
from urllib.parse import parse_qs, urlsplit

from tests.portal.browser import SECONDS, Watched
from tests.portal.crawl import route
from tests.portal.visitor import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Response

P = ParamSpec("P")
Action = tuple[str, str]

SIGN_IN: Action = ("/account/sign-in", "")
PROJECT = "/harbor/projects/{project}"
REPOSITORY = PROJECT + "/repositories/{rest:path}"
ARTIFACTS = REPOSITORY + "/artifacts-tab"
ARTIFACT = ARTIFACTS + "/artifacts"
RETENTION = PROJECT + "/tag-strategy/tag-retention"
IMMUTABLE = PROJECT + "/tag-strategy/immutable-tag"
JOBS = "/harbor/job-service-dashboard"
RUN = "/harbor/replications/{run:int}/tasks"

WIDE: Any = {"width": 1280, "height": 900}
PASSWORD = "Work-2026-Long"
"""Of everybody that `data` makes."""
TAKEN = (200, 303)
"""How a form is answered that did what it says; one that was refused has the API's status."""
REFUSED = (400, 404, 409, 412, 422)
"""How one is answered that says what cannot be; a right that lacks (403) is none of these."""
_STATUS = re.compile(r"the server responded with a status of (\d+)")


def fires(*actions: Action) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """The actions that a test does in its `flow`: no fewer, and no others."""

    def decorate(test: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(test)
        def run(*args: P.args, **given: P.kwargs) -> None:
            (flow,) = (each for each in given.values() if isinstance(each, Flow))
            test(*args, **given)
            flow.end(actions)

        run.fires = frozenset(actions)  # type: ignore[attr-defined]
        return run

    return decorate


class Flow(Watched):
    """A browser of somebody, in which forms are filled in and sent."""

    def __init__(self, browser: "Browser", site: Site, **options: Any) -> None:
        super().__init__(browser, site, **{"viewport": WIDE, **options})
        self._browser = browser
        self._others: list[Flow] = []
        self.fired: set[Action] = set()
        self.refused: list[int] = []
        """Statuses with which forms were refused, each of which the console tells too."""
        self.context.on("response", self._answered)

    # --- what is sent

    def _answered(self, response: "Response") -> None:
        request = response.request
        if request.method != "POST":
            return
        if response.status in TAKEN:
            said = parse_qs(request.post_data or "", keep_blank_values=True)
            self.fired.add((route(urlsplit(request.url).path), said.get("op", [""])[0]))
        else:
            self.refused.append(response.status)

    def begin(self) -> "Flow":
        """On no page, with nothing sent and nothing wrong."""
        self.page.goto("about:blank")
        for other in self._others:  # of a test that failed
            other.context.close()
        self._others.clear()
        self.fired.clear()
        self.refused.clear()
        self.wrong.clear()
        return self

    def end(self, actions: tuple[Action, ...]) -> None:
        """Everything was sent that was meant to be, and the browser has nothing to say."""
        for other in self._others:
            self.fired |= other.fired
            self.wrong += other.surprises()
            other.context.close()
        self._others.clear()
        assert not self.surprises(), self.surprises()
        assert self.fired == set(actions), self.fired ^ set(actions)

    def surprises(self) -> list[str]:
        """What is wrong, beside that the console tells of a form that was refused."""
        told = [str(status) for status in self.refused]
        found = []
        for each in self.wrong:
            status = _STATUS.search(each)
            if status is not None and status[1] in told:
                told.remove(status[1])
            else:
                found.append(each)
        return found

    def another(self, name: str = "", password: str = PASSWORD, **options: Any) -> "Flow":
        """Somebody else, or nobody, at the same time; what he sends counts too."""
        found = Flow(self._browser, self.site, **options)
        self._others.append(found)
        if name:
            found.enter(name, password)
        return found

    # --- what is done

    def go(self, path: str) -> None:
        """Open a page."""
        self.page.goto(path)

    def enter(self, name: str, password: str) -> None:
        """Sign in."""
        self.go("/account/sign-in")
        self.page.fill("#principal", name)
        self.page.fill("#password", password)
        self.press(self.page.locator("main form.form button"))
        self.page.get_by_role("link", name="New project").wait_for()

    def follow(self, name: str) -> None:
        """Go where a link leads."""
        with self.page.expect_event("domcontentloaded"):
            self.page.get_by_role("link", name=name, exact=True).first.click()

    def press(self, button: "Locator") -> int:
        """Send the form of a button and wait for the page after it; how it was answered."""
        self.settle()
        with (
            self.page.expect_response(lambda answer: answer.request.method == "POST") as sent,
            self.page.expect_event("domcontentloaded"),
        ):
            button.click()
        return int(sent.value.status)

    def settle(self) -> None:
        """Wait for all of the page: a button that moves when its font comes loses a click."""
        self.page.wait_for_load_state("load")

    def form(self, op: str) -> "Locator":
        """The form that is sent by a button of that `op`."""
        button = self.page.locator(f'button[name="op"][value="{op}"]')
        return self.page.locator("form.form", has=button)

    def fill(self, op: str, **fields: str | bool) -> "Locator":
        """Write into the fields of a form; the form."""
        form = self.form(op)
        for name, value in fields.items():
            field = form.locator(f'[name="{name}"]')
            if isinstance(value, bool):
                field.set_checked(value)
            elif field.evaluate("field => field.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)
        return form

    def completes(self, op: str, name: str, typed: str, found: str) -> None:
        """Type the beginning of a name, and take the whole of it when it is offered."""
        field = self.form(op).locator(f'[name="{name}"]')
        field.fill(typed)
        self.until(f"document.querySelector('#l-{name} option[value=\"{found}\"]') !== null")
        field.fill(found)

    def submit(self, op: str, said: str = "", **fields: str | bool) -> None:
        """Fill a form in, and send it; what the page after it says."""
        form = self.fill(op, **fields)
        status = self.press(form.locator(f'button[name="op"][value="{op}"]'))
        trouble = self.page.locator('.alert[role="alert"]')
        assert status in TAKEN, trouble.inner_text()
        if said:
            self.said(said)

    def refuse(self, op: str, why: str, **fields: str | bool) -> None:
        """Send a form that is not taken, and read why above it."""
        assert why, "say what the page tells"
        form = self.fill(op, **fields)
        status = self.press(form.locator(f'button[name="op"][value="{op}"]'))
        assert status in REFUSED
        self.page.get_by_role("alert").filter(has_text=why).wait_for()

    def in_place(self, op: str, said: str) -> None:
        """Send what is typed by a further button; the answer stands below the form."""
        self.settle()
        with self.page.expect_response(lambda answer: answer.request.method == "POST"):
            self.page.locator(f'button[name="op"][value="{op}"]').click()
        self.page.get_by_role("status").filter(has_text=said).wait_for()

    def said(self, text: str) -> None:
        """Wait for what a page says of what was done: it stays in it for some seconds only."""
        self.page.locator("#toast").filter(has_text=text).wait_for(state="attached")

    def row(self, name: str) -> "Locator":
        """The line of a table in which something stands."""
        return self.page.locator("tr[data-row]").filter(has_text=name)

    def choose(self, name: str, item: str, said: str = "") -> None:
        """Do something by the menu of a line: what it posts is sent, a link of it is followed."""
        self.settle()
        summary = self.page.get_by_label(f"Actions for {name}", exact=True)
        menu = self.page.locator("details.menu", has=summary)
        menu.locator("summary").click()
        found = menu.locator(".sheet a, .sheet button").filter(has_text=_whole(item))
        if found.evaluate("item => item.tagName") == "BUTTON":
            assert self.press(found) in TAKEN
        else:
            with self.page.expect_event("domcontentloaded"):
                found.click()
        if said:
            self.said(said)

    def pick(self, *names: str) -> None:
        """Tick lines of a table."""
        for name in names:
            self.page.get_by_role("checkbox", name=f"Choose {name}", exact=True).check()

    def bulk(self, button: str) -> None:
        """Ask to do something to what is ticked; a form that asks back comes."""
        with self.page.expect_event("domcontentloaded"):
            self.page.locator("form.bulk").get_by_role("button", name=button, exact=True).click()

    def shows(self, text: str) -> None:
        """Wait until something can be read on the page."""
        self.page.locator("main").get_by_text(text).first.wait_for()

    def gone(self, name: str) -> None:
        """Wait until no line of a table has this."""
        self.row(name).first.wait_for(state="detached")

    def until(self, script: str) -> None:
        """Wait until a script says so; the page's policy forbids a script that waits by itself."""
        until = time.monotonic() + SECONDS
        while not self.page.evaluate(script):
            assert time.monotonic() < until, script
            self.page.wait_for_timeout(50)

    # --- what is there without the browser

    def made(self, path: str, body: object) -> int:
        """Make something over the API; its id."""
        answer = self.site.maker().api("POST", path, body)
        return int(answer.headers["location"].rpartition("/")[2])

    def project(self, name: str, **metadata: str) -> str:
        """A project of one's own; its path."""
        number = self.made("/projects", {"project_name": name, "metadata": metadata})
        return f"/harbor/projects/{number}"

    def setting(self, values: Mapping[str, object]) -> None:
        """Change settings of the installation."""
        self.site.maker().api("PUT", "/configurations", values)


def _whole(text: str) -> re.Pattern[str]:
    return re.compile(rf"^\s*{re.escape(text)}\s*$")
