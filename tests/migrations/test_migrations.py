"""Migrations: the same schema as the code's, whatever happens on the way."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from tests.support.databases import PostgresServer, count
from tests.support.verbs import ran

from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.db import Database, connect, tables
from moorage.db.migrator import Occupied, SchemaTooNew, migrate, status, wait_until_current

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
Empty = Callable[[], tuple[Database, dict[str, str]]]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Empty:
    """Makes a handle on one database without a schema, and a process's environment for it."""
    environment = {"MOORAGE_DATA_DIR": str(tmp_path)}
    settings = DatabaseSettings()
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = f"empty_{os.urandom(4).hex()}"
        server.sql(f"CREATE DATABASE {name}")
        settings = server.settings(name)
        environment["MOORAGE_DATABASE__URL"] = server.url(name)

    def make() -> tuple[Database, dict[str, str]]:
        return connect(settings, data_dir=tmp_path, clock=SystemClock()), environment

    return make


def run(environment: dict[str, str], failpoint: str = "") -> int:
    """`moorage migrate` as a process; its exit status."""
    return ran(["migrate"], ROOT, environment=environment, failpoint=failpoint).returncode


def difference(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, tables.metadata))


async def test_the_migrated_schema_is_the_codes(empty: Empty) -> None:
    """Tables, columns, types, indexes and constraints."""
    db, _ = empty()
    assert await migrate(db)
    async with db.read() as tx:
        assert await tx.connection.run_sync(difference) == []
    assert (await status(db)).ready
    assert await migrate(db) == []
    await db.close()


@pytest.mark.parametrize("step", ["migrate.locked", "migrate.stepped", "migrate.committed"])
async def test_a_killed_migrator_leaves_nothing_half_done(empty: Empty, step: str) -> None:
    """The next one goes on, without anybody's help."""
    db, environment = empty()
    everything = (await status(db)).pending
    assert await asyncio.to_thread(run, environment, f"{step}=crash") == 137
    left = (await status(db)).pending
    assert left == (everything[1:] if step == "migrate.committed" else everything)
    assert await asyncio.to_thread(run, environment) == 0
    assert (await status(db)).ready
    async with db.read() as tx:
        assert await tx.connection.run_sync(difference) == []
    await db.close()


async def test_of_several_migrators_one_applies(empty: Empty) -> None:
    """The others wait, and find nothing left to do."""
    handles = [empty()[0] for _ in range(3)]
    applied = await asyncio.gather(*(migrate(db) for db in handles))
    assert sorted(map(bool, applied)) == [False, False, True]
    for db in handles:
        await db.close()


async def test_a_replica_waits_for_the_schema(empty: Empty) -> None:
    """Instead of ending."""
    db, _ = empty()
    waiting = asyncio.create_task(wait_until_current(db, every=0.05))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await migrate(db)
    await asyncio.wait_for(waiting, 60)
    await db.close()


@pytest.mark.parametrize(("compat", "accepted"), [("1", True), ("2", False)])
async def test_older_code_meets_a_newer_schema(empty: Empty, compat: str, accepted: bool) -> None:
    """It goes on where the newer version allows that, and else says what to do."""
    db, environment = empty()
    await migrate(db)
    async with db.write() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        row = tables.properties.update().where(tables.properties.c.name == "schema_compat")
        await tx.execute(row.values(value=compat))
    if accepted:
        assert (await status(db)).newer
        assert await migrate(db) == []
    else:
        with pytest.raises(SchemaTooNew, match="start the newer version"):
            await status(db)
        assert await asyncio.to_thread(run, environment) == 1
    assert await count(db, "properties")
    await db.close()


@pytest.mark.parametrize(("table", "whose"), [("harbor_user", "a Harbor"), ("u", "another")])
async def test_the_database_of_another_program(empty: Empty, table: str, whose: str) -> None:
    """As where the settings of a Harbor are used as they stand: it is named, and left as it is."""
    db, environment = empty()
    async with db.write() as tx:
        for name in ("properties", table):
            await tx.execute(text(f"CREATE TABLE {name} (id integer PRIMARY KEY, k text)"))
    with pytest.raises(Occupied, match=rf"tables of {whose}.*\(properties\).*database\.name"):
        await migrate(db)
    assert await asyncio.to_thread(run, environment) == 1
    assert await count(db, "properties") == 0
    assert (await status(db)).current is None
    await db.close()


async def test_tables_that_are_not_in_the_way(empty: Empty) -> None:
    """As an extension of PostgreSQL may make one."""
    db, _ = empty()
    async with db.write() as tx:
        await tx.execute(text("CREATE TABLE spatial_ref_sys (srid integer PRIMARY KEY)"))
    assert await migrate(db)
    await db.close()
