"""Steps of several workers on one queue in any order, while the clock goes on.

Workers claim, beat, act, end, fail, give back and die; tasks are added and stopped; leases run out.
A model keeps who really is the owner of each task. After each step:

    a task has one owner at most, and only that one's steps succeed
    a lease that lasts is never taken away, what is claimed was free
    a kind with a limit never has more than that many that run
    no task is lost, an end is never left, and executions count what a recount counts
"""

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from tests.support.clocks import TurnedClock
from tests.support.databases import sqlite_template

from moorage.db import open_sqlite, tables
from moorage.db.transactions import Tx
from moorage.jobs import NewTask, Stopping, queue
from moorage.jobs.presence import ensure_queues
from moorage.jobs.records import ERROR, FINAL, PENDING, RUNNING, STOPPED, SUCCESS, Claim

EXAMPLES = int(os.environ.get("TESTS_EXAMPLES", "150")) // 5
LEASE = 10.0
LIMITS = {"FREE": None, "TWO": 2}
WORKERS = ("a", "b")

AT = st.integers(0, 9)  # which of those at hand


@dataclass
class Known:
    """What the model knows of a task."""

    execution: int
    kind: str
    status: str = PENDING
    owner: str = ""
    fence: int = 0
    until: datetime | None = None  # of its lease
    due: datetime | None = None
    failures: int = 0
    crashes: int = 0
    runs: int = 0
    told: bool = False  # to stop


@dataclass
class Held:
    """What a worker believes that it holds; it may be wrong."""

    owner: str
    claim: Claim


