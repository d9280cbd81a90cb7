"""Figures of jobs: five statements, however many tasks there are."""

from collections.abc import Sequence

from sqlalchemy import func, select

from moorage.db.engine import Database
from moorage.db.tables import schedules, tasks
from moorage.jobs.dashboard import Dashboard
from moorage.jobs.records import RUNNING
from moorage.telemetry.figures import Values

_RUNNING = (
    select(tasks.c.kind, tasks.c.owner, func.count().label("amount"))
    .where(tasks.c.status == RUNNING)
    .group_by(tasks.c.kind, tasks.c.owner)
)
_SCHEDULED = select(func.count()).select_from(schedules).where(schedules.c.enabled)


async def figures(db: Database, kinds: Sequence[str]) -> Values:
    """The queues of these kinds, and who works on them."""
    dashboard = Dashboard(db, kinds)
    queues = await dashboard.queues()
    working = await dashboard.workers()
    async with db.read() as tx:
        running = (await tx.execute(_RUNNING)).all()
        scheduled = (await tx.execute(_SCHEDULED)).scalar_one()
    return {
        "harbor_task_queue_size": [((each.kind,), each.count) for each in queues],
        "harbor_task_queue_latency": [((each.kind,), each.latency) for each in queues],
        "harbor_task_concurrency": [((row.kind, row.owner or ""), row.amount) for row in running],
        "harbor_task_scheduled_total": [((), scheduled)],
        "moorage_workers": [((), len(working))],
    }
