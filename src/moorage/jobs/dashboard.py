"""What an operator sees of the jobs: queues, workers and what they do."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select

from moorage.db.engine import Database
from moorage.db.moments import moment
from moorage.db.tables import job_queues, tasks, workers
from moorage.db.types import from_now, now
from moorage.jobs.history import TASK_COLUMNS, task_of
from moorage.jobs.records import PENDING, RUNNING, Queue, Task, Worker

QUEUES = (
    "GARBAGE_COLLECTION",
    "REPLICATION",
    "RETENTION",
    "IMAGE_SCAN",
    "WEBHOOK",
    "SLACK",
    "P2P_PREHEAT",
    "PURGE_AUDIT_LOG",
    "SCAN_DATA_EXPORT",
    "SYSTEM_ARTIFACT_CLEANUP",
    "EXECUTION_SWEEP",
    "AUDIT_LOGS_GDPR_COMPLIANT",
    "SCHEDULER",
)
"""Every queue that Harbor lists; its clients know no others."""
UNSEEN = 60.0
"""Seconds after which a worker that says nothing counts as gone."""


class Dashboard:
    """The queues of these kinds, and whoever works on them."""

    def __init__(self, db: Database, kinds: Sequence[str] = QUEUES) -> None:
        self._db = db
        self.kinds = tuple(kinds)

    async def queues(self) -> list[Queue]:
        """Every kind, also those for which nothing waits."""
        waiting = (
            select(tasks.c.kind, func.count().label("count"), func.min(tasks.c.run_at).label("at"))
            .where(tasks.c.status == PENDING, tasks.c.run_at <= now())
            .group_by(tasks.c.kind)
        )
        paused = select(job_queues.c.kind).where(job_queues.c.paused)
        async with self._db.read() as tx:
            at = await moment(tx)
            found = {row.kind: row for row in await tx.execute(waiting)}
            held = set((await tx.execute(paused)).scalars())
        return [_queue(kind, found.get(kind), at, kind in held) for kind in self.kinds]

    async def workers(self) -> list[Worker]:
        """Who was seen lately, the oldest first."""
        alive = workers.c.seen_at >= from_now(-UNSEEN)
        query = select(workers).where(alive).order_by(workers.c.started_at, workers.c.id)
        async with self._db.read() as tx:
            return [Worker(**row._mapping) for row in await tx.execute(query)]

    async def doing(self, worker_id: str | None = None) -> list[Task]:
        """What a worker does at this moment, or all of them do."""
        running: list[ColumnElement[bool]] = [tasks.c.status == RUNNING]
        if worker_id is not None:
            running.append(tasks.c.owner == worker_id)
        query = select(*TASK_COLUMNS).where(*running).order_by(tasks.c.id)
        async with self._db.read() as tx:
            return [task_of(row) for row in await tx.execute(query)]


def _queue(kind: str, row: Any, at: datetime, paused: bool) -> Queue:
    if row is None:
        return Queue(kind, 0, 0, paused)
    latency = int((at - row.at).total_seconds())
    return Queue(kind, row._mapping["count"], max(latency, 0), paused)
