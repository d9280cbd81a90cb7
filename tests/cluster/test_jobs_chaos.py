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
from sqlalchemy import Row, select, text
from tests.support.databases import PostgresServer, running_postgres, sqlite_template
from tests.support.jobs import ask, ended, tasks_of, worker, working
from tests.support.jobworker import EFFECTS, Fleet, opened, prepare
from tests.support.redis_server import RedisServer
from tests.support.requirements import find

from moorage.config.redis import RedisSettings
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.migrator import migrate
from moorage.errors import DatabaseUnavailable
from moorage.jobs import Context, Kind, NewTask
from moorage.jobs.bell import open_bell
from moorage.jobs.records import FINAL

pytestmark = pytest.mark.anyio

LEASE, POLL, SLACK = 2.0, 0.5, 3.0  # seconds; the last is the machine's, which is busy
JOBS = {"lease_seconds": LEASE, "poll_seconds": POLL, "drain_seconds": 2}
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
        for number in range(jobs):
            kind = names[number % len(names)]
            self.asked[kind] += 1
            await ask(self.db, NewTask(kind))

    async def rows(self, query: Any) -> Sequence[Row[Any]]:
        async with self.db.read() as tx:
            return (await tx.execute(query)).all()

    async def open_tasks(self) -> Sequence[Row[Any]]:
        t = tables.tasks
        return await self.rows(select(t).where(t.c.status.not_in(FINAL)))

    async def left(self) -> int:
        """Executions that have not ended."""
        e = tables.executions
        return len(await self.rows(select(e.c.id).where(e.c.status.not_in(FINAL))))

    async def done(self, seconds: float) -> None:
        """Return when everything has ended."""
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(DatabaseUnavailable):
                if not await self.left():
                    return
            if time.monotonic() > until:
                log = (self.folder / "workers.log").read_text()[-4000:]
                raise AssertionError(f"still open: {await self.open_tasks()}\n{log}")
            await asyncio.sleep(0.05)

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
        for task in await self._place.open_tasks():
            if task.status == "Running" and task.owner.split("-")[-2] == str(pid):
                self._lying[task.id, task.fence] = died
                self.seen += 1

    async def look(self) -> None:
        if not self._lying:
            return
        held = {(task.id, task.fence) for task in await self._place.open_tasks()}
        for each in [each for each in self._lying if each not in held]:
            self.longest = max(self.longest, time.monotonic() - self._lying.pop(each))
        waiting = [time.monotonic() - died for died in self._lying.values()]
        self.longest = max([self.longest, *waiting])


async def _torment(place: Place, fleet: Fleet, shortest: float, longest: float) -> _Orphans:
    """Kill one, start another, until nothing is left to do."""
    orphans, rng = _Orphans(place), place.rng
    due = time.monotonic() + longest
    while await place.left():
        await orphans.look()
        if time.monotonic() > due:
            number = rng.randrange(len(fleet.processes))
            pid = fleet.kill(number)
            await orphans.of(pid, time.monotonic())
            fleet.again(number)
            due = time.monotonic() + rng.uniform(shortest, longest)
        await asyncio.sleep(0.05)
    return orphans


@pytest.mark.parametrize("jobs", [120, pytest.param(1000, marks=pytest.mark.slow)])
async def test_workers_that_are_killed_lose_no_job_and_do_none_twice(
    place: Place, jobs: int
) -> None:
    """Every orphan has another owner within a lease and a poll."""
    await place.ask(jobs)
    fleet = place.start(2)
    async with asyncio.timeout(200):
        orphans = await _torment(place, fleet, 1, 3)
    await place.flawless()
    assert orphans.seen
    assert orphans.longest <= LEASE + POLL + SLACK


async def test_the_only_worker_on_sqlite_is_killed_again_and_again(tmp_path: Path) -> None:
    """Whoever starts is alone, and takes what the dead one held at once."""
    (tmp_path / "moorage.db").write_bytes(sqlite_template().read_bytes())
    async with placed(tmp_path) as place:
        await place.ask(60)
        fleet = place.start(1, alone=True, jobs=JOBS | {"lease_seconds": 3600})
        async with asyncio.timeout(60):
            await _torment(place, fleet, 1.5, 2.5)
        await place.flawless()
