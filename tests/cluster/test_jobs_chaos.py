"""Workers in processes of their own, killed, frozen and cut off from what they work with.

TESTS_SEED=4711 pytest tests/cluster/test_jobs_chaos.py     choices as in the run that printed it
"""

import asyncio
import contextlib
import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, text
from tests.support.databases import PostgresServer, running_postgres, sqlite_template
from tests.support.jobs import ask, ended, tasks_of, worker, working
from tests.support.jobworker import EFFECTS, Fleet, frozen, opened, prepare
from tests.support.redis_server import RedisServer

from moorage.config.redis import RedisSettings
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.migrator import migrate
from moorage.errors import DatabaseUnavailable
from moorage.jobs import Context, Kind, NewExecution, NewTask, enqueue_each
from moorage.jobs.bell import Bell, open_bell
from moorage.jobs.queue import MAX_CRASHES
from moorage.jobs.records import FINAL, RUNNING

pytestmark = pytest.mark.anyio

LEASE, POLL, SLACK = 2.0, 0.5, 40.0  # seconds; the last is the machine's, which is busy
JOBS = {"lease_seconds": LEASE, "poll_seconds": POLL, "drain_seconds": 2}
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
SEED = os.environ.get("TESTS_SEED") or secrets.token_hex(4)


class Place:
    """A database, the folder of its workers, and what was asked of them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.db = opened({"folder": str(folder), "url": url})
        self.fleet: Fleet | None = None
        self.asked: Counter[str] = Counter()
        self.rng = random.Random(SEED)
        print(f"TESTS_SEED={SEED}")

    def start(self, count: int, **options: Any) -> Fleet:
        """Workers on it."""
        options = {"jobs": JOBS, "url": self.url, **options}
        self.fleet = Fleet(self.folder, count, **options)
        return self.fleet

    async def ask(self, jobs: int, names: Sequence[str] = tuple(EFFECTS)) -> None:
        """Enqueue executions, each of one task, of all kinds."""
        kinds = [names[number % len(names)] for number in range(jobs)]
        self.asked.update(kinds)
        new = [NewExecution("TEST", 0, NewTask(kind)) for kind in kinds]
        await self.db.run(enqueue_each, new, trigger="MANUAL")

    async def rows(self, query: Any) -> Sequence[Any]:
        async with self.db.read() as tx:
            return (await tx.execute(query)).all()

    async def open_tasks(self) -> Sequence[Any]:
        t = tables.tasks
        return await self.rows(select(t).where(t.c.status.not_in(FINAL)))

    async def held(self) -> Sequence[Any]:
        """Tasks that a worker has, dead or alive."""
        t = tables.tasks
        columns = t.c.id, t.c.fence, t.c.owner, t.c.crashes
        return await self.rows(select(*columns).where(t.c.status == RUNNING))

    async def busy(self) -> list[int]:
        """Numbers of the workers of the fleet that have a task, and may die of it.

        Of a task that five have died of it is said that it kills.
        """
        assert self.fleet is not None
        held = await self.held()
        owners = {task.owner.split("-")[-2] for task in held}
        owners -= {task.owner.split("-")[-2] for task in held if task.crashes >= MAX_CRASHES - 2}
        return [n for n, each in enumerate(self.fleet.processes) if str(each.pid) in owners]

    async def left(self) -> int:
        """Executions that have not ended."""
        e = tables.executions
        (found,) = await self.rows(select(func.count()).where(e.c.status.not_in(FINAL)))
        return int(found[0])

    async def complete(self) -> bool:
        """Whether every worker of the fleet has begun."""
        assert self.fleet is not None
        seen = {row.id.split("-")[-2] for row in await self.rows(select(tables.workers.c.id))}
        return {str(each.pid) for each in self.fleet.processes} <= seen

    async def done(self, seconds: float) -> None:
        """Return when everything has ended."""
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                if not await self.left():
                    return
            if time.monotonic() > until:
                log = (self.folder / "workers.log").read_text()[-4000:]
                raise AssertionError(f"still open: {(await self.open_tasks())[:20]}\n{log}")
            await asyncio.sleep(0.2)

    async def flawless(self) -> None:
        """Everything ended well, and had its effects exactly once."""
        e, t = tables.executions, tables.tasks
        bad = await self.rows(select(t).where(t.c.status != "Success"))
        assert not bad
        odd = e.c.status.in_(["Error", "Stopped"]) | (e.c.unfinished != 0) | (e.c.failed != 0)
        assert not await self.rows(select(e).where(odd))
        twice = "SELECT task_id, part FROM effects GROUP BY task_id, part HAVING count(*) > 1"
        assert not await self.rows(text(twice))
        expected = {kind: count * EFFECTS[kind] for kind, count in self.asked.items()}
        expected["QUICK"] = expected.get("QUICK", 0) + 3 * self.asked["FAN"]
        found = "SELECT kind, count(*) FROM effects JOIN tasks ON id = task_id GROUP BY kind"
        counted: dict[str, int] = {row[0]: row[1] for row in await self.rows(text(found))}
        assert counted == {kind: count for kind, count in expected.items() if count}
        assert not (self.folder / "too-many").exists()


@contextlib.asynccontextmanager
async def placed(folder: Path, url: str = "") -> AsyncIterator[Place]:
    place = Place(folder, url)
    try:
        await migrate(place.db)
        await prepare(place.db)
        yield place
    finally:
        if place.fleet is not None:
            place.fleet.end()
        await place.db.close()


@pytest.fixture
async def place(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Place]:
    """A PostgreSQL database that nothing happens to."""
    name = postgres_server.fresh()
    async with placed(tmp_path, postgres_server.url(name)) as made:
        yield made
    postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


# --- kill -9


class _Orphans:
    """What dead workers left, and how long it lay there."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lying: dict[tuple[int, int], float] = {}
        self.longest = 0.0
        self.seen = 0

    async def of(self, pid: int, died: float) -> None:
        for task in await self._place.held():
            if task.owner.split("-")[-2] == str(pid):
                self._lying[task.id, task.fence] = died
                self.seen += 1

    async def look(self) -> None:
        if not self._lying:
            return
        held = {(task.id, task.fence) for task in await self._place.held()}
        for each in [each for each in self._lying if each not in held]:
            self.longest = max(self.longest, time.monotonic() - self._lying.pop(each))
        waiting = [time.monotonic() - died for died in self._lying.values()]
        self.longest = max([self.longest, *waiting])


