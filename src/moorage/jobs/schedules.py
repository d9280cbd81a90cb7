"""Schedules: rows that say when something comes again.

Every worker ticks. Who finds a schedule due locks its row, enqueues and moves its next firing in
one transaction: so it fires once, whoever dies on the way. What was missed while nobody was there
comes once: when it fires, all that was due until then is done, and the log says how much that was.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, select, update

from moorage import failpoints
from moorage.db.engine import Database
from moorage.db.moments import moment
from moorage.db.queries import Page, Query, one_page
from moorage.db.tables import job_queues, schedules
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Invalid, NotFound, Unavailable
from moorage.jobs import cron, queue
from moorage.jobs.kinds import NewTask
from moorage.jobs.records import SCHEDULE, Schedule

log = logging.getLogger(__name__)

SCHEDULER = "SCHEDULER"
"""The queue whose pause holds every schedule."""
CUSTOM = "Custom"

Fire = Callable[[Tx, Schedule, str], Awaitable[None]]
"""Step that enqueues what a schedule asks for; the text is the execution's `dedupe`."""

_BATCH = 1000  # schedules of one tick
_COUNTED = 100  # firings that were missed, and are told of


# --- setting them


async def put(
    tx: Tx,
    vendor_type: str,
    kind: str,
    expression: str,
    *,
    vendor_id: int = 0,
    arguments: Mapping[str, Any] | None = None,
    enabled: bool = True,
) -> str:
    """Step: set the schedule of a vendor, new or another than before; its expression.

    One that is due and comes as before still comes: who saves a policy at that moment unschedules
    nothing. Raises Invalid.
    """
    plain = cron.check(expression or cron.PRESETS.get(kind, ""))
    values = {
        "type": kind,
        "cron": plain,
        "arguments": dict(arguments or {}),
        "enabled": enabled,
        "next_at": cron.following(plain, await moment(tx)),
    }
    insert = tx.dialect.insert(schedules).values(
        vendor_type=vendor_type, vendor_id=vendor_id, **values
    )
    as_before = and_(
        schedules.c.cron == insert.excluded.cron, schedules.c.enabled, insert.excluded.enabled
    )
    next_at = case((as_before, schedules.c.next_at), else_=insert.excluded.next_at)
    await tx.execute(
        insert.on_conflict_do_update(
            index_elements=["vendor_type", "vendor_id"],
            set_={**values, "next_at": next_at, "updated_at": now()},
        )
    )
    return plain


async def remove(tx: Tx, vendor_type: str, vendor_id: int = 0) -> bool:
    """Step: let something come no more; whether it did."""
    mine = schedules.c.vendor_type == vendor_type, schedules.c.vendor_id == vendor_id
    return (await tx.execute(delete(schedules).where(*mine))).rowcount > 0


async def find(tx: Tx, vendor_type: str, vendor_id: int = 0) -> Schedule | None:
    """The schedule of a vendor."""
    mine = schedules.c.vendor_type == vendor_type, schedules.c.vendor_id == vendor_id
    row = (await tx.execute(select(schedules).where(*mine))).one_or_none()
    return _schedule(row) if row is not None else None


class Schedules:
    """What a face asks of schedules."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, query: Query) -> Page[Schedule]:
        """All of them, the oldest first."""
        statement = select(schedules)
        async with self._db.read() as tx:
            rows, total = await one_page(tx, statement.order_by(schedules.c.id), query)
            return Page([_schedule(row) for row in rows], total)

    async def find(self, vendor_type: str, vendor_id: int = 0) -> Schedule | None:
        """The schedule of a vendor."""
        async with self._db.read() as tx:
            return await find(tx, vendor_type, vendor_id)

    async def paused(self) -> bool:
        """Whether no schedule fires now."""
        async with self._db.read() as tx:
            return await _paused(tx)


async def _paused(tx: Tx) -> bool:
    query = select(job_queues.c.paused).where(job_queues.c.kind == SCHEDULER)
    return bool((await tx.execute(query)).scalar_one_or_none())


def _schedule(row: Any) -> Schedule:
    return Schedule(**row._mapping)


# --- firing them


class Ticker:
    """Fires what is due; `fires` says how, by the type of vendor."""

    def __init__(
        self,
        db: Database,
        fires: Mapping[str, Fire],
        instant: ColumnElement[Any] | None = None,
    ) -> None:
        self._db = db
        self._fires = fires
        self._now = now() if instant is None else instant

    async def tick(self) -> int:
        """Fire what is due now; returns how much that was.

        Each in a transaction of its own: one that cannot fire is in no other's way.
        """
        query = select(schedules.c.id).where(*self._due()).order_by(schedules.c.next_at)
        async with self._db.read() as tx:
            due = (await tx.execute(query.limit(_BATCH))).scalars().all()
            if not due or await _paused(tx):
                return 0
        fired = 0
        for each in due:
            try:
                fired += await self._db.run(self._fire, each)
            except Unavailable:
                raise
            except Exception:
                log.exception("schedule %d cannot fire", each)
        await failpoints.reach("schedule.fired")
        return fired

    def _due(self) -> tuple[ColumnElement[bool], ...]:
        known = schedules.c.vendor_type.in_(sorted(self._fires))
        return schedules.c.enabled, schedules.c.next_at <= self._now, known

    async def _fire(self, tx: Tx, schedule_id: int) -> int:
        if await _paused(tx):
            return 0
        query = select(schedules).where(schedules.c.id == schedule_id, *self._due())
        row = (await tx.execute(tx.dialect.for_update(query, skip_locked=True))).one_or_none()
        if row is None:  # somebody else fires it, or did
            return 0
        at = (await tx.execute(select(self._now))).scalar_one()
        mine = schedules.c.id == schedule_id
        schedule = _schedule(row)
        mark = f"{schedule_id}@{schedule.next_at.isoformat()}"
        try:
            await self._fires[schedule.vendor_type](tx, schedule, mark)
            following = cron.following(schedule.cron, at)
        except (Invalid, NotFound) as error:
            log.warning("schedule %d is removed: %s", schedule_id, error.message)
            await tx.execute(delete(schedules).where(mine))
            return 1
        await tx.execute(update(schedules).where(mine).values(next_at=following))
        _tell_missed(schedule, at)
        await failpoints.reach("schedule.firing")
        return 1


def _tell_missed(schedule: Schedule, at: datetime) -> None:
    """Of one that came so late that it stands for others too."""
    missed = cron.count(schedule.cron, schedule.next_at, at, _COUNTED)
    if missed:
        many = f"{missed} or more" if missed == _COUNTED else str(missed)
        log.warning(
            "schedule %d of %s comes late: it stands for %s that were missed",
            *(schedule.id, schedule.vendor_type, many),
        )


def single(kind: str, jitter: float = 0.0) -> Fire:
    """Fires one task of a kind, with the schedule's arguments, within `jitter` seconds."""

    async def fire(tx: Tx, schedule: Schedule, dedupe: str) -> None:
        await queue.enqueue(
            tx,
            schedule.vendor_type,
            [NewTask(kind, schedule.arguments, delay=random.uniform(0, jitter))],  # noqa: S311
            trigger=SCHEDULE,
            vendor_id=schedule.vendor_id,
            extra=schedule.arguments,
            dedupe=dedupe,
        )

    return fire
