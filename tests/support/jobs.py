"""Workers in this process, over any database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import select

from moorage.clock import SystemClock
from moorage.config.jobs import JobSettings
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.events import Happened, JobStarted, Outbox
from moorage.jobs import Kind, LocalBell, NewTask, enqueue
from moorage.jobs.records import FINAL
from moorage.jobs.schedules import Ticker
from moorage.jobs.worker import Worker


def worker(
    db: Database,
    *kinds: Kind,
    ticker: Ticker | None = None,
    bell: LocalBell | None = None,
    **settings: Any,
) -> Worker:
    """A worker that is not started."""
    chosen = JobSettings(**{"poll_seconds": 0.1, "drain_seconds": 30, **settings})
    return Worker(db, kinds, bell or LocalBell(), SystemClock(), chosen, ticker=ticker)


@contextlib.asynccontextmanager
async def working(*found: Worker) -> AsyncIterator[None]:
    """Let workers work."""
    running = [asyncio.create_task(each.live()) for each in found]
    try:
        yield
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def ask(db: Database, *new: NewTask, vendor: str = "TEST", **more: Any) -> int:
    """Enqueue an execution; returns its id."""
    made = await db.run(enqueue, vendor, new, trigger="MANUAL", **more)
    assert made is not None
    return made


async def row(db: Database, execution_id: int) -> Any:
    """The row of an execution."""
    query = select(tables.executions).where(tables.executions.c.id == execution_id)
    async with db.read() as tx:
        return (await tx.execute(query)).one()


async def tasks_of(db: Database, execution_id: int) -> Sequence[Any]:
    """The rows of its tasks."""
    mine = tables.tasks.c.execution_id == execution_id
    async with db.read() as tx:
        return (await tx.execute(select(tables.tasks).where(mine).order_by("id"))).all()


async def started(db: Database) -> list[tuple[str, str, int]]:
    """Who asked for jobs, as the audit log will say: operator, kind and execution."""
    told: list[tuple[str, str, int]] = []

    async def hear(tx: Tx, facts: Sequence[Happened]) -> None:
        for each in facts:
            assert isinstance(each.fact, JobStarted)
            told.append((each.fact.operator, each.fact.kind, each.fact.execution))

    await Outbox(db, {JobStarted: [hear]}).dispatch()
    return told


async def ended(db: Database, execution_id: int, seconds: float = 60) -> Any:
    """The row of an execution, once it has ended."""
    async with asyncio.timeout(seconds):
        while (found := await row(db, execution_id)).status not in FINAL:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found
