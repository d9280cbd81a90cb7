"""Deletes rows of the audit log that are old enough: the one way in which any goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select

from moorage.config.configuration import AUDIT_EVENTS
from moorage.db.engine import Database
from moorage.db.tables import audit_log
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.errors import Invalid
from moorage.events import AuditLogPurged, emit
from moorage.jobs import Context

KIND = "PURGE_AUDIT_LOG"
MAX_HOURS = 240_000
OTHER = "other"
"""Stands for every type of event that has no name of its own in Harbor."""

_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Options:
    """What goes."""

    hours: int  # younger rows stay
    types: tuple[str, ...]
    dry_run: bool = False

    @classmethod
    def read(cls, sent: Mapping[str, Any]) -> "Options":
        """From a request; raises Invalid."""
        hours = sent.get("audit_retention_hour")
        if isinstance(hours, bool) or not isinstance(hours, int) or not 0 <= hours <= MAX_HOURS:
            raise Invalid(f"audit_retention_hour is a number of hours, at most {MAX_HOURS}")
        named = sent.get("include_event_types")
        if not isinstance(named, str) or not named.strip():
            raise Invalid("include_event_types names types of events, by commas")
        types = tuple(dict.fromkeys(each.strip() for each in named.split(",") if each.strip()))
        unknown = sorted(set(types) - {*AUDIT_EVENTS, OTHER})
        if unknown:
            raise Invalid(
                f"include_event_types: {unknown[0][:64]} is not one of the types of events"
            )
        dry = sent.get("dry_run", False)
        if not isinstance(dry, bool):
            raise Invalid("dry_run is true or false")
        return cls(hours, types, dry)

    def dump(self) -> dict[str, Any]:
        """As arguments of a task."""
        return {
            "audit_retention_hour": self.hours,
            "include_event_types": ",".join(self.types),
            "dry_run": self.dry_run,
        }


class PurgeJob:
    """The handler."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def __call__(self, context: Context) -> None:
        options = Options.read(context.claim.arguments)
        old = _old(options)
        async with self._db.read() as tx:
            count = select(func.count()).select_from(audit_log).where(old)
            expected = int((await tx.execute(count)).scalar_one())
        context.log(
            f"{expected} rows are older than {options.hours} hours: {', '.join(options.types)}"
        )
        purged = 0
        if options.dry_run:
            context.log("a dry run: nothing was changed")
        else:
            purged = await self._purge(context, old, expected, options)
        context.extra = context.summary = {**options.dump(), "purged": purged}

    async def _purge(
        self, context: Context, old: ColumnElement[bool], expected: int, options: Options
    ) -> int:
        purged = 0
        try:
            while gone := await context.run(_batch, old):
                purged += gone
                context.tell(f"{purged} of {expected} rows")
                context.check()
        finally:
            context.log(f"{purged} rows were deleted")
            if purged:
                told = AuditLogPurged(operator=KIND.lower(), rows=purged, hours=options.hours)
                await context.run(emit, told)
        return purged


def _old(options: Options) -> ColumnElement[bool]:
    event = audit_log.c.operation + "_" + audit_log.c.resource_type
    named = [event.in_([each for each in options.types if each != OTHER])]
    if OTHER in options.types:
        named.append(event.not_in(AUDIT_EVENTS))
    return (audit_log.c.occurred_at < from_now(-options.hours * 3600)) & or_(*named)


async def _batch(tx: Tx, old: ColumnElement[bool]) -> int:
    oldest = select(audit_log.c.id).where(old).order_by(audit_log.c.occurred_at).limit(_BATCH)
    gone = await tx.execute(delete(audit_log).where(audit_log.c.id.in_(oldest)))
    return int(gone.rowcount)
