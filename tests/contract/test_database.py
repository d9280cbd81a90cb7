"""Transactions, retries and failures, on both databases."""

import asyncio
import random
import stat
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update
from tests.support.databases import PostgresServer, count, running_postgres

from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.db import Database, Tx, connect, open_sqlite, tables
from moorage.db.migrator import migrate
from moorage.db.types import from_now, now
from moorage.errors import DatabaseUnavailable

pytestmark = pytest.mark.anyio


class Heard:
    """A notifier that writes down what it is told."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.told: list[tuple[str, bool]] = []
        self._refuse = refuse

    async def before_commit(self, keys: Iterable[str]) -> None:
        self.told.append(("before", True))
        if self._refuse:
            raise DatabaseUnavailable

    async def after_commit(self, keys: Iterable[str], *, settled: bool = True) -> None:
        self.told.append(("after", settled))


async def put(tx: Tx, name: str) -> None:
    await tx.execute(insert(tables.properties).values(name=name, value="x"))


async def test_a_step_is_committed_whole(database: Database) -> None:
    """Or not at all."""
    await database.run(put, "a")

    async def broken(tx: Tx) -> None:
        await put(tx, "b")
        raise LookupError

    with pytest.raises(LookupError):
        await database.run(broken)
    async with database.read() as tx:
        names = (await tx.execute(select(tables.properties.c.name))).scalars().all()
    assert "a" in names
    assert "b" not in names


async def test_readers_hear_of_a_commit_before_and_after_it(database: Database) -> None:
    """And of one that a notifier refused, which then does not happen."""

    async def touching(tx: Tx) -> None:
        await put(tx, "a")
        tx.touch("key")

    database.notifier = heard = Heard()
    await database.run(touching)
    assert heard.told == [("before", True), ("after", True)]
    database.notifier = refusing = Heard(refuse=True)
    before = await count(database, "properties")

    async def refused() -> None:
        async with database.write() as tx:
            await put(tx, "b")
            tx.touch("key")

    with pytest.raises(DatabaseUnavailable):
        await refused()
    assert refusing.told[-1][0] == "after"
    assert await count(database, "properties") == before


async def test_transactions_that_contend_all_succeed(database: Database) -> None:
    """Twenty increments of one row."""
    await database.run(put, "counter")
    name = tables.properties.c.name == "counter"

    async def more(tx: Tx) -> None:
        query = select(tables.properties.c.value).where(name)
        value = (await tx.execute(tx.dialect.for_update(query))).scalar_one()
        await tx.execute(update(tables.properties).where(name).values(value=value + "x"))

    await asyncio.gather(*(database.run(more) for _ in range(20)))
    async with database.read() as tx:
        value = (await tx.execute(select(tables.properties.c.value).where(name))).scalar_one()
    assert len(value) == 21


async def test_a_cancelled_transaction_gives_its_connection_back(database: Database) -> None:
    """Wherever it was; afterwards the pool is whole and every row was written or not."""
    chance = random.Random(7)

    async def slow(tx: Tx, name: str) -> None:
        await put(tx, name)
        await asyncio.sleep(0.001)
        await put(tx, name + "-second")

    for number in range(60):
        task = asyncio.create_task(database.run(slow, f"n{number}"))
        await asyncio.sleep(chance.uniform(0, 0.006))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with database.read() as tx:
        names = set((await tx.execute(select(tables.properties.c.name))).scalars())
    for number in range(60):
        assert (f"n{number}" in names) == (f"n{number}-second" in names)
    await asyncio.gather(*(database.run(put, f"after{i}") for i in range(12)))


async def test_time_comes_back_as_it_was_written(database: Database) -> None:
    """With and without microseconds, in any zone."""
    for number, moment in enumerate(
        (
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            datetime(2026, 1, 2, 3, 4, 5, 100, tzinfo=UTC).astimezone(),
        )
    ):
        async with database.write() as tx:
            row = insert(tables.gc_candidates)
            await tx.execute(row.values(digest=f"d{number}", review_after=moment, reason="test"))
            found = tables.gc_candidates.c.review_after
            query = select(found).where(tables.gc_candidates.c.digest == f"d{number}")
            assert (await tx.execute(query)).scalar_one() == moment


async def test_the_databases_clock_counts(database: Database) -> None:
    """`from_now` is what it says."""
    async with database.read() as tx:
        row = (await tx.execute(select(now().label("now"), from_now(90.5).label("then")))).one()
    assert abs((row.then - row.now) - timedelta(seconds=90.5)) < timedelta(seconds=1)


async def test_sqlite_is_set_to_keep_what_it_acknowledged(tmp_path: Path) -> None:
    """Write-ahead log, synced at each commit; foreign keys; readable by its owner only."""
    db = open_sqlite(tmp_path / "moorage.db", SystemClock())
    await migrate(db)
    async with db.write() as tx:
        for pragma, wanted in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert (await tx.execute(text(f"PRAGMA {pragma}"))).scalar_one() == wanted
    await db.close()
    assert stat.S_IMODE((tmp_path / "moorage.db").stat().st_mode) == 0o600


async def test_two_processes_of_sqlite_take_turns(tmp_path: Path) -> None:
    """A command beside another one waits instead of failing."""
    one = open_sqlite(tmp_path / "moorage.db", SystemClock())
    await migrate(one)
    other = open_sqlite(tmp_path / "moorage.db", SystemClock())
    await asyncio.gather(
        *(db.run(put, f"{who}{i}") for i in range(20) for who, db in (("a", one), ("b", other)))
    )
    assert await count(one, "properties") >= 40
    await one.close()
    await other.close()


async def test_a_full_pool_is_a_clear_failure(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """After a bounded wait."""
    settings = postgres_server.settings(postgres_server.fresh(), pool_size=1, wait_seconds=2)
    db = connect(settings, data_dir=tmp_path, clock=SystemClock())
    async with db.write():
        with pytest.raises(DatabaseUnavailable):
            await db.ping()
    await db.ping()
    await db.close()


async def test_a_lost_connection_is_no_lost_transaction(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """A backend that was terminated between two requests is replaced without an error."""
    name = postgres_server.fresh()
    db = connect(postgres_server.settings(name), data_dir=tmp_path, clock=SystemClock())
    await asyncio.gather(*(db.run(put, f"before{i}") for i in range(8)))
    postgres_server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    )
    await asyncio.gather(*(db.run(put, f"after{i}") for i in range(8)))
    assert await count(db, "properties") >= 16
    await db.close()


async def test_the_database_may_restart(tmp_path: Path) -> None:
    """While it is away every answer is DatabaseUnavailable; then all is well by itself."""
    with running_postgres() as server:
        server.sql("CREATE DATABASE restart")
        db = connect(server.settings("restart"), data_dir=tmp_path, clock=SystemClock())
        await migrate(db)
        await asyncio.gather(*(db.run(put, f"before{i}") for i in range(8)))
        await asyncio.to_thread(server.stop)
        for attempt in range(4):
            with pytest.raises(DatabaseUnavailable):
                await db.run(put, f"during{attempt}")
        await asyncio.to_thread(server.start)
        await asyncio.gather(*(db.run(put, f"after{i}") for i in range(8)))
        assert await count(db, "properties") >= 16
        await db.close()


async def test_a_pooler_in_transaction_mode_is_no_trouble(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Statements have names of their own, so sessions may be swapped under them."""
    settings = postgres_server.settings(postgres_server.fresh(), transaction_pooler=True)
    db = connect(settings, data_dir=tmp_path, clock=SystemClock())
    await asyncio.gather(*(db.run(put, f"n{i}") for i in range(12)))
    assert await count(db, "properties") >= 12
    await db.close()


def test_settings_name_one_database() -> None:
    """Not two ways at once, and no unknown kind."""
    for wrong in ({"url": "postgresql://a/b", "host": "c"}, {"url": "mysql://a/b"}):
        with pytest.raises(ValueError, match="url"):
            DatabaseSettings.model_validate(wrong)