@dataclass
class World:
    tasks: dict[int, Known] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    executions: list[int] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    """Workers of one queue on SQLite."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="moorage-machine-"))
        shutil.copyfile(sqlite_template(), self.folder / "moorage.db")
        self.clock = TurnedClock()
        self.world = World()

    @initialize()
    def begin(self) -> None:
        async def opened() -> Any:
            return open_sqlite(self.folder / "moorage.db", self.clock)

        self.db = self.loop.run_until_complete(opened())
        self.do(ensure_queues, list(LIMITS))
        self._ask(["TWO"] * 5 + ["FREE"] * 2, 0)

    def do(self, step: Any, *args: Any, **kwargs: Any) -> Any:
        return self.loop.run_until_complete(self.db.run(step, *args, **kwargs))

    def rows(self, table: Any) -> list[Any]:
        async def read(tx: Tx) -> list[Any]:
            return list((await tx.execute(select(table).order_by(table.c.id))).all())

        found: list[Any] = self.do(read)
        return found

    def teardown(self) -> None:
        self.loop.run_until_complete(self.db.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    # --- asking

    @rule(
        kinds=st.lists(st.sampled_from(sorted(LIMITS)), min_size=1, max_size=4),
        delay=st.sampled_from([0, 5]),
    )
    def ask(self, kinds: list[str], delay: float) -> None:
        self._ask(kinds, delay)

    def _ask(self, kinds: list[str], delay: float) -> None:
        new = [NewTask(kind, delay=delay) for kind in kinds]
        made = self.do(queue.enqueue, "TEST", new, trigger="MANUAL")
        self.world.executions.append(made)
        self._learn(made, delay)

    def _learn(self, execution: int, delay: float = 0) -> None:
        """Of the tasks that were just made."""
        for row in self.rows(tables.tasks):
            if row.id not in self.world.tasks:
                due = self.clock.now() + timedelta(seconds=delay)
                self.world.tasks[row.id] = Known(execution, row.kind, due=due)

    @rule(at=AT)
    def stop(self, at: int) -> None:
        """An execution."""
        if self.world.executions:
            execution = self.world.executions[at % len(self.world.executions)]
            self._stop([t for t, each in self.world.tasks.items() if each.execution == execution])
            self.do(queue.stop, tables.tasks.c.execution_id == execution)

    @rule(status=st.sampled_from([PENDING, RUNNING]))
    def stop_all(self, status: str) -> None:
        """What waits, or what runs."""
        self._stop([t for t, each in self.world.tasks.items() if each.status == status])
        self.do(queue.stop, tables.tasks.c.status == status)

    def _stop(self, ids: list[int]) -> None:
        for task in (self.world.tasks[each] for each in ids):
            if task.status == PENDING:
                task.status = STOPPED
            elif task.status == RUNNING:
                task.told = True

    # --- working

    @rule(
        owner=st.sampled_from(WORKERS),
        kind=st.sampled_from(sorted(LIMITS)),
        count=st.integers(1, 4),
    )
    def claim(self, owner: str, kind: str, count: int) -> None:
        self._claim(owner, kind, count)

    @precondition(lambda self: self.world.held)
    @rule(at=AT)
    def sleep(self, at: int) -> None:
        """A worker sleeps for longer than a lease, and takes what it had again."""
        held = self.world.held[at % len(self.world.held)]
        self.clock.advance(LEASE)
        self._claim(held.owner, held.claim.kind, 4)

    def _claim(self, owner: str, kind: str, count: int) -> None:
        limit = LIMITS[kind]
        claims = self.do(queue.claim, kind, count, owner, LEASE, limit)
        free = [t for t, each in self.world.tasks.items() if self._free(each, kind)]
        abandoned = [t for t in free if self.world.tasks[t].status == RUNNING]
        running = sum(e.kind == kind and e.status == RUNNING for e in self.world.tasks.values())
        fresh = len(free) - len(abandoned)
        if limit is not None:
            fresh = min(fresh, max(limit - running, 0))
        # As many as there can be, those of the dead first.
        assert len(claims) == min(count, len(abandoned) + fresh)
        taken = {each.id for each in claims}
        assert taken <= set(free)
        assert len(taken & set(abandoned)) == min(count, len(abandoned))
        for each in claims:
            self._taken(owner, each)

    def _free(self, task: Known, kind: str) -> bool:
        moment = self.clock.now()
        if task.kind != kind:
            return False
        if task.status == PENDING:
            return task.due is not None and task.due <= moment
        return task.status == RUNNING and task.until is not None and task.until <= moment

    def _taken(self, owner: str, claim: Claim) -> None:
        task = self.world.tasks[claim.id]
        task.crashes += task.status == RUNNING
        task.status, task.owner = RUNNING, owner
        task.fence += 1
        task.runs += 1
        task.until = self.clock.now() + timedelta(seconds=LEASE)
        assert claim.fence == task.fence
        assert (claim.failures, claim.crashes) == (task.failures, task.crashes)
        assert claim.stop_requested == task.told
        self.world.held.append(Held(owner, claim))

    def _mine(self, held: Held) -> bool:
        task = self.world.tasks[held.claim.id]
        return (task.status, task.owner, task.fence) == (RUNNING, held.owner, held.claim.fence)

    @rule(owner=st.sampled_from(WORKERS))
    def beat(self, owner: str) -> None:
        mine = [held for held in self.world.held if held.owner == owner]
        kept = self.do(queue.beat, owner, [held.claim.id for held in mine], LEASE)
        owned = {
            t: e for t, e in self.world.tasks.items() if (e.status, e.owner) == (RUNNING, owner)
        }
        expected = {held.claim.id for held in mine} & owned.keys()
        assert kept == {t: (owned[t].fence, owned[t].told) for t in expected}
        for each in expected:
            owned[each].until = self.clock.now() + timedelta(seconds=LEASE)

    @precondition(lambda self: self.world.held)
    @rule(at=AT, children=st.integers(0, 2))
    def act(self, at: int, children: int) -> None:
        """An effect under the fence, which adds tasks."""
        held = self.world.held[at % len(self.world.held)]
        task = self.world.tasks[held.claim.id]

        async def step(tx: Tx) -> bool:
            if not await queue.guard(tx, held.owner, held.claim):
                return False
            await queue.extend(tx, task.execution, [NewTask("FREE")] * children)
            return True

        lasts = task.until is not None and task.until > self.clock.now()
        siblings = [e for e in self.world.tasks.values() if e.execution == task.execution]
        try:
            assert self.do(step) == (self._mine(held) and lasts)
        except Stopping:
            assert all(each.told for each in siblings if each.status == RUNNING)
            assert not [each for each in siblings if each.status == PENDING]
        self._learn(task.execution)

    def _let_go(self, at: int) -> tuple[Held, Known, bool]:
        held = self.world.held.pop(at % len(self.world.held))
        return held, self.world.tasks[held.claim.id], self._mine(held)

    @precondition(lambda self: self.world.held)
    @rule(at=AT, status=st.sampled_from(FINAL))
    def finish(self, at: int, status: str) -> None:
        held, task, mine = self._let_go(at)
        assert self.do(queue.finish, held.owner, held.claim, status, "so") == mine
        if mine:
            task.status = status

    @precondition(lambda self: self.world.held)
    @rule(at=AT, pause=st.sampled_from([0.0, 5.0]), crashed=st.booleans())
    def retry(self, at: int, pause: float, crashed: bool) -> None:
        held, task, mine = self._let_go(at)
        step = self.do(queue.retry, held.owner, held.claim, pause, "failed", crashed=crashed)
        assert step == mine
        if mine and task.told:
            task.status = STOPPED
        elif mine:
            task.status, task.due = PENDING, self.clock.now() + timedelta(seconds=pause)
            task.crashes += crashed
            task.failures += not crashed

    @precondition(lambda self: self.world.held)
    @rule(at=AT)
    def give_back(self, at: int) -> None:
        held, task, mine = self._let_go(at)
        assert self.do(queue.give_back, held.owner, held.claim) == mine
        if mine and task.told:
            task.status = STOPPED
        elif mine:
            task.status = PENDING
            task.runs -= 1

    @rule(owner=st.sampled_from(WORKERS))
    def leave(self, owner: str) -> None:
        """A worker goes with all that it holds but one, with which it is busy."""
        held = [each for each in self.world.held if each.owner == owner]
        busy = [each.claim.id for each in held[:1]]
        self.do(queue.release, owner, busy)
        self.world.held = [e for e in self.world.held if e.owner != owner or e.claim.id in busy]
        for number, task in self.world.tasks.items():
            if (task.status, task.owner) == (RUNNING, owner) and number not in busy:
                task.status = PENDING
                task.runs -= 1

    @rule(owner=st.sampled_from(WORKERS))
    def die(self, owner: str) -> None:
        """A worker forgets all."""
        self.world.held = [each for each in self.world.held if each.owner != owner]

    @rule(seconds=st.sampled_from([1.0, 4.0, LEASE, LEASE * 2]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # --- what always holds

    @invariant()
    def tasks_are_as_the_model_has_them(self) -> None:
        if not hasattr(self, "db"):
            return
        found = {row.id: row for row in self.rows(tables.tasks)}
        assert found.keys() == self.world.tasks.keys()
        for number, task in self.world.tasks.items():
            row = found[number]
            assert (row.status, row.fence) == (task.status, task.fence)
            counted = row.runs, row.failures, row.crashes
            assert counted == (task.runs, task.failures, task.crashes)
            assert (row.owner, row.lease_until) == (
                (task.owner, task.until) if task.status == RUNNING else (None, None)
            )
            assert (row.ended_at is not None) == (task.status in FINAL)

    @invariant()
    def a_task_has_one_owner_at_most(self) -> None:
        owners = Counter(held.claim.id for held in self.world.held if self._mine(held))
        assert all(count == 1 for count in owners.values())

    @invariant()
    def a_limit_holds(self) -> None:
        running = Counter(e.kind for e in self.world.tasks.values() if e.status == RUNNING)
        assert all(limit is None or running[kind] <= limit for kind, limit in LIMITS.items())

    @invariant()
    def executions_count_what_a_recount_counts(self) -> None:
        if not hasattr(self, "db"):
            return
        rows = {row.id: row for row in self.rows(tables.executions)}
        assert list(rows) == self.world.executions
        for number, row in rows.items():
            states = Counter(e.status for e in self.world.tasks.values() if e.execution == number)
            open_ = states[PENDING] + states[RUNNING]
            assert (row.unfinished, row.failed, row.stopped) == (
                *(open_, states[ERROR], states[STOPPED]),
            )
            assert (row.ended_at is None) == bool(open_)
            if not open_:
                worst = [each for each in (ERROR, STOPPED) if states[each]]
                assert row.status == [*worst, SUCCESS][0]
            else:
                assert row.status in (PENDING, RUNNING)


def test_any_order_of_steps_leaves_each_task_one_owner_and_one_end() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
