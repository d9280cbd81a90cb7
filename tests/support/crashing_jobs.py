"""The part of `crashing` that does jobs: one that was asked for, one that a schedule brings.

Each has one effect, a label, in the transaction that saves that it was.
"""

import asyncio
from collections.abc import Callable

from sqlalchemy import func, insert, select, update

from moorage.clock import SystemClock
from moorage.config.jobs import JobSettings
from moorage.db import Database, tables
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.jobs import MANUAL, Context, Kind, LocalBell, NewTask, enqueue, schedules
from moorage.jobs.records import FINAL
from moorage.jobs.schedules import Ticker, single
from moorage.jobs.worker import Worker

KINDS = ("ASKED", "DUE")


async def work(db: Database, promise: Callable[..., None]) -> None:
    """Ask for one, let the other be due, and do both; may run again after a crash."""
    await db.run(_schedule)
    new = [NewTask("ASKED")]
    await db.run(enqueue, "ASKED", new, trigger=MANUAL, dedupe="asked")
    promise("job", "ASKED")
    options = JobSettings(lease_seconds=1, poll_seconds=0.1, drain_seconds=1)
    worker = Worker(
        *(db, [Kind(name, _label) for name in KINDS], LocalBell(), SystemClock(), options),
        ticker=Ticker(db, {"DUE": single("DUE")}),
    )
    living = asyncio.create_task(worker.live())
    while await _ended(db) < len(KINDS):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)
    for name in KINDS:
        promise("ended", name)


async def _schedule(tx: Tx) -> None:
    if await schedules.find(tx, "DUE") is None:
        await schedules.put(tx, "DUE", "Daily", "")
        await tx.execute(update(tables.schedules).values(next_at=from_now(-1)))


async def _label(context: Context) -> None:
    async def effect(tx: Tx) -> None:
        name = f"{context.claim.kind}-{context.claim.fence}"
        await tx.execute(insert(tables.labels).values(name=name))
        await context.save("done", tx)

    context.log("at it")
    if context.claim.checkpoint is None:
        await context.run(effect)
    await asyncio.sleep(0.5)  # meanwhile the lease is renewed


async def _ended(db: Database) -> int:
    e = tables.executions
    query = select(func.count()).select_from(e).where(e.c.status.in_(FINAL))
    async with db.read() as tx:
        return int((await tx.execute(query)).scalar_one())


async def check(db: Database, promises: list[list[str]]) -> list[str]:
    """A job that was promised is there once, and had its effect once when it has ended."""
    e, wrong = tables.executions, []
    async with db.read() as tx:
        found = (await tx.execute(select(e.c.vendor_type, e.c.status))).all()
        labels = (await tx.execute(select(tables.labels.c.name))).scalars().all()
    for kind in KINDS:
        states = [row.status for row in found if row.vendor_type == kind]
        effects = sum(name.startswith(kind) for name in labels)
        ended = ["ended", kind] in promises or states == ["Success"]
        asked = ended or ["job", kind] in promises
        if len(states) > 1 or len(states) < asked or effects > 1:
            wrong.append(f"{kind}: executions {states}, {effects} effects")
        if ended and (states, effects) != (["Success"], 1):
            wrong.append(f"{kind} has ended: {states}, {effects} effects")
    return wrong
