"""What happens to jobs in the moments between two statements, on PostgreSQL, where others act then.

Each test holds one transaction open and lets another one come.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, select, text, update
from tests.support.databases import PostgresServer
from tests.support.jobs import ask, ended, row, tasks_of, worker, working

from moorage.clock import SystemClock
from moorage.db import connect, tables
from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.jobs import Context, Kind, LocalBell, NewTask, Stopping, extend, presence, queue
from moorage.jobs.records import Claim
from moorage.jobs.requests import Requests

pytestmark = pytest.mark.anyio


@pytest.fixture
async def postgres(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database."""
    name = postgres_server.fresh()
    db = connect(postgres_server.settings(name), data_dir=tmp_path, clock=SystemClock())
    yield db
    await db.close()
    postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


async def blocked(db: Database) -> None:
    """Return once a transaction of this database waits for another."""
    query = text(
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE NOT l.granted AND a.datname = current_database()"
    )
    async with asyncio.timeout(60):
        while True:
            async with db.read() as tx:
                if (await tx.execute(query)).scalar_one():
                    return
            await asyncio.sleep(0.02)


async def claim(db: Database, kind: str, owner: str = "me", lease: float = 30) -> Claim:
    await db.run(presence.ensure_queues, [kind])
    (claimed,) = await db.run(queue.claim, kind, 1, owner, lease)
    return claimed


async def hold(db: Database, execution_id: int, over: Awaitable[Any]) -> None:
    """Let the rows of its tasks be locked until then: the database gives no answer about them."""
    mine = tables.tasks.c.execution_id == execution_id
    async with db.write() as tx:
        await tx.execute(select(tables.tasks.c.id).where(mine).with_for_update())
        await over


async def test_a_stop_reaches_a_task_that_is_being_claimed(postgres: Database) -> None:
    made = await ask(postgres, NewTask("WORK"))
    await postgres.run(presence.ensure_queues, ["WORK"])
    async with postgres.write() as tx:
        await queue.claim(tx, "WORK", 1, "me", 30)
        stopping = asyncio.create_task(Requests(postgres, LocalBell()).stop("me", made))
        await blocked(postgres)
    await stopping
    (task,) = await tasks_of(postgres, made)
    assert (task.status, task.stop_requested) == ("Running", True)


async def test_a_stop_reaches_a_task_that_falls_back_for_another_try(postgres: Database) -> None:
    made = await ask(postgres, NewTask("WORK"))
    mine = await claim(postgres, "WORK")
    async with postgres.write() as tx:
        await queue.retry(tx, "me", mine, 600, "failed")
        stopping = asyncio.create_task(Requests(postgres, LocalBell()).stop("me", made))
        await blocked(postgres)
    await stopping
    assert (await row(postgres, made)).status == "Stopped"


async def test_a_stop_reaches_tasks_that_are_just_being_added(postgres: Database) -> None:
    made = await ask(postgres, NewTask("WORK"))
    mine = await claim(postgres, "WORK")
    async with postgres.write() as tx:
        assert await queue.guard(tx, "me", mine)
        await extend(tx, made, [NewTask("WORK"), NewTask("WORK")])
        stopping = asyncio.create_task(Requests(postgres, LocalBell()).stop("me", made))
        await blocked(postgres)
    await stopping
    assert [each.status for each in await tasks_of(postgres, made)] == [
        *("Running", "Stopped", "Stopped")
    ]
    await postgres.run(queue.finish, "me", mine, "Stopped")
    found = await row(postgres, made)
    assert (found.status, found.unfinished, found.stopped) == ("Stopped", 0, 3)


async def test_what_is_stopped_gets_no_more_tasks(postgres: Database) -> None:
    made = await ask(postgres, NewTask("WORK"))
    await claim(postgres, "WORK")
    await Requests(postgres, LocalBell()).stop("me", made)
    with pytest.raises(Stopping):
        await postgres.run(extend, made, [NewTask("WORK")])
    assert (await row(postgres, made)).unfinished == 1


