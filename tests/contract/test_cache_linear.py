"""No read that starts after an acknowledged write misses it, however steps interleave.

A state machine runs readers and writers of a few keys step by step: a load takes its snapshot of
the database and is held before it answers; a writer is held before and after its commit; Redis
forgets one key or all in between. Two things are checked of every read that ends:

    it sees every write that was acknowledged before it began
    it sees no less than any read that ended before it began
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.support.caching import look_up, pump, shared_cache, until_healthy
from tests.support.fences import MemoryFence
from tests.support.redis_server import RedisServer

from moorage.cache import flights
from moorage.cache.base import Cache
from moorage.cache.guard import Pace
from moorage.cache.local import LocalCache, NoCache
from moorage.clock import SystemClock

KEY = "number:a"  # one is enough: races are between readers and writers of the same
SETTINGS = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

AT = st.integers(0, 3)  # which of those at hand


@dataclass
class Read:
    floor: int  # it must not see less
    task: asyncio.Task[int | None]


@dataclass
class Write:
    cache: Cache
    version: int | None = None  # None until it commits


@dataclass
class World:
    """The database, and what may be expected of it."""

    row: int = 1
    acknowledged: int = 1
    seen: int = 1
    versions: int = 1
    reads: list[Read] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    held: list[asyncio.Event] = field(default_factory=list)  # loads that have read the row

    async def load(self) -> int:
        snapshot = self.row
        gate = asyncio.Event()
        self.held.append(gate)
        await gate.wait()
        return snapshot


class Machine(RuleBasedStateMachine):
    """Readers and writers over the caches of one or several processes."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World()
        self.caches: list[Cache] = []

    async def open(self) -> list[Cache]:
        raise NotImplementedError

    def run(self, work: Any) -> None:
        async def step() -> None:
            await work
            await pump(*self.caches)
            self.check()

        self.runner.run(step())

    def check(self) -> None:
        for read in [read for read in self.world.reads if read.task.done()]:
            self.world.reads.remove(read)
            value = read.task.result()
            assert value is not None
            assert value >= read.floor, f"read {value} after {read.floor}"
            self.world.seen = max(value, self.world.seen)

    @initialize()
    def begin(self) -> None:
        async def work() -> None:
            self.caches = await self.open()

        self.run(work())

    @rule(at=AT)
    def read(self, at: int) -> None:
        cache = self.caches[at % len(self.caches)]

        async def work() -> None:
            floor = max(self.world.acknowledged, self.world.seen)
            task = asyncio.create_task(look_up(cache, self.world.load))
            self.world.reads.append(Read(floor, task))

        self.run(work())

    @precondition(lambda self: self.world.held)
    @rule(at=AT)
    def load_answers(self, at: int) -> None:
        async def work() -> None:
            self.world.held.pop(at % len(self.world.held)).set()

        self.run(work())

    @precondition(lambda self: len(self.world.writes) < 3)
    @rule(at=AT)
    def write(self, at: int) -> None:
        write = Write(self.caches[at % len(self.caches)])
        self.world.writes.append(write)
        self.run(write.cache.before_commit([KEY]))

    @precondition(lambda self: any(write.version is None for write in self.world.writes))
    @rule(at=AT)
    def commit(self, at: int) -> None:
        writes = [write for write in self.world.writes if write.version is None]
        self.world.versions += 1
        self.world.row = writes[at % len(writes)].version = self.world.versions

    @precondition(lambda self: self.world.writes)
    @rule(at=AT)
    def acknowledge(self, at: int) -> None:
        """After a commit, or after a rollback if it did not commit."""
        write = self.world.writes.pop(at % len(self.world.writes))
        self.run(write.cache.after_commit([KEY]))
        self.world.acknowledged = max(write.version or 0, self.world.acknowledged)

    @rule(at=AT)
    def change(self, at: int) -> None:
        """A whole write in one step, for the reader that is slower than that."""
        cache = self.caches[at % len(self.caches)]

        async def work() -> None:
            await cache.before_commit([KEY])
            self.world.versions += 1
            self.world.row = self.world.versions
            await cache.after_commit([KEY])
            self.world.acknowledged = self.world.row

        self.run(work())

    def teardown(self) -> None:
        async def work() -> None:
            for cache in self.caches:
                await cache.close()
            for read in self.world.reads:
                read.task.cancel()
            await asyncio.gather(*(r.task for r in self.world.reads), return_exceptions=True)

        self.runner.run(work())
        self.runner.close()


class LocalMachine(Machine):
    """A single process."""

    async def open(self) -> list[Cache]:
        return [LocalCache(SystemClock(), entries=10, size=100_000, expire_seconds=3600)]


class NoCacheMachine(Machine):
    """Replicas without Redis: readers share loads, nothing is kept."""

    async def open(self) -> list[Cache]:
        return [NoCache(), NoCache()]


class RedisMachine(Machine):
    """Two replicas and a Redis that forgets."""

    server: RedisServer

    async def open(self) -> list[Cache]:
        # No time passes but by rule: all that depends on it takes an hour.
        pace = Pace(settle=3600, trust=3600)
        self.server.flush()
        fence = MemoryFence()
        caches = [shared_cache(self.server.url, fence, pace, timeout_ms=5000) for _ in range(2)]
        await until_healthy(*caches)
        self.opening = f"{{moorage}}:{fence.generation}:!open"
        return [*caches]

    @rule(all_of_it=st.booleans())
    def forget(self, all_of_it: bool) -> None:
        """A flush; or a value or ticket comes to its end."""
        name = self.opening.replace("!open", KEY)
        if all_of_it:
            self.server.flush()
            if not self.world.writes:  # no commit takes as long as fills wait after a flush
                self.server.command("SET", self.opening, 0)
        elif "\nM" not in self.server.command("GET", name):
            self.server.command("DEL", name)

    @precondition(lambda self: not self.world.writes)
    @rule()
    def settle(self) -> None:
        """Fills may begin again after a flush: no commit takes that long."""
        self.server.command("SET", self.opening, 0)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load waits for the one before it until that one is told to answer."""
    monkeypatch.setattr(flights, "PATIENCE", 3600)


@pytest.mark.parametrize("machine", [LocalMachine, NoCacheMachine])
def test_one_process_reads_what_was_acknowledged(machine: type[Machine]) -> None:
    """Reads never go back, with the cache of one process and with none."""
    run_state_machine_as_test(machine, settings=SETTINGS)


def test_replicas_read_what_was_acknowledged(redis_server: RedisServer) -> None:
    """Reads never go back on two replicas, while Redis forgets keys and is flushed."""

    class Served(RedisMachine):
        server = redis_server

    run_state_machine_as_test(Served, settings=settings(SETTINGS, max_examples=60))
