"""What people ask for: jobs, schedules, stops and pauses; each of it is told to the audit log."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import select

from moorage.db.engine import Database
from moorage.db.tables import executions, tasks
from moorage.db.transactions import Tx
from moorage.events import (
    JobStarted,
    JobStopped,
    QueueChanged,
    ScheduleDeleted,
    ScheduleUpdated,
    emit,
)
from moorage.jobs import queue, schedules
from moorage.jobs.bell import Bell
from moorage.jobs.kinds import NewTask
from moorage.jobs.records import MANUAL, PENDING, RUNNING

EVERY = "all"
"""The kind of what concerns all of them."""


class Requests:
    """Writes them into the queue, and rings. `operator` is the name of whoever asks."""

    def __init__(self, db: Database, bell: Bell) -> None:
        self._db = db
        self._bell = bell

    async def start(self, operator: str, kind: str, arguments: Mapping[str, Any]) -> int:
        """One task of a kind, as an execution of its own; returns the execution's id."""

        async def step(tx: Tx) -> int:
            new = [NewTask(kind, arguments)]
            made = await queue.enqueue(tx, kind, new, trigger=MANUAL, extra=arguments)
            assert made is not None  # only one with a mark can be there already
            await emit(tx, JobStarted(operator=operator, kind=kind, execution=made))
            return made

        made = await self._db.run(step)
        await self._bell.ring()
        return made

    async def schedule(
        self, operator: str, kind: str, preset: str, cron: str, arguments: Mapping[str, Any]
    ) -> None:
        """Let a kind come again and again; raises Invalid."""

        async def step(tx: Tx) -> None:
            plain = await schedules.put(tx, kind, preset, cron, arguments=arguments)
            await emit(tx, ScheduleUpdated(operator=operator, kind=kind, cron=plain))

        await self._db.run(step)

    async def unschedule(self, operator: str, kind: str) -> None:
        """Let a kind come no more."""

        async def step(tx: Tx) -> None:
            if await schedules.remove(tx, kind):
                await emit(tx, ScheduleDeleted(operator=operator, kind=kind))

        await self._db.run(step)

    # --- stopping

    async def stop(self, operator: str, execution_id: int) -> None:
        """End an execution; one that is not there is no error."""
        kind = select(executions.c.vendor_type).where(executions.c.id == execution_id)

        async def step(tx: Tx) -> None:
            found = (await tx.execute(kind)).scalar_one_or_none()
            if found is not None:
                await queue.stop(tx, tasks.c.execution_id == execution_id)
                await emit(tx, JobStopped(operator=operator, kind=found, job=execution_id))

        await self._db.run(step)
        await self._bell.ring()

    async def stop_task(self, operator: str, task_id: int) -> None:
        """End one task; one that is not there is no error."""
        kind = select(tasks.c.kind).where(tasks.c.id == task_id)

        async def step(tx: Tx) -> None:
            found = (await tx.execute(kind)).scalar_one_or_none()
            if found is not None:
                await queue.stop(tx, tasks.c.id == task_id)
                await emit(tx, JobStopped(operator=operator, kind=found, job=task_id))

        await self._db.run(step)
        await self._bell.ring()

    async def stop_running(self, operator: str) -> None:
        """End whatever runs now, everywhere."""

        async def step(tx: Tx) -> None:
            await queue.stop(tx, tasks.c.status == RUNNING)
            await emit(tx, JobStopped(operator=operator, kind=EVERY))

        await self._db.run(step)
        await self._bell.ring()

    # --- queues

    async def pause(self, operator: str, kinds: Collection[str], *, paused: bool) -> None:
        """Hold queues, or let them go on; what runs already runs on."""
        action = "pause" if paused else "resume"

        async def step(tx: Tx) -> None:
            await queue.pause(tx, kinds, paused=paused)
            await emit(tx, *_told(operator, kinds, action))

        await self._db.run(step)
        await self._bell.ring()

    async def empty(self, operator: str, kinds: Collection[str]) -> None:
        """End what waits in queues."""

        async def step(tx: Tx) -> None:
            await queue.stop(tx, tasks.c.kind.in_(sorted(kinds)), tasks.c.status == PENDING)
            await emit(tx, *_told(operator, kinds, "stop"))

        await self._db.run(step)
        await self._bell.ring()


def _told(operator: str, kinds: Collection[str], action: str) -> list[QueueChanged]:
    return [QueueChanged(operator=operator, kind=kind, action=action) for kind in sorted(kinds)]
