"""The only synchronous standby is gone: commits wait, reads go on, and the health page says so."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select
from tests.support.databases import PostgresServer, running_postgres

from moorage.clock import SystemClock
from moorage.config.health import HealthSettings
from moorage.db import Database, connect, tables
from moorage.db.connecting import open_sqlite
from moorage.ops import Operations
from moorage.roles.faces import Role
from moorage.roles.health import Health

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One of its own: it is told to wait for a standby that there is not."""
    with running_postgres() as found:
        yield found


@pytest.fixture
async def db(server: PostgresServer, tmp_path: Path) -> AsyncIterator[Database]:
    """A database with the tables of users alone."""
    server.sql("CREATE DATABASE alone")
    database = connect(server.settings("alone"), data_dir=tmp_path, clock=SystemClock())
    async with database.write() as tx:
        connection: Any = tx.connection
        await connection.run_sync(tables.users.metadata.create_all)
    yield database
    await database.close()


def synchronous(server: PostgresServer, names: str) -> None:
    """What an operator types."""
    server.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    server.sql("SELECT pg_reload_conf()")


async def told(db: Database) -> str:
    """What the health page says of the database."""

    async def fine() -> str:
        await db.ping()
        return ""

    operations = Operations(None)  # type: ignore[arg-type]
    operations.probes = {"database": fine, "storage": fine}
    dashboard: Any = SimpleNamespace(workers=lambda: asyncio.sleep(0, 1))
    health = Health(operations, Role.CORE, HealthSettings(), dashboard, db)
    return (await health.check())["database"]


async def ids(db: Database) -> list[int]:
    """Of the users that can be read."""
    async with db.read() as tx:
        found = await tx.execute(select(tables.users.c.id).order_by(tables.users.c.id))
        return list(found.scalars())


async def test_commits_wait_and_are_counted(db: Database, server: PostgresServer) -> None:
    """The push is not acknowledged before somebody lets it; then it is there."""
    assert await db.commits_waiting() == 0
    acknowledged: list[int] = []
    waits = asyncio.Event()

    async def push() -> None:
        """Until one waits: the server heeds its setting some time after it was told."""
        while not waits.is_set():
            number = len(acknowledged) + 1
            async with db.write() as tx:
                values = {"id": number, "username": f"somebody-{number}"}
                await tx.execute(insert(tables.users).values(values))
            acknowledged.append(number)

    synchronous(server, "nobody")
    pushing = asyncio.create_task(push())
    try:
        async with asyncio.timeout(60):
            while not await db.commits_waiting(0.2):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        waits.set()
        assert await db.commits_waiting(0.2) == 1
        assert await db.commits_waiting(3600) == 0  # one that is slow is no outage
        assert await ids(db) == acknowledged
        async with asyncio.timeout(60):
            while not await told(db):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert await told(db) == "1 commits wait for a synchronous standby"
        assert not pushing.done()
    finally:
        waits.set()
        synchronous(server, "")
    await asyncio.wait_for(pushing, 120)
    assert await db.commits_waiting(0) == 0
    assert await ids(db) == acknowledged


async def test_a_file_has_no_standby(tmp_path: Path) -> None:
    """Then there is nothing to count."""
    database = open_sqlite(tmp_path / "a.db", SystemClock())
    assert await database.commits_waiting() is None
    await database.close()
