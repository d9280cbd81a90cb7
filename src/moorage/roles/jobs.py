"""The kinds of background jobs, and what schedules of each do: the table JOBS.

kind                      at once  tries
GARBAGE_COLLECTION        1        1      asked for, scheduled
PURGE_AUDIT_LOG           1        1      asked for, scheduled
RETENTION                 any      1      asked for, scheduled; a task per repository
STORAGE_VERIFY            1        1      asked for, scheduled: reads what is stored
EXECUTION_SWEEP           1        1      every day
SYSTEM_ARTIFACT_CLEANUP   1        1      every day
REGISTRY_HEALTH           1        1      every five minutes
REPLICATION               any      3      asked for, scheduled, by events; a task per artifact
REPLICATION_PLAN          any      3      finds out what those tasks are
WEBHOOK, SLACK            any      3      one target is told of one event
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import select

from moorage import __version__
from moorage.audit import purge
from moorage.db.tables import (
    executions,
    replication_policies,
    retention_policies,
    webhook_policies,
)
from moorage.db.transactions import Tx
from moorage.gc import job as gc_job
from moorage.gc import verify
from moorage.jobs import SCHEDULE, Context, Kind, NewTask, Schedule, enqueue, schedules, sweeping
from moorage.jobs.context import Lost
from moorage.jobs.records import FINAL, Stopping
from moorage.jobs.schedules import Fire, Ticker, single
from moorage.jobs.worker import LIGHT, Worker
from moorage.remotes import health
from moorage.replication import KIND as REPLICATION
from moorage.replication import PLAN, MoveJob, PlanJob
from moorage.replication import policies as replicating
from moorage.retention import executions as applying
from moorage.retention.job import RetentionJob
from moorage.roles.resources import Resources
from moorage.telemetry.tracing import Tracing
from moorage.webhooks import Delivery
from moorage.webhooks.records import KINDS as TOLD

CLEANUP = "SYSTEM_ARTIFACT_CLEANUP"

POLICIES = {
    REPLICATION: select(replication_policies.c.id),
    applying.KIND: select(retention_policies.c.id),
    **dict.fromkeys(TOLD.values(), select(webhook_policies.c.id)),
}
"""Whose executions go when they are gone."""

FOLDER_SCRUB = 4 << 20
"""Bytes a second that a scrub reads of a folder unless the settings say otherwise."""


def kinds(resources: Resources) -> Sequence[Kind]:
    """Every kind with its handler."""
    db, store = resources.db, resources.ground.store
    settings = resources.settings
    collect = gc_job.GarbageJob(db, store, resources.rules, settings.gc.untagged_seconds)
    tell = Delivery(
        resources.webhooks,
        resources.guard_of_projects,
        resources.ground.clock,
        __version__,
        settings.webhooks.timeout_seconds,
    )
    return (
        Kind(gc_job.KIND, collect, limit=1),
        Kind(purge.KIND, purge.PurgeJob(db), limit=1),
        Kind(applying.KIND, RetentionJob(db, resources.rules)),
        Kind(verify.KIND, verify.VerifyJob(db, store, resources.ground.clock), limit=1),
        Kind(sweeping.KIND, sweeping.Sweep(db, settings.jobs.log_days, POLICIES), limit=1),
        Kind(CLEANUP, _Cleanup(resources), limit=1),
        Kind(PLAN, PlanJob(resources.replicating), tries=3),
        Kind(REPLICATION, MoveJob(resources.replicating), tries=3),
        Kind(health.KIND, health.HealthJob(resources.registries), limit=1, light=True),
        *(
            Kind(name, tell, tries=settings.webhooks.tries, backoff=2.0, light=True, share=LIGHT)
            for name in TOLD.values()
        ),
    )


class _Cleanup:
    """What ended by itself: sessions, sign-ins that were never finished, old robot accounts."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def __call__(self, context: Context) -> None:
        sessions = await self._resources.sessions.tidy()
        context.check()
        await self._resources.oidc_accounts.tidy()
        robots, days = 0, self._resources.settings.auth.expired_robot_days
        while days is not None and (
            gone := await self._resources.robots.delete_expired(CLEANUP.lower(), days)
        ):
            robots += gone
            context.check()
        context.log(f"{sessions} sessions and {robots} robot accounts that had ended were deleted")
        context.extra = {"sessions": sessions, "robots": robots}


def fires(resources: Resources) -> Mapping[str, Fire]:
    """What a schedule of each type of vendor does."""
    jitter = resources.settings.jobs.jitter_seconds
    names = (gc_job.KIND, purge.KIND, sweeping.KIND, CLEANUP, health.KIND)
    return {name: single(name, jitter) for name in names} | {
        applying.KIND: applying.firing(jitter),
        verify.KIND: _scrub(resources),
        REPLICATION: replicating.firing(jitter),
    }


def scrub_rate(resources: Resources) -> int:
    """Bytes a second that a scheduled verification reads; 0: there is none."""
    chosen = resources.settings.gc.scrub_bytes_per_second
    if chosen is not None:
        return chosen
    return FOLDER_SCRUB if resources.settings.storage.driver == "filesystem" else 0


def _scrub(resources: Resources) -> Fire:
    options = verify.Options(deep=True, orphans=False, bytes_per_second=scrub_rate(resources))

    async def fire(tx: Tx, schedule: Schedule, dedupe: str) -> None:
        running = select(executions.c.id).where(
            executions.c.vendor_type == verify.KIND, executions.c.status.not_in(FINAL)
        )
        slow = (await tx.execute(running.limit(1))).scalar_one_or_none() is not None
        if slow or not options.bytes_per_second:
            return
        new = [NewTask(verify.KIND, options.dump())]
        await enqueue(tx, verify.KIND, new, trigger=SCHEDULE, extra=options.dump(), dedupe=dedupe)

    return fire


async def ensure_schedules(resources: Resources) -> None:
    """What comes by itself from the first start on."""

    async def step(tx: Tx) -> None:
        for name, preset, cron in (
            (sweeping.KIND, "Daily", ""),
            (CLEANUP, "Daily", ""),
            (verify.KIND, "Weekly", ""),
            (health.KIND, "Custom", health.CRON),
        ):
            if await schedules.find(tx, name) is None:
                await schedules.put(tx, name, preset, cron)

    await resources.db.run(step)


def _traced(kind: Kind, tracing: Tracing) -> Kind:
    """The kind with a span around each of its runs; being told to stop is no failure."""

    async def run(context: Context) -> None:
        claim = context.claim
        attributes = {"moorage.job": kind.name, "moorage.task": claim.id}
        with tracing.span(f"job {kind.name}", attributes, server=False, quiet=(Stopping, Lost)):
            await kind.run(context)

    return replace(kind, run=run)


def worker(
    resources: Resources, *, only: Sequence[str] = (), tracing: Tracing | None = None
) -> Worker:
    """A worker of this process; `only` of these kinds, and then without schedules."""
    settings = resources.settings
    mine = [kind for kind in kinds(resources) if not only or kind.name in only]
    found = Worker(
        resources.db,
        [_traced(kind, tracing) for kind in mine] if tracing else mine,
        resources.ground.bell,
        resources.ground.clock,
        settings.jobs,
        metrics=resources.ground.metrics,
        ticker=None if only else Ticker(resources.db, fires(resources)),
        alone=not settings.database.postgres,
    )
    slots = str(settings.jobs.slots)
    resources.ground.metrics.pools.labels(socket.gethostname(), found.id, slots).set(1)
    return found
