"""Write transactions of SQLite that share a commit: each is whole, and none speaks for another."""

import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from moorage.clock import SystemClock
from moorage.db import Database, Tx, open_sqlite, tables
from moorage.db.migrator import migrate
from moorage.errors import DatabaseUnavailable, StorageFull

pytestmark = pytest.mark.anyio

Commit = Callable[[AsyncConnection], Awaitable[None]]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    db = open_sqlite(tmp_path / "moorage.db", SystemClock())
    await migrate(db)
    yield db
    await db.close()


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[AsyncConnection]:
    """Grows by one with each commit."""
    found: list[AsyncConnection] = []
    commit: Commit = AsyncConnection.commit

    async def counted(connection: AsyncConnection) -> None:
        found.append(connection)
        await commit(connection)

    monkeypatch.setattr(AsyncConnection, "commit", counted)
    return found


async def put(tx: Tx, name: str) -> None:
    await tx.execute(insert(tables.properties).values(name=name, value="x"))


async def names(db: Database) -> set[str]:
    query = select(tables.properties.c.name).where(tables.properties.c.value == "x")
    async with db.read() as tx:
        return set((await tx.execute(query)).scalars())


async def test_those_that_wait_share_a_commit(db: Database, commits: list[AsyncConnection]) -> None:
    """Twenty at once need two commits at most; one after another need one each."""
    await asyncio.gather(*(db.run(put, f"n{number}") for number in range(20)))
    assert len(commits) <= 2
    assert len(await names(db)) == 20
    commits.clear()
    for number in range(20, 25):
        await db.run(put, f"n{number}")
    assert len(commits) == 5


async def test_a_step_that_fails_is_undone_alone(
    db: Database, commits: list[AsyncConnection]
) -> None:
    """Also when it is the first or the last of its group."""

    async def failing(tx: Tx, name: str) -> None:
        await put(tx, name)
        raise ValueError(name)

    steps = [failing, put, failing, put, failing]
    tasks = [db.run(step, f"n{number}") for number, step in enumerate(steps)]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[::2]] == [ValueError] * 3
    assert outcomes[1::2] == [None, None]
    assert await names(db) == {"n1", "n3"}
    assert len(commits) == 1


async def test_a_step_sees_the_group_and_a_reader_does_not(db: Database) -> None:
    """What is not committed may still be lost."""
    seen = []

    async def looking(tx: Tx) -> None:
        query = select(tables.properties.c.name).where(tables.properties.c.value == "x")
        seen.append(set((await tx.execute(query)).scalars()))
        seen.append(await names(db))

    await asyncio.gather(db.run(put, "first"), db.run(looking))
    assert seen == [{"first"}, set()]


async def test_a_group_that_sqlite_gave_up_runs_again(db: Database) -> None:
    """A full disk can end the transaction within a step: those before it lost their writes."""
    runs = []

    async def counted(tx: Tx, name: str) -> None:
        runs.append(name)
        await put(tx, name)

    async def full(tx: Tx) -> None:
        await put(tx, "full")
        await tx.execute(text("ROLLBACK"))
        raise OSError("disk is full")

    outcomes = await asyncio.gather(
        db.run(counted, "before"), db.run(full), db.run(counted, "after"), return_exceptions=True
    )
    assert outcomes[0] is outcomes[2] is None
    assert isinstance(outcomes[1], DatabaseUnavailable)
    assert await names(db) == {"before", "after"}
    assert runs.count("before") > 1


async def test_a_full_disk_is_named(db: Database) -> None:
    """Nothing of the group that met it is written; what fits later is."""

    async def large(tx: Tx) -> None:
        await tx.execute(text("PRAGMA max_page_count = 1"))
        row = insert(tables.properties).values(name="large", value="y" * 1_000_000)
        await tx.execute(row)

    with pytest.raises(StorageFull):
        await db.run(large)
    async with db.write() as tx:
        await tx.execute(text("PRAGMA max_page_count = 1000000"))
        await put(tx, "small")
    assert await names(db) == {"small"}


async def test_a_cancelled_statement_takes_nobody_along(db: Database) -> None:
    """It ends in its thread before anything else is run there, and its step is undone."""
    began, go_on = threading.Event(), threading.Event()

    def held() -> bool:
        began.set()
        return go_on.wait(60)

    async def dawdling(tx: Tx) -> None:
        await put(tx, "cancelled")
        connection: Any = (await tx.connection.get_raw_connection()).driver_connection
        await connection.create_function("held", 0, held)
        await tx.execute(text("SELECT held()"))

    for number in range(5):
        before = asyncio.create_task(db.run(put, f"before{number}"))
        task = asyncio.create_task(db.run(dawdling))
        after = asyncio.create_task(db.run(put, f"after{number}"))
        assert await asyncio.to_thread(began.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        await asyncio.gather(before, after)
        assert task.cancelled()
        began.clear()
        go_on.clear()
    expected = {f"{when}{number}" for number in range(5) for when in ("before", "after")}
    assert await names(db) == expected


async def test_a_commit_that_fails_is_told_to_all(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes his own part for done."""

    async def breaking(connection: AsyncConnection) -> None:
        await connection.rollback()
        raise OSError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(AsyncConnection, "commit", breaking)
        tasks = [db.run(put, f"n{number}") for number in range(5)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}
    assert await names(db) == set()
    await db.run(put, "later")
    assert await names(db) == {"later"}


async def test_who_leaves_the_queue_holds_nobody_up(db: Database) -> None:
    """The commit does not depend on any caller."""
    first = asyncio.create_task(db.run(put, "first"))
    rest = [asyncio.create_task(db.run(put, f"n{number}")) for number in range(10)]
    await asyncio.sleep(0)
    for task in rest:
        task.cancel()
    await asyncio.wait_for(first, 60)
    await asyncio.gather(*rest, return_exceptions=True)
    assert await names(db) == {"first"}


async def test_closing_waits_for_the_commit(tmp_path: Path) -> None:
    """Whoever was cancelled last has left a commit behind."""
    chance = random.Random(3)
    for number in range(20):
        db = open_sqlite(tmp_path / f"{number}.db", SystemClock())
        async with db.write() as tx:
            await tx.execute(text("CREATE TABLE t (a INTEGER)"))
        task = asyncio.create_task(db.run(lambda tx: tx.execute(text("INSERT INTO t VALUES (1)"))))
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await db.close()
        again = open_sqlite(tmp_path / f"{number}.db", SystemClock())
        async with again.read() as tx:
            assert (await tx.execute(text("SELECT count(*) FROM t"))).scalar_one() in (0, 1)
        await again.close()


LEAVING = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import text
from moorage.clock import SystemClock
from moorage.db import open_sqlite

async def add(tx):
    await tx.execute(text("INSERT INTO t VALUES (1)"))

async def main():
    db = open_sqlite(Path(sys.argv[1]), SystemClock())
    async with db.write() as tx:
        await tx.execute(text("CREATE TABLE IF NOT EXISTS t (a INTEGER)"))
    tasks = [asyncio.create_task(db.run(add)) for _ in range(50)]
    await asyncio.sleep(float(sys.argv[2]))

asyncio.run(main())
"""


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 6, 10])
async def test_a_process_ends_while_a_commit_is_under_way(
    tmp_path: Path, milliseconds: int
) -> None:
    """Callers and their commit are cancelled at once; nobody waits for the other."""
    command = [sys.executable, "-c", LEAVING, str(tmp_path / "db"), str(milliseconds / 1000)]
    done = await asyncio.to_thread(
        subprocess.run, command, timeout=120, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
