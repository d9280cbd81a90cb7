"""A registry with something in it, once for all tests of a process."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.portal import past
from tests.portal.data import CANARY, fill
from tests.portal.elsewhere import connect
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
            asyncio.run(past.make(DatabaseSettings(), folder, callers=callers))
            site.elsewhere.update(connect(maker, registry, note=CANARY))
            yield site
        finally:
            site.close()
