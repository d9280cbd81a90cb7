"""Figures of what is stored, what is to go and what is missing: seven statements in all."""

from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select

from moorage.db.engine import Database
from moorage.db.moments import moment
from moorage.db.tables import blob_trash, blobs, gc_candidates, outbox, uploads
from moorage.telemetry.figures import Values

_CANDIDATES = select(func.count().label("amount"), func.min(gc_candidates.c.review_after))
_TRASH = select(
    func.count().label("objects"),
    func.coalesce(func.sum(blob_trash.c.size), 0).label("size"),
    func.coalesce(func.sum(case((blob_trash.c.error.is_not(None), 1), else_=0)), 0),
)
_UPLOADS = select(func.count(), func.min(uploads.c.updated_at))
_DAMAGED = select(func.count()).select_from(blobs).where(blobs.c.state != "live")
_WAITING = select(func.count()).select_from(outbox)


async def figures(db: Database) -> Values:
    """What waits for the collector, the sweeper, and an end."""
    async with db.read() as tx:

        async def row(query: Any) -> Any:
            return (await tx.execute(query)).one()

        at = await moment(tx)
        candidates, due = await row(_CANDIDATES)
        objects, size, failures = await row(_TRASH)
        open_, rested = await row(_UPLOADS)
        (damaged,) = await row(_DAMAGED)
        (waiting,) = await row(_WAITING)
    return {
        "moorage_garbage_candidates": [((), candidates)],
        "moorage_garbage_oldest_seconds": [((), _since(due, at))],
        "moorage_trash_objects": [((), objects)],
        "moorage_trash_bytes": [((), float(size))],
        "moorage_trash_delete_failures": [((), failures)],
        "moorage_uploads_open": [((), open_)],
        "moorage_uploads_oldest_seconds": [((), _since(rested, at))],
        "moorage_blobs_damaged": [((), damaged)],
        "moorage_outbox_waiting": [((), waiting)],
    }


async def slow_figures(db: Database) -> Values:
    """What takes a look at every blob: one statement."""
    async with db.read() as tx:
        size = (await tx.execute(select(func.coalesce(func.sum(blobs.c.size), 0)))).scalar_one()
    return {"harbor_statistics_total_storage_consumption": [((), float(size))]}


def _since(then: datetime | None, at: datetime) -> float:
    return max(0.0, (at - then).total_seconds()) if then else 0.0
