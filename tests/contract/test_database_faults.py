"""What `run` repeats and what it never does; what cancellation leaves; a server in trouble."""

import asyncio
import random
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import bindparam, exc, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.support.clocks import TurnedClock
from tests.support.databases import PostgresServer, count, running_postgres

from moorage.clock import SystemClock
from moorage.db import Database, Tx, connect, open_sqlite, tables
from moorage.db.engine import ATTEMPTS
from moorage.db.migrator import migrate
from moorage.db.prepared import Prepared
from moorage.db.types import from_now, now
from moorage.errors import DatabaseUnavailable

pytestmark = pytest.mark.anyio

VALUE = Prepared(
    lambda _: select(tables.properties.c.value).where(tables.properties.c.name == bindparam("n"))
)
Commit = Callable[[AsyncConnection], Awaitable[None]]


class Heard:
    """A notifier that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.asked = asyncio.Event()

    async def before_commit(self, keys: object) -> None:
        self.told.append("before")
        self.asked.set()

    async def after_commit(self, keys: object, *, settled: bool = True) -> None:
        await asyncio.sleep(0)
        self.told.append("settled" if settled else "unsettled")


async def put(tx: Tx, name: str) -> None:
    await tx.execute(insert(tables.properties).values(name=name, value="x"))
    tx.touch(name)


async def names(db: Database) -> set[str]:
    async with db.read() as tx:
        return set((await tx.execute(select(tables.properties.c.name))).scalars())


async def idle(db: Database) -> bool:
    """Whether every connection that somebody took comes back, within some seconds.

    The one for the groups of SQLite's writer is kept.
    """
    pools = {id(engine): engine.pool for engine in (db.engine, db._reader)}
    for _ in range(2000):
        taken = sum(pool.checkedout() for pool in pools.values())  # type: ignore[attr-defined]
        if taken == bool(getattr(db._transactions, "_connection", None)):
            return True
        await asyncio.sleep(0.01)
    return False


LOST = {
    "serialization": asyncpg.SerializationError("could not serialize access"),
    "deadlock": asyncpg.DeadlockDetectedError("deadlock detected"),
    "lock timeout": asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
    "locked": sqlite3.OperationalError("database is locked"),
    "closed": asyncpg.ConnectionDoesNotExistError("connection was closed"),
    "astray": asyncpg.InternalClientError("cannot switch to state 15; another operation (2)"),
    "reset": ConnectionResetError(),
}


@pytest.mark.parametrize("wrapped", [False, True], ids=["driver", "sqlalchemy"])
@pytest.mark.parametrize("name", LOST)
async def test_a_step_that_lost_runs_again(database: Database, name: str, wrapped: bool) -> None:
    """From its beginning, and what its first run did is gone; not for ever."""
    error: Exception = LOST[name]
    if wrapped and not isinstance(error, OSError):
        error = exc.DBAPIError("statement", None, error)
    runs = []

    async def losing(tx: Tx, times: int) -> None:
        await put(tx, "row")
        runs.append(tx)
        if len(runs) <= times:
            raise error

    await database.run(losing, 2)
    assert len(runs) == 3
    assert "row" in await names(database)
    runs.clear()

    async def never(tx: Tx) -> None:
        runs.append(tx)
        raise error

    with pytest.raises(DatabaseUnavailable):
        await database.run(never)
    assert len(runs) == ATTEMPTS
    assert await idle(database)


async def test_a_broken_rule_is_no_outage(database: Database) -> None:
    """A constraint's error comes as it is, once."""
    await database.run(put, "row")
    runs = []

    async def again(tx: Tx) -> None:
        runs.append(tx)
        await put(tx, "row")

    with pytest.raises(exc.IntegrityError):
        await database.run(again)
    assert len(runs) == 1


