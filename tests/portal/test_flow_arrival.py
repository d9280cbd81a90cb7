"""Somebody arrives, in a browser: at a registry that holds nothing, or from another provider."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.portal.flows import ARTIFACTS, PROJECT, Flow, fires
from tests.portal.test_flow_projects import secret
from tests.portal.visitor import Site
from tests.support.oidc_server import RealProvider
from tests.support.serving import Registry

pytestmark = pytest.mark.slow


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    """A registry that was just started."""
    registry = Registry(tmp_path, settings={"outgoing.allow": '["127.0.0.0/8", "::1/128"]'})
    with registry.running():
        site = Site(registry)
        yield site
        site.close()


@pytest.fixture
def first(browser: Any, own: Site) -> Flow:
    """Its administrator, for the first time."""
    flow = Flow(browser, own)
    flow.enter(own.registry.username, own.registry.password)
    return flow.begin()


@fires(("/harbor/projects", "first-push"))
def test_the_first_push(first: Flow) -> None:
    """A button fills a token into the commands; the page sees the push come without a reload."""
    page = first.page
    first.go("/harbor/projects")
    first.shows("Nothing was pushed to this registry yet.")
    page.locator('form.begin [name="project"]').select_option("library")
    first.press(page.locator('button[value="first-push"]'))
    first.shows("It is shown this once")
    command = page.locator(".how[open] .pull code").first.inner_text()
    name, shown = command.split("-u '")[1].split("'")[0], command.split("echo '")[1].split("'")[0]
    first.shows("Waiting for the first push…")
    first.site.maker(name, shown).image("library/hello-world", "1.0")
    page.get_by_role("link", name="The first push has arrived.").click()
    page.wait_for_url("**/harbor/search?q=hello-world")
    first.shows("hello-world")


@fires((ARTIFACTS, "none"), (f"{PROJECT}/labels", "create"), (ARTIFACTS, "label"))
def test_the_first_label(first: Flow) -> None:
    """Where there is none to put on, the form leads to where one is made."""
    for tag in ("1.0", "1.1"):
        first.site.maker().image("library/app", tag)
    project = first.site.project("library")
    base = f"/harbor/projects/{project}/repositories/app/artifacts-tab"
    first.go(base)
    first.pick("1.0")
    first.bulk("Labels")
    first.shows("Neither this project nor the installation has a label yet.")
    first.submit("none")
    first.submit("create", "Saved.", name="first")
    first.go(base)
    first.pick("1.0")
    first.bulk("Labels")
    first.submit("label", "Saved.")
    first.row("1.0").get_by_text("first").wait_for()


@fires(("/oidc-onboard", ""), ("/account/profile", "secret"))
def test_somebody_comes_from_a_provider(first: Flow, oidc_provider: RealProvider) -> None:
    """He chooses a name, is in, and makes a secret for docker, which is shown once and works."""
    oidc_provider.user("mara", email="mara@example.com", name="Mara")
    first.setting(oidc_provider.settings)
    mara = first.another()
    mara.go("/account/sign-in")
    way = mara.page.get_by_role("link", name="Continue with Harbour office").get_attribute("href")
    assert way is not None
    begun = mara.context.request.get(way, max_redirects=0)  # the provider's page is not ours
    mara.go(oidc_provider.authorize(begun.headers["location"], "mara"))
    mara.page.get_by_role("heading", name="Choose a name").wait_for()
    mara.page.fill("#username", "admin")
    assert mara.press(mara.page.locator("main form.form button")) >= 400
    mara.page.get_by_role("alert").first.wait_for()
    mara.page.fill("#username", "mara")
    mara.press(mara.page.locator("main form.form button"))
    mara.page.get_by_role("link", name="New project").wait_for()
    mara.go("/account/profile")
    mara.submit("secret")
    shown = secret(mara)
    assert first.site.maker("mara", shown).api("GET", "/users/current").status_code == 200