async def _torment(place: Place, fleet: Fleet, shortest: float, longest: float) -> _Orphans:
    """Kill one that is at work and start another, while all live, until nothing is left to do.

    There is more to do as long as none was killed at it: all may be done before both have begun,
    and one that is killed may just have ended what it was at.
    """
    orphans, rng = _Orphans(place), place.rng
    due: float | None = None  # so long do all live, however long their start takes
    while await place.left() or not orphans.seen:
        if not await place.left():
            await place.ask(12)
        await orphans.look()
        if due is None and await place.complete():
            due = time.monotonic() + rng.uniform(shortest, longest)
        if due is not None and time.monotonic() > due and (busy := await place.busy()):
            number = rng.choice(busy)
            pid = fleet.kill(number)
            await orphans.of(pid, time.monotonic())
            fleet.again(number)
            due = None
        await asyncio.sleep(0.1)
    return orphans


MANY = [80, pytest.param(1000, marks=pytest.mark.slow)]
"""Jobs that are under way while something happens to them."""


@pytest.mark.parametrize("jobs", MANY)
async def test_workers_that_are_killed_lose_no_job_and_do_none_twice(
    place: Place, jobs: int
) -> None:
    """Every orphan has another owner within a lease and a poll."""
    await place.ask(jobs)
    fleet = place.start(2)
    async with asyncio.timeout(1800):
        orphans = await _torment(place, fleet, 1, 3)
    await place.flawless()
    assert orphans.seen
    assert orphans.longest <= LEASE + POLL + SLACK


@pytest.mark.parametrize("jobs", [36, pytest.param(200, marks=pytest.mark.slow)])
async def test_the_only_worker_on_sqlite_is_killed_again_and_again(
    tmp_path: Path, jobs: int
) -> None:
    """Whoever starts is alone, and takes what the dead one held at once."""
    (tmp_path / "moorage.db").write_bytes(sqlite_template().read_bytes())
    async with placed(tmp_path) as place:
        await place.ask(jobs)
        fleet = place.start(1, alone=True, jobs=JOBS | {"lease_seconds": 3600})
        async with asyncio.timeout(1800):
            await _torment(place, fleet, 1.5, 2.5)
        await place.flawless()


# --- SIGSTOP


