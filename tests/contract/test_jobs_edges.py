"""The ends of jobs that nobody plans: handlers with bugs, workers that leave, late stops."""

import asyncio
import random
import threading

import pytest
from sqlalchemy import update
from tests.support.jobs import ask, ended, row, tasks_of, worker, working
from tests.support.statements import statements

from moorage import failpoints
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.types import from_now
from moorage.errors import Conflict, DatabaseUnavailable
from moorage.jobs import Context, Kind, LocalBell, NewTask, presence, queue
from moorage.jobs.history import History
from moorage.jobs.records import Claim
from moorage.jobs.requests import Requests
from moorage.jobs.worker import PATIENCE

pytestmark = pytest.mark.anyio


async def claim(db: Database, kind: str) -> Claim:
    await db.run(presence.ensure_queues, [kind])
    (claimed,) = await db.run(queue.claim, kind, 1, "me", 30)
    return claimed


def history(database: Database) -> History:
    return History(database)


async def test_a_short_lease_is_kept_as_well_as_a_long_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However rarely anything else is looked at."""
    monkeypatch.setattr("moorage.jobs.worker.LOOK", 60)

    async def long(context: Context) -> None:
        await asyncio.sleep(8)

    made = await ask(database, NewTask("LONG"))
    kind = Kind("LONG", long)
    async with working(*(worker(database, kind, lease_seconds=6) for _ in range(2))):
        assert (await ended(database, made)).status == "Success"
    (task,) = await tasks_of(database, made)
    assert (task.runs, task.crashes) == (1, 0)


async def test_what_was_stopped_does_not_begin_again(database: Database) -> None:
    """Not after a failure, nor when its worker leaves, nor when its worker died."""
    failed, left, died = [await ask(database, NewTask("WORK")) for _ in range(3)]
    claims = [await claim(database, "WORK") for _ in range(3)]
    for made in (failed, left, died):
        await Requests(database, LocalBell()).stop("me", made)
    await database.run(queue.retry, "me", claims[0], 600, "failed")
    await database.run(queue.give_back, "me", claims[1])
    assert [(await row(database, made)).status for made in (failed, left, died)] == [
        *("Stopped", "Stopped", "Running")
    ]
    async with database.write() as tx:
        mine = tables.tasks.c.execution_id == died
        await tx.execute(update(tables.tasks).where(mine).values(lease_until=from_now(-1)))
    ran: list[int] = []

    async def run(context: Context) -> None:
        ran.append(context.claim.id)

    async with working(worker(database, Kind("WORK", run))):
        assert (await ended(database, died)).status == "Stopped"
    assert ran == []


async def test_a_worker_that_leaves_gives_back_what_it_has_not_begun(database: Database) -> None:
    made = await ask(database, NewTask("WORK"), NewTask("WORK"))

    async def run(context: Context) -> None:
        raise AssertionError("it left before that")

    failpoints.arm("job.claimed=sleep(60)")
    try:
        async with working(worker(database, Kind("WORK", run))):
            async with asyncio.timeout(60):
                while (await tasks_of(database, made))[1].status != "Running":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
    finally:
        failpoints.arm("")
    for task in await tasks_of(database, made):
        assert (task.status, task.runs, task.owner, task.crashes) == ("Pending", 0, None, 0)


async def test_a_handler_that_takes_long_to_let_go_keeps_its_lease(database: Database) -> None:
    """A worker that leaves beats on until its last task has ended."""
    began, heirs = asyncio.Event(), []

    async def stubborn(context: Context) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(8)
            raise

    async def heir(context: Context) -> None:
        heirs.append(context.claim.crashes)

    made = await ask(database, NewTask("WORK"))
    leaving = worker(database, Kind("WORK", stubborn), lease_seconds=6, drain_seconds=60)
    async with working(leaving):
        await asyncio.wait_for(began.wait(), 60)
        other = asyncio.create_task(worker(database, Kind("WORK", heir)).live())
    assert heirs in ([], [0])
    await ended(database, made)
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert heirs == [0]


async def test_a_database_that_goes_away_under_a_handler_is_not_its_failure(
    database: Database,
) -> None:
    async def work(context: Context) -> None:
        if context.claim.fence == 1:
            raise DatabaseUnavailable

    async def never(context: Context) -> None:
        raise DatabaseUnavailable

    good, bad = await ask(database, NewTask("WORK")), await ask(database, NewTask("NEVER"))
    kinds = Kind("WORK", work, backoff=0.05), Kind("NEVER", never, backoff=0.05)
    async with working(worker(database, *kinds)):
        assert (await ended(database, good)).status == "Success"
        assert (await ended(database, bad)).status == "Error"
    (task,) = await tasks_of(database, good)
    assert (task.failures, task.crashes) == (0, 1)
    (task,) = await tasks_of(database, bad)
    assert task.runs == queue.MAX_CRASHES


async def test_results_that_cannot_be_stored_are_a_failure_that_ends(database: Database) -> None:
    runs = []

    async def odd(context: Context) -> None:
        runs.append(context.claim.fence)
        context.extra = {"lock": threading.Lock(), "number": float("nan")}

    made = await ask(database, NewTask("ODD"))
    async with working(worker(database, Kind("ODD", odd))):
        found = await ended(database, made)
    assert (found.status, found.status_message) == ("Error", "its results are not JSON")
    assert runs == [1]


async def test_whatever_a_handler_says_can_be_stored(database: Database) -> None:
    async def odd(context: Context) -> None:
        context.tell("a\0b\ud800")
        context.log("c\0d\udfff")
        raise Conflict("e\0f\udc80")

    made = await ask(database, NewTask("ODD"))
    async with working(worker(database, Kind("ODD", odd))):
        found = await ended(database, made)
    assert (found.status, found.status_message) == ("Error", "e\\u0000f\\udc80")
    (task,) = await tasks_of(database, made)
    assert task.check_in == "a\\u0000b\\ud800"
    assert "c\\u0000d\\udfff" in await history(database).log(task.id)


async def test_a_handler_that_cancels_itself_has_failed(database: Database) -> None:
    async def odd(context: Context) -> None:
        raise asyncio.CancelledError

    made = await ask(database, NewTask("ODD"))
    async with working(worker(database, Kind("ODD", odd))):
        assert (await ended(database, made)).status == "Error"


async def test_no_line_of_a_log_is_written_twice(database: Database) -> None:
    """Handlers end at every moment of a write of their logs, also during its commit."""
    chance = random.Random(4711)

    async def talk(context: Context) -> None:
        context.log("only once")
        await asyncio.sleep(chance.uniform(0.004, 0.03))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moorage.jobs.context.FLUSH", 0.005)
        made = await ask(database, *(NewTask("TALK") for _ in range(150)))
        async with working(worker(database, Kind("TALK", talk), slots=20)):
            await ended(database, made)
    said = [await history(database).log(each.id) for each in await tasks_of(database, made)]
    assert {text.count("only once") for text in said} == {1}


async def test_a_long_queue_is_stopped_by_few_statements(database: Database) -> None:
    for _ in range(30):
        await ask(database, NewTask("A"))
    two = await ask(database, NewTask("A"), NewTask("A"))
    with statements() as seen:
        await Requests(database, LocalBell()).empty("me", ["A"])
    assert len(seen) <= 7
    assert (await row(database, two)).stopped == 2
    assert not [each for each in await tasks_of(database, two) if each.status != "Stopped"]


async def test_a_process_that_slept_is_its_own_heir(database: Database) -> None:
    """It takes its own task over: the run before is cancelled, the new one can be stopped."""
    begun: list[Context] = []

    async def endless(context: Context) -> None:
        begun.append(context)
        await asyncio.Event().wait()

    sleeper = worker(database, Kind("TEST", endless))
    await sleeper._appear()
    made = await ask(database, NewTask("TEST"))
    assert await sleeper.claim_some() == 1
    (before,) = sleeper._runs.values()
    async with database.write() as tx:
        await tx.execute(tables.tasks.update().values(lease_until=from_now(-1)))
    assert await sleeper.claim_some() == 1
    await asyncio.wait_for(before.task, 60)
    (run,) = sleeper._runs.values()
    assert (run is before, run.settling, run.context.claim.fence) == (False, False, 2)
    assert (await tasks_of(database, made))[0].status == "Running"
    run.asked_at = -PATIENCE * 2
    sleeper._ask_to_stop(run)
    await asyncio.wait_for(run.task, 60)
    assert (await tasks_of(database, made))[0].status == "Stopped"
