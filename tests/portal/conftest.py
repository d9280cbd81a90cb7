"""Registries with something in them, once for all tests of a process, and who looks at them."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.portal import past
from tests.portal.browser import chromium
from tests.portal.data import CANARY, fill
from tests.portal.elsewhere import connect
from tests.portal.flows import Flow
from tests.portal.full import Size, apart, copied, prepared
from tests.portal.visitor import Site
from tests.support.serving import Registry

from moorage.config.database import DatabaseSettings


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One process on SQLite: two projects, every text that somebody may write with a canary."""
    folder = tmp_path_factory.mktemp("portal")
    registry = Registry(folder, settings={"outgoing.allow": '["127.0.0.0/8"]'})
    with registry.running():
        site = Site(registry)
        maker = site.maker()
        try:
            fill(maker, projects=2, repositories=1, artifacts=3, note=CANARY)
            about = {"description": f"**ok** {CANARY}"}
            maker.api("PUT", "/projects/payments/repositories/api", about)
            maker.api("PUT", "/configurations", {"self_registration": True})
            folder = registry.folder / "data"
            callers = ("mara", CANARY, "")
            apart(past.make(DatabaseSettings(), folder, callers=callers))
            site.elsewhere.update(connect(maker, registry, note=CANARY))
            yield site
        finally:
            site.close()


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """30 projects, 400 repositories, 20,000 artifacts, a year of pulls; tests change it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    origin = prepared(shared / "portal-full", Size())
    with copied(tmp_path_factory.mktemp("full"), origin) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without anybody in it."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def signed_in(browser: Any, full: Site) -> Flow:
    """The administrator of the large registry."""
    flow = Flow(browser, full)
    flow.enter(full.registry.username, full.registry.password)
    return flow


@pytest.fixture
def flow(signed_in: Flow) -> Flow:
    """The same, who has done nothing yet."""
    return signed_in.begin()
