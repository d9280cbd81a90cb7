"""Forgets what nobody asks for any more: old executions, and logs that are past their time."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Select, delete, func, select

from moorage.db.engine import Database
from moorage.db.tables import executions, task_logs
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
                while gone := await context.run(_sweep, vendor_type, vendor_id, oldest):
                    swept += gone
                    context.tell(f"{swept} executions")
                    context.check()
        for vendor_type, living in self._policies.items():
            while gone := await context.run(_sweep_orphans, vendor_type, living):
                swept += gone
                context.tell(f"{swept} executions")
                context.check()
        while gone := await context.run(_forget, self._log_seconds):
            pieces += gone
            context.check()
        context.log(f"{swept} executions and {pieces} pieces of older logs were deleted")
        context.extra = {"executions": swept, "log_pieces": pieces}

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


async def _sweep(tx: Tx, vendor_type: str, vendor_id: int, oldest: int) -> int:
    """Step: delete some that ended, of a policy, before the oldest that it may keep."""
    old = (
        select(executions.c.id)
        .where(*_of(vendor_type, vendor_id), executions.c.id < oldest)
        .where(executions.c.status.in_(FINAL))
        .order_by(executions.c.id)
        .limit(_BATCH)
    )
    gone = await tx.execute(delete(executions).where(executions.c.id.in_(old)))
    return int(gone.rowcount)


async def _sweep_orphans(tx: Tx, vendor_type: str, living: Select[int]) -> int:
    """Step: delete some that ended long ago, of policies that are gone."""
    old = (
        select(executions.c.id)
        .where(executions.c.vendor_type == vendor_type, executions.c.vendor_id != 0)
        .where(executions.c.vendor_id.not_in(living))
        .where(executions.c.status.in_(FINAL), executions.c.updated_at < from_now(-ORPHANED))
        .limit(_BATCH)
    )
    gone = await tx.execute(delete(executions).where(executions.c.id.in_(old)))
    return int(gone.rowcount)


def _of(vendor_type: str, vendor_id: int) -> tuple[ColumnElement[bool], ...]:
    return executions.c.vendor_type == vendor_type, executions.c.vendor_id == vendor_id


async def _forget(tx: Tx, seconds: float) -> int:
    old = select(task_logs.c.id).where(task_logs.c.written_at < from_now(-seconds)).limit(_BATCH)
    gone = await tx.execute(delete(task_logs).where(task_logs.c.id.in_(old)))
    return int(gone.rowcount)