async def test_a_limit_counts_a_task_whose_late_owner_is_still_at_it(postgres: Database) -> None:
    """Its lease is over, but nobody can take it now: its owner may renew the lease yet."""
    made = await ask(postgres, NewTask("ONE"), NewTask("ONE"))
    mine = await claim(postgres, "ONE")
    async with postgres.write() as tx:
        assert await queue.guard(tx, "me", mine)
        await _set(postgres, made, lease_until=from_now(-1))
        assert await postgres.run(queue.claim, "ONE", 1, "other", 30, 1) == []
    assert await postgres.run(queue.beat, "me", [mine.id], 30) == {mine.id: (1, False)}
    assert await postgres.run(queue.claim, "ONE", 1, "other", 30, 1) == []


async def test_parts_that_act_at_once_do_not_keep_the_lease_from_being_renewed(
    postgres: Database,
) -> None:
    """By turns they could hold the task for longer than its lease."""
    await ask(postgres, NewTask("WORK"))
    mine = await claim(postgres, "WORK")
    async with postgres.write() as one, postgres.write() as other:
        assert await queue.guard(one, "me", mine)
        assert await queue.guard(other, "me", mine)
        async with asyncio.timeout(60):  # one that waited would do so for ever
            kept = await postgres.run(queue.beat, "me", [mine.id], 30)
    assert kept == {mine.id: (1, False)}


async def test_a_worker_that_gets_no_answer_for_a_whole_lease_lets_go(postgres: Database) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def work(context: Context) -> None:
        if context.claim.fence > 1:
            return
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    made = await ask(postgres, NewTask("WORK"))
    async with working(worker(postgres, Kind("WORK", work), lease_seconds=1)):
        await asyncio.wait_for(began.wait(), 60)
        await hold(postgres, made, asyncio.wait_for(cancelled.wait(), 60))
        assert (await ended(postgres, made)).status == "Success"


async def test_an_outcome_waits_for_a_database_that_gives_no_answer(postgres: Database) -> None:
    """Longer than the lease: nobody else could take the task meanwhile."""
    began, go, runs = asyncio.Event(), asyncio.Event(), []

    async def work(context: Context) -> None:
        runs.append(context.claim.fence)
        began.set()
        await go.wait()

    made = await ask(postgres, NewTask("WORK"))
    # It looks for nothing more meanwhile: it would take its own late task when that comes free.
    patient = worker(postgres, Kind("WORK", work), lease_seconds=3, poll_seconds=60)
    async with working(patient):
        await asyncio.wait_for(began.wait(), 60)

        async def longer_than_the_lease() -> None:
            go.set()
            await blocked(postgres)
            await asyncio.sleep(5)

        await hold(postgres, made, longer_than_the_lease())
        assert (await ended(postgres, made)).status == "Success"
    assert runs == [1]


async def _set(db: Database, execution_id: int, **values: Any) -> None:
    async with db.write() as tx:
        mine = tables.tasks.c.execution_id == execution_id
        await tx.execute(update(tables.tasks).where(mine).values(**values))


async def test_a_claim_passes_by_what_its_owner_is_acting_on(postgres: Database) -> None:
    """However late it is: what happens under the fence happens before anybody else begins."""
    made = await ask(postgres, NewTask("WORK"))
    mine = await claim(postgres, "WORK")
    async with postgres.write() as tx:
        assert await queue.guard(tx, "me", mine)
        await _set(postgres, made, lease_until=from_now(-1))  # the beat is not kept out
        assert await postgres.run(queue.claim, "WORK", 1, "heir", 30) == []
    (taken,) = await postgres.run(queue.claim, "WORK", 1, "heir", 30)
    assert (taken.fence, taken.crashes) == (2, 1)


async def test_a_stop_reaches_a_task_that_is_added_and_claimed_meanwhile(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when the others were told, and runs when they are looked at."""
    made = await ask(postgres, NewTask("TEST"))
    await claim(postgres, "TEST")
    execute = Tx.execute
    late: list[Claim] = []

    async def first(tx: Tx, statement: Any, parameters: Any = None) -> Any:
        if isinstance(statement, Select) and "executions" in str(statement) and not late:
            monkeypatch.undo()
            await postgres.run(extend, made, [NewTask("TEST")])
            late.append(await claim(postgres, "TEST", "other"))
        return await execute(tx, statement, parameters)

    monkeypatch.setattr(Tx, "execute", first)
    await postgres.run(queue.stop, tables.tasks.c.execution_id == made)
    assert len(late) == 1
    assert [task.stop_requested for task in await tasks_of(postgres, made)] == [True, True]