@pytest.mark.parametrize("happened", [True, False])
async def test_an_unknown_commit_is_never_repeated(
    database: Database, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    """The caller hears of an outage, readers' caches that nothing is settled."""
    commit: Commit = AsyncConnection.commit
    commits = []

    async def breaking(connection: AsyncConnection) -> None:
        commits.append(connection)
        if happened:
            await commit(connection)
        raise ConnectionResetError

    database.notifier = heard = Heard()
    with monkeypatch.context() as patch:
        patch.setattr(AsyncConnection, "commit", breaking)
        with pytest.raises(DatabaseUnavailable):
            await database.run(put, "row")
    assert len(commits) == 1
    assert heard.told == ["before", "unsettled"]
    assert ("row" in await names(database)) == happened
    assert await idle(database)


async def test_a_refused_commit_is_repeated(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server said that it rolled back."""
    commit: Commit = AsyncConnection.commit
    commits = []

    async def refusing(connection: AsyncConnection) -> None:
        commits.append(connection)
        if len(commits) == 1:
            raise exc.DBAPIError("COMMIT", None, asyncpg.SerializationError("no"))
        await commit(connection)

    database.notifier = heard = Heard()
    with monkeypatch.context() as patch:
        patch.setattr(AsyncConnection, "commit", refusing)
        await database.run(put, "row")
    assert heard.told == ["before", "unsettled", "before", "settled"]


async def test_what_is_committed_does_not_run_again(database: Database) -> None:
    """Also when the notifier fails afterwards, as a broken connection does."""

    class Failing(Heard):
        async def after_commit(self, keys: object, *, settled: bool = True) -> None:
            raise ConnectionResetError

    database.notifier = Failing()
    with pytest.raises(DatabaseUnavailable):
        await database.run(put, "row")
    database.notifier = None
    assert "row" in await names(database)


async def test_cancellation_at_any_moment_is_whole(database: Database) -> None:
    """However often it is repeated: all or nothing is written, and every mark is lifted."""
    chance = random.Random(11)
    database.notifier = heard = Heard()

    async def two(tx: Tx, name: str) -> None:
        await put(tx, f"{name}-a")
        assert await tx.fetch(VALUE, n=f"{name}-a")
        await put(tx, f"{name}-b")

    for number in range(120):
        task = asyncio.create_task(database.run(two, f"n{number}"))
        # Counted in turns of the loop, so that a commit is as likely to be hit as a statement.
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
    found = await names(database)
    assert all((f"n{number}-a" in found) == (f"n{number}-b" in found) for number in range(120))
    assert heard.told.count("before") == len(heard.told) / 2
    assert await idle(database)


async def test_readers_hear_of_a_cancelled_commit_when_it_has_ended(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while it still runs, even if the cancellation is repeated all the time."""
    commit: Commit = AsyncConnection.commit
    database.notifier = heard = Heard()

    async def slow(connection: AsyncConnection) -> None:
        await asyncio.sleep(0.05)
        await commit(connection)
        heard.told.append("committed")

    with monkeypatch.context() as patch:
        patch.setattr(AsyncConnection, "commit", slow)
        task = asyncio.create_task(database.run(put, "row"))
        await heard.asked.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
    assert task.cancelled()
    assert heard.told == ["before", "committed", "unsettled"]
    assert "row" in await names(database)


async def test_cancelled_readers_give_their_connections_back(database: Database) -> None:
    """More of them than there are connections."""
    chance = random.Random(13)

    async def reading() -> None:
        async with database.read() as tx:
            await tx.execute(text("SELECT 1"))
            await tx.fetch(VALUE, n="row")
            await tx.select(VALUE, n="row")

    tasks = [asyncio.create_task(reading()) for _ in range(60)]
    for task in tasks:
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(reading() for _ in range(30)))
    assert await idle(database)


async def test_a_reader_sees_the_newest_commit(database: Database) -> None:
    """At each of its statements; and nothing of what is not committed."""
    query = select(tables.properties.c.name).where(tables.properties.c.name == "row")
    async with database.read() as reader:
        assert (await reader.execute(query)).all() == []
        async with database.write() as tx:
            await put(tx, "row")
            assert (await reader.execute(query)).all() == []
        assert len((await reader.execute(query)).all()) == 1
        assert len(await reader.fetch(VALUE, n="row")) == 1


async def test_the_clock_of_sqlite_can_be_turned(tmp_path: Path) -> None:
    """Each connection asks the clock that it was given."""
    clock = TurnedClock()
    db = open_sqlite(tmp_path / "moorage.db", clock)
    for _ in range(2):
        async with db.read() as tx:
            row = (await tx.execute(select(now().label("now"), from_now(-60).label("ago")))).one()
        assert row.now == clock.now()
        assert row.ago == clock.now() - timedelta(minutes=1)
        clock.advance(86400)
    await db.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import insert
from moorage.clock import SystemClock
from moorage.db import open_sqlite, tables

async def put(tx, name):
    await tx.execute(insert(tables.properties).values(name=name, value="x"))

async def main():
    db = open_sqlite(Path(sys.argv[1]), SystemClock())
    for number in range(50):
        await db.run(put, f"{sys.argv[2]}{number}")
    await db.close()

asyncio.run(main())
"""


async def test_two_processes_write_one_file(tmp_path: Path) -> None:
    """Neither fails, and nothing is lost."""
    path = tmp_path / "moorage.db"
    db = open_sqlite(path, SystemClock())
    await migrate(db)
    command = (sys.executable, "-c", WRITER, str(path))
    writers = [await asyncio.create_subprocess_exec(*command, who) for who in ("a", "b")]
    assert [await writer.wait() for writer in writers] == [0, 0]
    found = await names(db)
    assert {f"{who}{number}" for who in "ab" for number in range(50)} <= found
    await db.close()


async def test_a_terminated_transaction_runs_again(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """The server threw its session out in the middle."""
    settings = postgres_server.settings(postgres_server.fresh())
    db = connect(settings, data_dir=tmp_path, clock=SystemClock())
    runs = []

    async def thrown_out(tx: Tx) -> None:
        await put(tx, "row")
        runs.append((await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one())
        if len(runs) == 1:
            await asyncio.to_thread(
                postgres_server.sql, f"SELECT pg_terminate_backend({runs[0]}, 5000)"
            )
        assert await tx.fetch(VALUE, n="row")

    await db.run(thrown_out)
    assert len(set(runs)) == 2
    assert "row" in await names(db)
    assert await idle(db)
    await db.close()


async def test_a_restart_is_over_when_it_is_over(tmp_path: Path) -> None:
    """Readers and writers of a full pool fail while it lasts, and not once after it."""
    with running_postgres() as server:
        settings = server.settings("postgres", pool_size=6)
        db = connect(settings, data_dir=tmp_path, clock=SystemClock())
        await migrate(db)

        async def used(number: int) -> None:
            async with db.read() as tx:
                await tx.fetch(VALUE, n="row")
                await asyncio.sleep(0.02)  # all six are taken
            await db.run(put, f"row{number}-{time.monotonic_ns()}")

        await asyncio.gather(*(used(number) for number in range(12)))
        await asyncio.to_thread(server.stop)
        outcomes = await asyncio.gather(*(used(n) for n in range(12)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}
        await asyncio.to_thread(server.start)
        await asyncio.gather(*(used(number) for number in range(12)))
        # And one that nobody noticed: every connection of the pool died while it was idle.
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        await asyncio.gather(*(used(number) for number in range(12)))
        assert await idle(db)
        await db.close()


async def test_a_server_without_a_free_slot(tmp_path: Path) -> None:
    """It is an outage, and the connections that there are stay in use."""
    with running_postgres() as server:
        db = connect(server.settings("postgres"), data_dir=tmp_path, clock=SystemClock())
        await migrate(db)
        async with db.read() as tx:
            before = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        others = []
        try:
            while True:
                others.append(await asyncpg.connect(server.url("postgres")))
        except asyncpg.TooManyConnectionsError:
            pass
        async with db.read() as tx:
            assert (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one() == before
            with pytest.raises(DatabaseUnavailable):
                await db.ping()
        for other in others:
            await other.close()
        async with db.read():
            await db.ping()
        assert await count(db, "properties")
        await db.close()


async def test_a_transaction_that_is_cancelled_anywhere_leaves_its_connection_clean(
    database: Database,
) -> None:
    """What is committed after it on the same connection is there for all others."""

    async def step(tx: Tx, name: str) -> None:
        await tx.execute(insert(tables.properties).values(name=name, value="x"))

    generator = random.Random(7)
    for number in range(150):
        cut = [asyncio.create_task(database.run(step, f"cut-{number}-{n}")) for n in range(3)]
        await asyncio.sleep(generator.uniform(0, 0.004))
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        await asyncio.gather(*(database.run(step, f"kept-{number}-{n}") for n in range(3)))
        async with database.read() as tx:
            mine = tables.properties.c.name.like(f"kept-{number}-%")
            seen = select(func.count()).select_from(tables.properties).where(mine)
            assert (await tx.execute(seen)).scalar_one() == 3
