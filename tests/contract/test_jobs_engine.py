"""The engine of jobs on both databases, with workers in this process."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.support.jobs import ask, ended, row, tasks_of, worker, working

from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Query
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.errors import Conflict, NotFound
from moorage.jobs import Context, Kind, LocalBell, Lost, NewTask, Stopping, extend, presence, queue
from moorage.jobs.dashboard import Dashboard
from moorage.jobs.history import History
from moorage.jobs.records import Claim
from moorage.jobs.requests import Requests
from moorage.jobs.worker import LOOK

pytestmark = pytest.mark.anyio


async def _nothing(context: Context) -> None:
    context.log("did nothing")


def history(database: Database) -> History:
    return History(database)


def requests(database: Database) -> Requests:
    return Requests(database, LocalBell())


async def test_the_last_step_of_a_task_is_part_of_its_end(database: Database) -> None:
    """It happens with a success, once; a run that fails does without."""
    done: list[int] = []

    async def twice(context: Context) -> None:
        async def last(tx: Tx) -> None:
            status = select(tables.tasks.c.status).where(tables.tasks.c.id == context.claim.id)
            assert (await tx.execute(status)).scalar_one() == "Success"
            done.append(context.claim.failures)

        context.last = last
        if not context.claim.failures:
            raise NotFound("not yet")

    made = await ask(database, NewTask("TWICE"))
    async with working(worker(database, Kind("TWICE", twice, tries=2, backoff=0.01))):
        assert (await ended(database, made)).status == "Success"
    assert done == [1]


async def test_a_task_is_done_and_tells_of_it(database: Database) -> None:
    async def count(context: Context) -> None:
        for number in range(3):
            context.log(f"line {number}\nand what would be another")
            context.tell(f"{number + 1} of 3")
        context.extra = {"counted": 3, **context.claim.arguments}

    made = await ask(database, NewTask("COUNT", {"to": 3}), vendor_id=7, extra={"why": "test"})
    assert (await row(database, made)).status == "Pending"
    async with working(worker(database, Kind("COUNT", count))):
        found = await ended(database, made)
    assert (found.status, found.unfinished, found.vendor_id) == ("Success", 0, 7)
    assert found.ended_at >= found.created_at
    (task,) = await tasks_of(database, made)
    assert (task.status, task.runs, task.check_in, task.owner) == ("Success", 1, "3 of 3", None)
    assert task.extra == {"counted": 3, "to": 3}
    said = (await history(database).log(task.id)).splitlines()
    assert [line.partition(" [INFO] ")[2] for line in said] == [
        f"line {number}\\u000aand what would be another" for number in range(3)
    ]


async def test_a_failure_is_tried_again_as_often_as_its_kind_says(database: Database) -> None:
    seen: list[int] = []

    async def fail(context: Context) -> None:
        seen.append(context.claim.failures)
        raise Conflict("somebody is at it")

    kind = Kind("FAIL", fail, tries=3, backoff=0.05)
    made = await ask(database, NewTask("FAIL"))
    async with working(worker(database, kind)):
        found = await ended(database, made)
    assert seen == [0, 1, 2]
    assert (found.status, found.status_message) == ("Error", "somebody is at it")
    (task,) = await tasks_of(database, made)
    assert (task.runs, task.failures) == (3, 2)
    assert (await history(database).log(task.id)).count("[ERROR] somebody is at it") == 3


async def test_a_bug_in_a_handler_ends_its_task_only_and_tells_no_secret(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def burst(context: Context) -> None:
        raise RuntimeError("password=hunter2")

    bad, good = await ask(database, NewTask("BURST")), await ask(database, NewTask("NOTHING"))
    async with working(worker(database, Kind("BURST", burst), Kind("NOTHING", _nothing))):
        assert (await ended(database, bad)).status == "Error"
        assert (await ended(database, good)).status == "Success"
    (task,) = await tasks_of(database, bad)
    assert "hunter2" not in task.status_message + await history(database).log(task.id)
    caplog.clear()


async def test_tasks_beget_tasks_and_the_last_one_decides(database: Database) -> None:
    async def part(context: Context) -> None:
        if context.claim.arguments.get("parent"):
            new = [NewTask("PART", {"fails": number == 3}) for number in range(5)]
            await context.run(extend, context.claim.execution_id, new)
        elif context.claim.arguments["fails"]:
            raise Conflict("this one")

    made = await ask(database, NewTask("PART", {"parent": True}))
    async with working(worker(database, Kind("PART", part))):
        found = await ended(database, made)
    assert (found.status, found.failed, found.unfinished) == ("Error", 1, 0)
    counts = (await history(database).metrics([made]))[made]
    assert counts == {"Success": 5, "Error": 1}


async def test_a_running_task_sees_a_stop_at_the_next_look(database: Database) -> None:
    """As everything is set by default, and when nothing but the database tells of it: that is
    within seconds, and long before the next poll."""
    began = asyncio.Event()
    seen: list[float] = []

    async def long(context: Context) -> None:
        began.set()
        try:
            while True:
                await context.sleep(0.02)
        except Stopping:
            seen.append(time.monotonic())
            raise

    made = await ask(database, NewTask("LONG"))
    async with working(worker(database, Kind("LONG", long), poll_seconds=60)):
        await asyncio.wait_for(began.wait(), 60)
        asked = time.monotonic()
        await Requests(database, LocalBell()).stop("me", made)  # a bell that nobody hears
        assert (await ended(database, made)).status == "Stopped"
    assert 0 < seen[0] - asked < 50
    assert LOOK <= 2


async def test_what_waits_stops_at_once_and_what_runs_is_told(database: Database) -> None:
    began = asyncio.Event()

    async def long(context: Context) -> None:
        began.set()
        while True:
            await context.sleep(0.05)

    async def deaf(context: Context) -> None:
        began.set()
        await asyncio.sleep(600)

    waiting = await ask(database, NewTask("LONG"), NewTask("LONG"))
    await requests(database).stop("me", waiting)
    found = await row(database, waiting)
    assert (found.status, found.stopped, found.unfinished) == ("Stopped", 2, 0)
    for handler in (long, deaf):
        began.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("moorage.jobs.worker.LOOK", 0.1)
            patch.setattr("moorage.jobs.worker.PATIENCE", 0.3)
            async with working(worker(database, Kind("LONG", handler))):
                made = await ask(database, NewTask("LONG"))
                await asyncio.wait_for(began.wait(), 60)
                await requests(database).stop("me", made)
                assert (await ended(database, made)).status == "Stopped"


async def test_a_lease_that_ran_out_is_taken_over_and_the_first_owner_can_do_no_more(
    database: Database,
) -> None:
    """What the zombie does in a transaction does not happen; what it says at its end is ignored."""
    first, refused = asyncio.Event(), asyncio.Event()
    effects: list[str] = []
    taken = asyncio.Event()

    async def effect(tx: Tx, name: str) -> None:
        effects.append(name)
        taken.set()

    async def zombie(context: Context) -> None:
        first.set()
        await taken.wait()
        with pytest.raises(Lost):
            await context.run(effect, "zombie")
        with pytest.raises(Lost):
            await context.save({"at": 1})
        refused.set()

    async def heir(context: Context) -> None:
        await context.run(effect, "heir")
        context.extra = {"by": "heir"}
        await asyncio.wait_for(refused.wait(), 60)

    made = await ask(database, NewTask("WORK"))  # the first worker has no room for it twice
    with pytest.MonkeyPatch.context() as patch:
        asleep = worker(database, Kind("WORK", zombie), lease_seconds=1, slots=1)
        patch.setattr(asleep, "_beat_loop", asyncio.Event().wait)
        async with working(asleep):
            await asyncio.wait_for(first.wait(), 60)
            async with working(worker(database, Kind("WORK", heir))):
                found = await ended(database, made)
    (task,) = await tasks_of(database, made)
    assert (found.status, effects, task.extra) == ("Success", ["heir"], {"by": "heir"})
    assert (task.fence, task.crashes, task.runs) == (2, 1, 2)


async def test_an_owner_that_learns_of_its_loss_is_cancelled(database: Database) -> None:
    cancelled, first = asyncio.Event(), asyncio.Event()

    async def work(context: Context) -> None:
        first.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moorage.jobs.worker.LOOK", 0.1)
        async with working(worker(database, Kind("WORK", work), slots=1)):
            made = await ask(database, NewTask("WORK"))
            await asyncio.wait_for(first.wait(), 60)
            await _set(database, made, fence=17, owner="somebody")
            await asyncio.wait_for(cancelled.wait(), 60)
    (task,) = await tasks_of(database, made)
    assert (task.status, task.owner, task.fence) == ("Running", "somebody", 17)


async def _set(database: Database, execution_id: int, **values: Any) -> None:
    async with database.write() as tx:
        mine = tables.tasks.c.execution_id == execution_id
        await tx.execute(update(tables.tasks).where(mine).values(**values))


async def test_a_task_that_kills_its_workers_is_poison(database: Database) -> None:
    made = await ask(database, NewTask("POISON"))
    dead = {"status": "Running", "owner": "dead", "lease_until": from_now(-1)}
    await _set(database, made, crashes=queue.MAX_CRASHES - 1, **dead)
    ran: list[int] = []

    async def run(context: Context) -> None:
        ran.append(1)

    async with working(worker(database, Kind("POISON", run, tries=3))):
        found = await ended(database, made)
    assert (found.status, found.status_message, ran) == ("Error", "5 workers died of it", [])


async def test_a_task_that_gets_on_is_no_poison_however_many_workers_it_outlives(
    database: Database,
) -> None:
    """A worker that dies counts again from each checkpoint on that says something new."""
    made = await ask(database, NewTask("LONG"))
    await database.run(presence.ensure_queues, ["LONG"])
    for number in range(2 * queue.MAX_CRASHES):
        await _set(database, made, status="Running", owner="dead", lease_until=from_now(-1))
        (claim,) = await database.run(queue.claim, "LONG", 1, "me", 30)
        assert claim.crashes == 1
        context = Context(database, SystemClock(), "me", claim)
        await context.save({"done": number})
        assert context.crashes == (await tasks_of(database, made))[0].crashes == 0
    for number in range(2):  # the same as before is nothing new
        await _set(database, made, status="Running", owner="dead", lease_until=from_now(-1))
        (claim,) = await database.run(queue.claim, "LONG", 1, "me", 30)
        assert claim.crashes == number + 1
        await Context(database, SystemClock(), "me", claim).save(claim.checkpoint)


async def test_a_worker_that_leaves_hands_over_and_counts_no_run(database: Database) -> None:
    began = asyncio.Event()

    async def long(context: Context) -> None:
        context.log("began")
        began.set()
        await asyncio.sleep(600)

    made = await ask(database, NewTask("LONG"))
    async with working(worker(database, Kind("LONG", long))):
        await asyncio.wait_for(began.wait(), 60)
    (task,) = await tasks_of(database, made)
    assert (task.status, task.runs, task.owner, task.crashes) == ("Pending", 0, None, 0)
    assert "began" in await history(database).log(task.id)
    async with working(worker(database, Kind("LONG", _nothing))):
        assert (await ended(database, made)).status == "Success"


async def test_a_checkpoint_is_where_the_next_run_goes_on(database: Database) -> None:
    async def climb(context: Context) -> None:
        at = context.claim.checkpoint or 0
        if at < 3:
            await context.save(at + 1)
            raise Conflict("not there yet")
        context.extra = {"reached": at}

    made = await ask(database, NewTask("CLIMB"))
    async with working(worker(database, Kind("CLIMB", climb, tries=9, backoff=0.02))):
        await ended(database, made)
    (task,) = await tasks_of(database, made)
    assert task.extra == {"reached": 3}


async def test_a_limit_holds_over_workers_and_no_kind_starves_another(database: Database) -> None:
    at_once: Counter[str] = Counter()
    most: Counter[str] = Counter()
    order: list[str] = []

    async def slow(context: Context) -> None:
        name = context.claim.kind
        at_once[name] += 1
        most[name] = max(most[name], at_once[name])
        await asyncio.sleep(0.05)
        at_once[name] -= 1
        order.append(name)

    kinds = [Kind("ONE", slow, limit=1), Kind("TWO", slow, limit=2), Kind("MANY", slow)]
    workers = [worker(database, *kinds, slots=4) for _ in range(3)]
    new = [NewTask(name) for name in ("MANY",) * 60 + ("ONE",) * 4 + ("TWO",) * 6]
    async with working(*workers):
        made = await ask(database, *new)
        await ended(database, made, 60)
    assert most["ONE"] == 1
    assert most["TWO"] <= 2
    assert most["MANY"] <= 3 * 4
    assert order.index("ONE") < 40  # long before the sixty of the other kind were done
    assert order.index("TWO") < 40
    assert Counter(order) == {"MANY": 60, "ONE": 4, "TWO": 6}


async def test_what_is_more_urgent_comes_first(database: Database) -> None:
    order: list[int] = []

    async def note(context: Context) -> None:
        order.append(context.claim.arguments["rank"])

    made = await ask(database, *(NewTask("NOTE", {"rank": r}, rank=r) for r in (2, 0, 1, -1)))
    async with working(worker(database, Kind("NOTE", note, share=1), slots=1)):
        await ended(database, made)
    assert order == [-1, 0, 1, 2]


async def test_a_paused_queue_holds_and_goes_on(database: Database) -> None:
    dashboard = Dashboard(database, ["HELD", "FREE"])
    await requests(database).pause("me", ["HELD"], paused=True)
    held, free = await ask(database, NewTask("HELD")), await ask(database, NewTask("FREE"))
    async with working(worker(database, Kind("HELD", _nothing), Kind("FREE", _nothing))):
        await ended(database, free)
        await asyncio.sleep(0.3)
        assert (await row(database, held)).status == "Pending"
        found = {each.kind: each for each in await dashboard.queues()}
        assert (found["HELD"].count, found["HELD"].paused, found["FREE"].count) == (1, True, 0)
        await requests(database).pause("me", ["HELD"], paused=False)
        await ended(database, held)


async def test_stopping_a_queue_ends_what_waits_in_it(database: Database) -> None:
    a, b = await ask(database, NewTask("A"), NewTask("A")), await ask(database, NewTask("B"))
    await requests(database).empty("me", ["A"])
    assert (await row(database, a)).status == "Stopped"
    assert (await row(database, b)).status == "Pending"


async def test_workers_are_seen_while_they_live(database: Database) -> None:
    dashboard = Dashboard(database, ["LONG"])
    began = asyncio.Event()

    async def long(context: Context) -> None:
        began.set()
        await asyncio.sleep(600)

    one = worker(database, Kind("LONG", long), slots=3)
    async with working(one):
        await ask(database, NewTask("LONG"))
        await asyncio.wait_for(began.wait(), 60)
        (seen,) = await dashboard.workers()
        assert (seen.id, seen.slots) == (one.id, 3)
        (doing,) = await dashboard.doing(one.id)
        assert (doing.kind, doing.owner, doing.status) == ("LONG", one.id, "Running")
        assert await dashboard.doing("nobody") == []
    assert await dashboard.workers() == []
    assert await dashboard.doing() == []


async def test_a_second_execution_with_the_same_mark_is_not_made(database: Database) -> None:
    made = await ask(database, NewTask("ONCE"), dedupe="x")
    again = await database.run(queue.enqueue, "TEST", [NewTask("ONCE")], trigger="X", dedupe="x")
    assert again is None
    assert len(await tasks_of(database, made)) == 1


async def test_what_was_enqueued_by_a_transaction_that_failed_is_not_there(
    database: Database,
) -> None:
    async def step(tx: Tx) -> None:
        await queue.enqueue(tx, "TEST", [NewTask("NEVER")], trigger="X")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await database.run(step)
    async with database.read() as tx:
        assert (await tx.execute(select(tables.tasks))).all() == []


async def test_a_log_is_followed_while_it_grows(database: Database) -> None:
    go = asyncio.Event()

    async def talk(context: Context) -> None:
        context.log("first")
        await go.wait()
        context.log("last")

    made = await ask(database, NewTask("TALK"))
    (task,) = await tasks_of(database, made)
    said = ""
    async with working(worker(database, Kind("TALK", talk))):
        async with asyncio.timeout(60):
            async for text in history(database).follow(task.id, look=0.05):
                said += text
                go.set()
    assert [line.split("] ")[1] for line in said.splitlines()] == ["first", "last"]


async def test_a_log_that_never_ends_is_cut(database: Database) -> None:
    async def babble(context: Context) -> None:
        for _ in range(60):
            context.log("x" * 100)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moorage.jobs.context.MAX_LOG", 1000)
        made = await ask(database, NewTask("BABBLE"))
        async with working(worker(database, Kind("BABBLE", babble))):
            await ended(database, made)
    (task,) = await tasks_of(database, made)
    said = await history(database).log(task.id)
    assert len(said) < 1300
    assert said.endswith("[WARNING] the log ends here: it has 1000 characters\n")


async def test_a_list_of_executions_is_narrowed_to_its_vendor(database: Database) -> None:
    found = history(database)
    mine = await ask(database, NewTask("A"), vendor="MINE", vendor_id=1)
    await ask(database, NewTask("A"), vendor="MINE", vendor_id=2)
    await ask(database, NewTask("A"), vendor="OTHER", vendor_id=1)
    page = await found.list(["MINE"], Query(), vendor_id=1)
    assert [each.id for each in page.items] == [mine]
    assert (await found.list(["MINE", "OTHER"], Query())).total == 3
    assert await found.running("MINE")
    with pytest.raises(NotFound):
        await found.get(["OTHER"], mine)
    with pytest.raises(NotFound):
        await found.task((await tasks_of(database, mine))[0].id, mine + 1)


async def test_claims_go_by_the_index_however_much_waits(database: Database) -> None:
    await ask(database, *(NewTask(f"K{number % 5}") for number in range(20_000)))
    explain, moment = "EXPLAIN QUERY PLAN", "moorage_now(0)"
    if database.dialect.name == "postgresql":
        explain, moment = "EXPLAIN", "statement_timestamp()"
    async with database.write() as tx:
        await tx.connection.exec_driver_sql("ANALYZE")
        plan = await tx.connection.exec_driver_sql(
            f"{explain} SELECT id FROM tasks WHERE kind = 'K1' AND status = 'Pending' "
            f"AND run_at <= {moment} ORDER BY rank, run_at, id LIMIT 5"
        )
        told = str(plan.all())
    assert "ix_tasks_due" in told
    assert "Seq Scan" not in told


async def test_stopping_is_what_the_handler_sees(database: Database) -> None:
    claim = Claim(1, 1, "X", {}, None, 1, 0, 0, SystemClock().now(), 0)
    context = Context(database, SystemClock(), "me", claim)
    context.check()
    context.ask_to_stop()
    with pytest.raises(Stopping):
        context.check()
    with pytest.raises(Stopping):
        await context.sleep(5)
