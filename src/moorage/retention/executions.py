"""Executions: steps that queue one task for each repository that a policy is about.

An execution keeps the rules with which it was begun. One applies a policy at a time, and one dry
run: a schedule's firing is left out while the run before it has not ended, a request is refused.
"""

import asyncio
import logging
import random
from collections.abc import Sequence

from sqlalchemy import bindparam, select

from moorage.db.prepared import Prepared
from moorage.db.tables import executions, repositories, retention_policies
from moorage.db.transactions import Tx
from moorage.errors import Conflict, NotFound
from moorage.jobs import SCHEDULE, NewTask, Schedule, enqueue
from moorage.jobs.records import FINAL
from moorage.jobs.schedules import Fire
from moorage.retention import rules as checking
from moorage.retention.records import Rules

log = logging.getLogger(__name__)

KIND = "RETENTION"
"""Of its tasks, and the type of vendor of its executions and schedules."""


async def launch(
    tx: Tx,
    policy_id: int,
    *,
    trigger: str,
    dry_run: bool,
    dedupe: str | None = None,
    delay: float = 0.0,
) -> int | None:
    """Step: queue an execution; its id, None when there is one with that `dedupe` already.

    Raises NotFound, and Conflict while one of the sort has not ended.
    """
    query = select(retention_policies.c.project_id, retention_policies.c.rules)
    query = query.where(retention_policies.c.id == policy_id)
    policy = (await tx.execute(tx.dialect.for_update(query))).one_or_none()
    if policy is None:
        raise NotFound(f"retention policy {policy_id} not found")
    await _refuse_second(tx, policy_id, dry_run=dry_run)
    names = await covered(tx, policy.project_id, checking.load(policy.rules))
    shown = {"dry_run": dry_run, "total": 0, "retained": 0}
    return await enqueue(
        tx,
        KIND,
        [
            NewTask(KIND, {"repository": name}, extra={"repository": name, **shown}, delay=delay)
            for _, name in names
        ],
        trigger=trigger,
        vendor_id=policy_id,
        extra={"dry_run": dry_run, "rules": policy.rules},
        dedupe=dedupe,
    )


async def _refuse_second(tx: Tx, policy_id: int, *, dry_run: bool) -> None:
    """The policy's row is locked: nobody begins another one meanwhile."""
    query = select(executions.c.id, executions.c.extra).where(
        executions.c.vendor_type == KIND,
        executions.c.vendor_id == policy_id,
        executions.c.status.not_in(FINAL),
    )
    for row in await tx.execute(query):
        if row.extra["dry_run"] == dry_run:
            raise Conflict(f"execution {row.id} has not ended; wait for it, or stop it")


_LISTED = Prepared(
    lambda _: (
        select(repositories.c.id, repositories.c.name)
        .where(
            repositories.c.project_id == bindparam("project_id"),
            repositories.c.pushed_at.is_not(None),
        )
        .order_by(repositories.c.name)
    )
)


async def covered(tx: Tx, project_id: int, rules: Rules) -> Sequence[tuple[int, str]]:
    """Ids and names of the listed repositories of a project that a rule is about, by name."""
    rows = await tx.select(_LISTED, project_id=project_id)

    def chosen() -> Sequence[tuple[int, str]]:
        return [
            (row.id, row.name)
            for row in rows
            if any(rule.covers(row.name.partition("/")[2]) for rule in rules)
        ]

    return await asyncio.to_thread(chosen)  # a project may have thousands


def firing(jitter: float) -> Fire:
    """What a schedule does; the tasks begin within `jitter` seconds."""

    async def fire(tx: Tx, schedule: Schedule, dedupe: str) -> None:
        try:
            await launch(
                tx,
                schedule.vendor_id,
                trigger=SCHEDULE,
                dry_run=False,
                dedupe=dedupe,
                delay=random.uniform(0, jitter),  # noqa: S311
            )
        except Conflict as error:
            log.warning("retention policy %d is not applied: %s", schedule.vendor_id, error.message)

    return fire
