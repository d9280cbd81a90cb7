"""What a face asks for: one job now, or a schedule."""

from collections.abc import Mapping, Sequence
from typing import Any

from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.jobs import queue, schedules
from moorage.jobs.bell import Bell
from moorage.jobs.kinds import NewTask
from moorage.jobs.records import MANUAL


class Requests:
    """Writes them into the queue, and rings."""

    def __init__(self, db: Database, bell: Bell) -> None:
        self._db = db
        self._bell = bell

    async def start(self, kind: str, arguments: Mapping[str, Any]) -> int:
        """One task of a kind, as an execution of its own; returns the execution's id."""
        new: Sequence[NewTask] = [NewTask(kind, arguments)]
        made = await self._db.run(queue.enqueue, kind, new, trigger=MANUAL, extra=arguments)
        assert made is not None  # only one with a mark can be there already
        await self._bell.ring()
        return made

    async def schedule(
        self, kind: str, preset: str, cron: str, arguments: Mapping[str, Any]
    ) -> None:
        """Let a kind come again and again; raises Invalid."""
        await self._db.run(schedules.put, kind, preset, cron, arguments=arguments)

    async def unschedule(self, kind: str) -> None:
        """Let a kind come no more."""

        async def step(tx: Tx) -> None:
            await schedules.remove(tx, kind)

        await self._db.run(step)
