"""Forgets what nobody asks for any more: old executions, and logs that are past their time."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Select, delete, func, select

from moorage.db.engine import Database
from moorage.db.tables import executions, task_logs, tasks
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.jobs.context import Context
from moorage.jobs.records import FINAL

KIND = "EXECUTION_SWEEP"

KEPT: Mapping[str, int] = {
    "IMAGE_SCAN": 1,
    "SBOM": 1,
    "SCAN_ALL": 1,
    "PURGE_AUDIT_LOG": 10,
    "EXECUTION_SWEEP": 10,
    "SYSTEM_ARTIFACT_CLEANUP": 10,
}
"""Executions that stay of each policy of a type, the newest."""
KEPT_OF_OTHERS = 50
ORPHANED = 7 * 86400.0
"""Seconds for which executions of a policy stay that was deleted."""

_BATCH = 500
"""Executions of one transaction, or pieces of old logs."""
_ROWS = 2000
"""Pieces of their logs, and tasks."""
_DAY = 86400.0


class Sweep:
    """The handler."""

    def __init__(
        self, db: Database, log_days: int, policies: Mapping[str, Select[int]] | None = None
    ) -> None:
        """`policies`: by the type of executions, the ids of the policies that there are."""
        self._db = db
        self._policies = policies or {}
        self._log_seconds = log_days * _DAY

    async def __call__(self, context: Context) -> None:
        swept = pieces = 0
        for vendor_type in await self._types():
            for vendor_id, oldest in await self._full(vendor_type):
                swept += await self._all(context, _old(vendor_type, vendor_id, oldest), swept)
        for vendor_type, living in self._policies.items():
            swept += await self._all(context, _orphans(vendor_type, living), swept)
        while gone := await context.run(_forget, self._log_seconds):
            pieces += gone
            context.check()
        context.log(f"{swept} executions and {pieces} pieces of older logs were deleted")
        context.extra = {"executions": swept, "log_pieces": pieces}

    async def _all(self, context: Context, old: Select[int], before: int) -> int:
        """Delete these executions, with all that is theirs; how many."""
        swept = 0
        while any(found := await context.run(_sweep, old)):
            swept += found[0]
            context.tell(f"{before + swept} executions")
            context.check()
        return swept

    async def _types(self) -> list[str]:
        query = select(executions.c.vendor_type).distinct().order_by(executions.c.vendor_type)
        async with self._db.read() as tx:
            return list((await tx.execute(query)).scalars())

    async def _full(self, vendor_type: str) -> list[tuple[int, int]]:
        """Policies that have more than they may keep: id, and the oldest execution of those."""
        kept = KEPT.get(vendor_type, KEPT_OF_OTHERS)
        crowded = (
            select(executions.c.vendor_id)
            .where(executions.c.vendor_type == vendor_type)
            .group_by(executions.c.vendor_id)
            .having(func.count() > kept)
        )
        found = []
        async with self._db.read() as tx:
            for vendor_id in (await tx.execute(crowded)).scalars().all():
                newest = select(executions.c.id).where(*_of(vendor_type, vendor_id))
                last = newest.order_by(executions.c.id.desc()).offset(kept - 1).limit(1)
                oldest = (await tx.execute(last)).scalar_one_or_none()
                if oldest is not None:
                    found.append((vendor_id, oldest))
        return found


def _old(vendor_type: str, vendor_id: int, oldest: int) -> Select[int]:
    """Executions of a policy that ended, before the oldest that it may keep."""
    query = select(executions.c.id).where(*_of(vendor_type, vendor_id), executions.c.id < oldest)
    return query.where(executions.c.status.in_(FINAL))


def _orphans(vendor_type: str, living: Select[int]) -> Select[int]:
    """Executions that ended long ago, of policies that are gone."""
    return (
        select(executions.c.id)
        .where(executions.c.vendor_type == vendor_type, executions.c.vendor_id != 0)
        .where(executions.c.vendor_id.not_in(living))
        .where(executions.c.status.in_(FINAL), executions.c.updated_at < from_now(-ORPHANED))
    )


async def _sweep(tx: Tx, old: Select[int]) -> tuple[int, int]:
    """Step: delete some rows of these: executions, and whatever else; (0, 0) when none is left.

    An execution may have tens of thousands of tasks, and each of them a log of many pieces. So
    the pieces go first, then the tasks, and what has none is deleted: never more than so many
    rows in one transaction.
    """
    ids = (await tx.execute(old.order_by(executions.c.id).limit(_BATCH))).scalars().all()
    theirs = select(tasks.c.id).where(tasks.c.execution_id.in_(ids))
    pieces = select(task_logs.c.id).where(task_logs.c.task_id.in_(theirs)).limit(_ROWS)
    gone = (await tx.execute(delete(task_logs).where(task_logs.c.id.in_(pieces)))).rowcount
    if gone < _ROWS:
        some = theirs.limit(_ROWS - gone)
        gone += (await tx.execute(delete(tasks).where(tasks.c.id.in_(some)))).rowcount
    if gone >= _ROWS:
        return 0, gone
    swept = (await tx.execute(delete(executions).where(executions.c.id.in_(ids)))).rowcount
    return swept, gone


def _of(vendor_type: str, vendor_id: int) -> tuple[ColumnElement[bool], ...]:
    return executions.c.vendor_type == vendor_type, executions.c.vendor_id == vendor_id


async def _forget(tx: Tx, seconds: float) -> int:
    old = select(task_logs.c.id).where(task_logs.c.written_at < from_now(-seconds)).limit(_BATCH)
    gone = await tx.execute(delete(task_logs).where(task_logs.c.id.in_(old)))
    return int(gone.rowcount)
