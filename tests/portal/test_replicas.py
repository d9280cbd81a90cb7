"""Two portals and two cores behind nginx, by turns: sessions, forms, tokens and streams work."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.portal.browser import Watched, chromium
from tests.portal.visitor import Site
from tests.support.databases import running_postgres
from tests.support.nginx import Nginx
from tests.support.requirements import require
from tests.support.serving import Registry

pytestmark = pytest.mark.slow


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[tuple[Nginx, list[Registry], list[Registry]]]:
    """nginx, the cores and the portals, all of them started."""
    require("nginx")
    with ExitStack() as stack:
        server = stack.enter_context(running_postgres())
        server.sql("CREATE DATABASE moorage")
        shared = {
            "database.url": server.url("moorage"),
            "auth.secret_key": "the same secret key on every replica",
            "storage.driver": "filesystem",
            "storage.filesystem.rootdirectory": tmp_path / "blobs",
            "http.trusted_proxies": ["127.0.0.0/8"],
        }
        cores = [
            Registry(tmp_path / f"core{n}", role="core", settings=shared, password="Pa55word-1")
            for n in range(2)
        ]
        doors: list[int] = []
        ports = [core.port for core in cores]
        nginx = Nginx(tmp_path / "nginx", ports, core=ports, portal=doors)
        asking = {
            "portal.core_url": f"http://{nginx.host}",
            "http.trusted_proxies": ["127.0.0.0/8"],
        }
        portals = [
            Registry(tmp_path / f"portal{n}", role="portal", settings=asking) for n in range(2)
        ]
        doors += [portal.port for portal in portals]
        for each in (*cores, *portals):
            stack.callback(each.kill)
            each.launch()
        for core in cores:
            core.wait()
        nginx.start()
        stack.callback(nginx.stop)
        for portal in portals:
            portal.wait()
        yield nginx, cores, portals


def test_any_replica_answers_any_request(
    replicas: tuple[Nginx, list[Registry], list[Registry]],
) -> None:
    """A session, forms with their tokens and a stream by turns; then one of each kind is gone."""
    nginx, cores, portals = replicas

    class Front:
        url, username, password = f"http://{nginx.host}", cores[0].username, "Pa55word-1"

    site = Site(Front())  # type: ignore[arg-type]  # the address is nginx's
    try:
        admin = site.admin()
        for number in range(4):
            page = admin.done("/harbor/projects?do=new", op="create", name=f"by-turns-{number}")
            assert f"by-turns-{number}" in page
        with admin.client.stream("GET", "/harbor/health?live=1") as answer:
            assert any(line.startswith("data: ") for line in answer.iter_lines())
        cores[1].kill()
        portals[1].kill()
        for number in range(4, 8):
            page = admin.done("/harbor/projects?do=new", op="create", name=f"by-turns-{number}")
            assert f"by-turns-{number}" in page
        assert len(set(re.findall(r"by-turns-\d", admin.get("/harbor/projects")))) == 8
    finally:
        site.close()


def test_a_live_page_goes_on_when_its_replicas_die(
    replicas: tuple[Nginx, list[Registry], list[Registry]],
) -> None:
    """The page in a browser shows what changes after either portal, and then either core, is
    killed: the one that served its stream is among them. Nobody reloads it."""
    nginx, cores, portals = replicas

    class Front:
        url, username, password = f"http://{nginx.host}", cores[0].username, "Pa55word-1"

    site = Site(Front())  # type: ignore[arg-type]  # the address is nginx's
    queue = "/jobservice/queues/GARBAGE_COLLECTION"
    try:
        maker = site.maker()
        with chromium() as browser:
            page = Watched(browser, site).sign_in().page
            page.goto("/harbor/job-service-dashboard/pending-jobs")
            held = page.locator("table").get_by_text("held")
            loaded = page.evaluate("performance.timeOrigin")
            held.wait_for(state="hidden")
            for turn, replica in enumerate((*portals, *cores)):
                replica.kill()
                paused = turn % 2 == 0
                maker.api("PUT", queue, {"action": "pause" if paused else "resume"})
                held.wait_for(state="visible" if paused else "hidden")
                replica.start()
            assert page.evaluate("performance.timeOrigin") == loaded
    finally:
        site.close()
