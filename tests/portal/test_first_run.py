"""An empty registry says how the first push is made, and makes what that needs."""

import re
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from tests.portal.browser import Watched, axe, chromium
from tests.portal.visitor import Site
from tests.support.requirements import path_of
from tests.support.serving import Registry

HOME = "/harbor/projects"
_COMMAND = re.compile(r'data-copy="([^"]+)"')


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Site]:
    """A registry that was just started."""
    registry = Registry(tmp_path)
    with registry.running():
        site = Site(registry)
        yield site
        site.close()


def commands(page: str, client: str) -> list[str]:
    """What the page says to type with a client."""
    _, found, rest = page.partition(f"<summary><h3>{client}</h3></summary>")
    assert found, page
    return [unescape(text) for text in _COMMAND.findall(rest.partition("</details>")[0])]


def token(page: str) -> tuple[str, str]:
    """Name and secret as they stand in the first command."""
    found = re.match(r"echo '(\S+)' \| docker login -u '(\S+)'", commands(page, "docker")[0])
    assert found is not None
    return found[2], found[1]


def test_three_commands_with_a_token_make_the_first_push(empty: Site) -> None:
    """The page names this registry and a project; its button fills in a token that may push there
    alone; it is shown once; when something was pushed the panel is gone."""
    admin, host = empty.admin(), empty.registry.host
    page = admin.get(HOME)
    place = f"{host}/library/hello-world:1.0"
    assert commands(page, "docker") == [
        f"docker login -u 'admin' {host}",
        f"docker pull hello-world && docker tag hello-world {place}",
        f"docker push {place}",
    ]
    answer = admin.post(HOME, op="first-push", project="library")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    user, secret = token(answer.text)
    assert secret not in admin.get(HOME)
    assert "first-push-" in admin.get("/account/tokens")
    admin.done(f"{HOME}?do=new", op="create", name="elsewhere")
    maker = empty.maker(user, secret)
    with pytest.raises(AssertionError, match="unauthorized"):
        maker.image("elsewhere/hello-world", "1.0")
    assert "Three commands do it." in admin.get(HOME)
    maker.image("library/hello-world", "1.0")
    assert "Three commands do it." not in admin.get(HOME)


def test_somebody_without_a_project_gets_one(empty: Site) -> None:
    """It bears the user's name and is private; who may make none is told of the commands only."""
    empty.maker().people(["mara"])
    mara = empty.visitor("mara", "Work-2026-Long")
    assert 'name="project" type="text" value="mara"' in mara.get(HOME)
    refused = mara.post(HOME, op="first-push", project="Not A Name")
    assert refused.status_code == 400
    assert 'role="alert"' in refused.text
    page = mara.post(HOME, op="first-push", project="mara").text
    assert f"{empty.registry.host}/mara/hello-world:1.0" in page
    empty.maker(*token(page)).image("mara/hello-world", "1.0")
    again = mara.post(HOME, op="first-push", project="library")
    assert again.status_code == 403
    assert "You may not push to this project." in again.text
    empty.maker().api("PUT", "/configurations", {"project_creation_restriction": "adminonly"})
    empty.maker().people(["jonas"])
    jonas = empty.visitor("jonas", "Work-2026-Long")
    assert "Make a token" not in jonas.get(HOME)
    assert commands(jonas.get(HOME), "docker")
    assert "Three commands" not in empty.visitor().get(HOME)


@pytest.mark.slow
def test_the_commands_do_what_they_say(empty: Site, tmp_path: Path) -> None:
    """Typed into a shell as they stand there."""
    page = empty.admin().post(HOME, op="first-push", project="library").text
    environment = {"HOME": str(tmp_path), "PATH": f"{Path(path_of('oras')).parent}:/usr/bin:/bin"}
    for line in commands(page, "oras"):
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    assert "library" in empty.admin().get("/harbor/search?q=hello-world:1.0")


@pytest.mark.slow
def test_the_page_sees_the_first_push_arrive(empty: Site) -> None:
    """Without a reload; it is accessible, and fits a telephone."""
    source = axe()
    with chromium() as browser:
        watched = Watched(browser, empty, viewport={"width": 1280, "height": 900}).sign_in()
        page = watched.page
        page.get_by_role("button", name="Make a token").click()
        page.get_by_text("It is shown this once").wait_for()
        page.get_by_text("Waiting for the first push").wait_for()
        page.evaluate(source)
        wrong = watched.violations()
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        wrong += watched.violations()
        page.set_viewport_size({"width": 390, "height": 844})
        wrong += watched.violations()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        user, secret = token(page.content())
        empty.maker(user, secret).image("library/hello-world", "1.0")
        page.get_by_text("The first push has arrived.").wait_for()
        assert wrong + watched.wrong == []