async def _until(what: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while True:
        found = what()
        if found if isinstance(found, bool) else await found:
            return time.monotonic() - began
        assert time.monotonic() - began < seconds, "that took too long"
        await asyncio.sleep(0.02)


async def _sleeping(place: Place, fleet: Fleet) -> tuple[int, int, int]:
    """A SLEEPER that has begun: its execution, its task and the number of its worker."""
    made = await ask(place.db, NewTask("SLEEPER"))
    (task,) = await tasks_of(place.db, made)
    await _until((place.folder / f"began-{task.id}-1").exists, 240)
    (task,) = await tasks_of(place.db, made)
    return made, task.id, fleet.number(task.owner)


async def _freeze(place: Place, lasting: float, within: float, **jobs: float) -> None:
    fleet = place.start(2, jobs=JOBS | jobs)
    made, task_id, number = await _sleeping(place, fleet)
    fleet.signal(number, signal.SIGSTOP)
    await _until(lambda: frozen(fleet.processes[number].pid), 240)
    (place.folder / "act").touch()  # the first thing that the zombie does is too late
    began = time.monotonic()
    found = await ended(place.db, made, within)
    assert found.status == "Success"
    await asyncio.sleep(lasting - (time.monotonic() - began))
    fleet.signal(number, signal.SIGCONT)
    await _until((place.folder / f"refused-{task_id}").exists, 240)
    await _until((place.folder / f"cancelled-{task_id}").exists, 240)
    rows = await place.rows(text("SELECT part, fence FROM effects"))
    assert [tuple(each) for each in rows] == [(1, 2)]
    (task,) = await tasks_of(place.db, made)
    assert (task.status, task.runs, task.fence) == ("Success", 2, 2)


async def test_an_owner_that_was_frozen_for_longer_than_its_lease_can_do_no_more(
    place: Place,
) -> None:
    """The other one ends the task; what the zombie does then is refused, and it is cancelled."""
    await _freeze(place, 6, LEASE + POLL + SLACK)


@pytest.mark.slow
async def test_the_same_with_the_lease_of_every_day(place: Place) -> None:
    """Frozen for 90 seconds; somebody else has the task within 60."""
    await _freeze(place, 90, 60, lease_seconds=30, poll_seconds=2)


# --- what they work with


class _Pace:
    """Jobs that are done while something happens to the servers: in the middle, not before."""

    def __init__(self, place: Place, jobs: int) -> None:
        self._place = place
        self._jobs = jobs

    async def during(self, *troubles: Callable[[], Awaitable[None]]) -> None:
        await self._place.ask(self._jobs)
        for number, trouble in enumerate(troubles, start=1):
            left = self._jobs * (1 - number / (2 * len(troubles)))  # the last when half are done
            await _until(lambda left=left: self._fewer(left), 240)
            await trouble()
        await self._place.done(240)
        await self._place.flawless()

    async def _fewer(self, than: float) -> bool:
        try:
            return await self._place.left() <= than
        except DatabaseUnavailable:  # it has just crashed
            return False


@pytest.mark.parametrize("jobs", MANY)
async def test_a_redis_that_is_hung_flushed_or_killed_makes_nothing_but_pauses(
    place: Place, own_redis: RedisServer, jobs: int
) -> None:
    place.start(2, redis=own_redis.url)

    async def hang() -> None:
        own_redis.hang()
        await asyncio.sleep(1.5)
        own_redis.resume()

    async def flush() -> None:
        own_redis.flush()

    async def lose() -> None:
        own_redis.kill()
        await asyncio.sleep(1)
        own_redis.start()

    await _Pace(place, jobs).during(hang, flush, lose)


async def test_the_bell_is_heard_by_other_processes_and_again_after_a_loss(
    place: Place, own_redis: RedisServer
) -> None:
    """With a poll of a minute nothing else would wake a worker."""
    place.start(1, redis=own_redis.url, jobs=JOBS | {"poll_seconds": 60})
    await _until(lambda: _seen(place), 240)
    bell = open_bell(RedisSettings(url=SecretStr(own_redis.url)))
    try:
        for lost in (False, True):
            if lost:
                own_redis.kill()
                own_redis.start()
            made = await ask(place.db, NewTask("QUICK"))
            ringing = asyncio.create_task(_ring(bell))  # until both have their wires
            await ended(place.db, made)
            ringing.cancel()
    finally:
        await bell.close()


async def _ring(bell: Bell) -> None:
    while True:
        await bell.ring()
        await asyncio.sleep(0.2)


async def _seen(place: Place) -> bool:
    return bool(await place.rows(select(tables.workers)))


@pytest.mark.parametrize("jobs", MANY)
async def test_a_database_that_crashes_costs_no_job_and_doubles_no_effect(
    tmp_path: Path, jobs: int
) -> None:
    with running_postgres() as server:
        async with placed(tmp_path, server.url("postgres")) as place:
            place.start(2)

            async def crash() -> None:
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(LEASE / 2)
                await asyncio.to_thread(server.start)

            await _Pace(place, jobs).during(crash, crash)


# --- SIGTERM


async def test_a_worker_that_is_told_to_leave_hands_over_at_once(place: Place) -> None:
    """Long before the lease is over, and without a try or a crash."""
    fleet = place.start(2, jobs=JOBS | {"lease_seconds": 600})
    made, task_id, number = await _sleeping(place, fleet)
    fleet.signal(number, signal.SIGTERM)
    assert (await ended(place.db, made, POLL + SLACK)).status == "Success"
    (task,) = await tasks_of(place.db, made)
    assert (task.runs, task.failures, task.crashes, task.fence) == (1, 0, 0, 2)
    assert (place.folder / f"cancelled-{task_id}").exists()
    await asyncio.to_thread(fleet.processes[number].wait, 60)
    assert len(await place.rows(select(tables.workers))) == 1


# --- limits and poison


async def test_a_limit_holds_over_three_workers_and_a_dead_one_frees_its_slots(
    place: Place,
) -> None:
    """Each task counts those that live beside it by files, not by rows."""
    await place.ask(30, ["LIMITED"])
    fleet = place.start(3, jobs=JOBS | {"lease_seconds": 3 * LEASE})  # one that is slow is not dead
    number = place.rng.choice(await _busy(place, fleet))
    fleet.kill(number)
    fleet.again(number)
    await place.done(300)
    await place.flawless()


async def _busy(place: Place, fleet: Fleet) -> list[int]:
    """Numbers of workers that have something."""
    living = {each.pid: number for number, each in enumerate(fleet.processes)}
    async with asyncio.timeout(240):
        while True:
            owners = [task.owner for task in await place.open_tasks() if task.owner]
            pids = {int(owner.split("-")[-2]) for owner in owners}
            if pids & living.keys():
                return [living[pid] for pid in pids & living.keys()]
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_job_that_kills_its_workers_ends_after_the_fifth(place: Place) -> None:
    fleet = place.start(1, jobs=JOBS | {"lease_seconds": 1})
    made = await ask(place.db, NewTask("POISON"))
    deaths = 0
    async with asyncio.timeout(240):
        while await place.left():
            if fleet.processes[0].poll() is not None:
                deaths += 1
                fleet.again(0)
            await asyncio.sleep(0.05)
    (task,) = await tasks_of(place.db, made)
    assert (deaths, task.crashes, task.status) == (5, 5, "Error")
    assert task.status_message == "5 workers died of it"


# --- clocks and crowds


@pytest.mark.parametrize("late", [3600, pytest.param(-3600, marks=pytest.mark.slow)])
async def test_a_worker_whose_clock_is_wrong_changes_nothing(place: Place, late: int) -> None:
    """It steals nothing, nobody steals from it, and it waits for what is not due yet."""
    lease = 600  # no pause of a busy machine ends it, and the clock is wrong by more
    fleet = place.start(1, jobs=JOBS | {"lease_seconds": lease})
    fleet.add(late=late)
    if FAKETIME is not None:  # its program would run the worker in a child, which outlived the test
        said = f"FAKETIME={late:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC=1"
        fleet.add("env", f"LD_PRELOAD={FAKETIME}", *said)
    await _until(place.complete, 240)
    await place.ask(60)
    made = await ask(place.db, NewTask("QUICK", delay=2))
    place.asked["QUICK"] += 1
    await place.done(300)
    await place.flawless()
    (task,) = await tasks_of(place.db, made)
    assert task.started_at >= task.run_at
    assert all(task.crashes == 0 for task in await place.rows(select(tables.tasks)))
    owners = {row.id for row in await place.rows(select(tables.workers.c.id))}
    assert len(owners) == len(fleet.processes)


async def test_a_crowd_of_one_kind_delays_no_other_kind(database: Database) -> None:
    """With 50,000 tasks that wait and every slot taken, few of the crowd are done before it."""
    done = 0

    async def slow(context: Context) -> None:
        nonlocal done
        await asyncio.sleep(0.5)
        done += 1

    async def nothing(context: Context) -> None:
        pass

    await ask(database, *(NewTask("CROWD") for _ in range(50_000)))
    kinds = Kind("CROWD", slow, share=10), Kind("OTHER", nothing)
    async with working(worker(database, *kinds, poll_seconds=POLL)):
        await asyncio.sleep(1)
        for _ in range(3):
            made, before = await ask(database, NewTask("OTHER")), done
            await ended(database, made)
            assert done - before < 100
