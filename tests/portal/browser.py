"""Chromium of the system, driven by Playwright, watched for everything that a page may not do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.portal.visitor import Site
from tests.support.requirements import find, require

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SECONDS = 90.0
"""Until something that is waited for has to be there, on a machine that is busy."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
"""Success criteria of WCAG 2.2, levels A and AA, as axe tags its rules."""


def axe() -> str:
    """The source of axe-core; skips the calling test where npm has not brought it."""
    folder = os.environ.get("TESTS_NODE_BIN")
    root = Path(folder).parent if folder else Path(__file__).parents[2] / ".cache/node/node_modules"
    file = root / "axe-core" / "axe.min.js"
    if not file.exists():
        require("axe-core (make node-servers)")
    return file.read_text()


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The browser; skips the calling test where there is none."""
    require("chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find("chromium"), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A browser of somebody, and what went wrong in it."""

    def __init__(self, browser: "Browser", site: Site, **options: Any) -> None:
        self.site = site
        self.context: BrowserContext = browser.new_context(base_url=site.registry.url, **options)
        self.context.set_default_timeout(SECONDS * 1000)
        self.wrong: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", self._asked)

    def _said(self, message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{self.page.url}: {message.type}: {message.text}")

    def _asked(self, request: "Request") -> None:
        if not request.url.startswith((self.site.registry.url + "/", "data:")):
            self.wrong.append(f"{self.page.url} asks {request.url}")

    def sign_in(self) -> "Watched":
        """As the administrator."""
        self.page.goto("/account/sign-in")
        self.page.fill("#principal", self.site.registry.username)
        self.page.fill("#password", self.site.registry.password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/harbor/projects")
        return self

    def violations(self, rules: list[str] | None = None) -> list[str]:
        """What axe finds on the page as it is; by all rules, or by some."""
        only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": RULES}
        found = self.page.evaluate(
            "options => axe.run(document, {runOnly: options, resultTypes: ['violations']})", only
        )
        return [
            f"{self.page.url} {each['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
            for each in found["violations"]
            for node in each["nodes"][:3]
        ]
