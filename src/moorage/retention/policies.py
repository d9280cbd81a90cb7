"""Policies: one of a project, with the schedule on which it is applied.

retention_policies ─ rules        project_metadata ─ retention_id        schedules ─ cron

All three change in one transaction. Locks are taken in one order: the project, the schedule, the
policy; who fires a schedule holds its row already.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, select, update

from moorage.access.principals import Principal
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import (
    executions,
    project_metadata,
    projects,
    retention_policies,
    schedules,
    tasks,
)
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Invalid, NotFound
from moorage.events import (
    JobStarted,
    RetentionPolicyCreated,
    RetentionPolicyDeleted,
    RetentionPolicyUpdated,
    emit,
)
from moorage.jobs import MANUAL, Bell, cron, queue
from moorage.jobs import schedules as scheduling
from moorage.jobs.records import FINAL
from moorage.projects import metadata
from moorage.projects.clearing import lock
from moorage.projects.kinds import PROJECT
from moorage.retention import rules as checking
from moorage.retention.executions import KIND, launch
from moorage.retention.records import Policy, Rule

_METADATA = "retention_id"


class Policies:
    """What a face asks of policies. Whose project a policy is in, the face checks."""

    def __init__(self, db: Database, bell: Bell) -> None:
        self._db = db
        self._bell = bell

    async def project_of(self, policy_id: int) -> int | None:
        """The id of the project whose policy that is."""
        async with self._db.read() as tx:
            found = await tx.find(_PROJECT, id=policy_id)
            return None if found is None else found.project_id

    async def get(self, policy_id: int) -> Policy:
        """One policy; raises NotFound."""
        async with self._db.read() as tx:
            row = await tx.find(_POLICY, id=policy_id)
        if row is None:
            raise _unknown(policy_id)
        return Policy(row.id, row.project_id, checking.load(row.rules), row.cron or "")

    async def create(
        self, actor: Principal, project_id: int, rules: Iterable[Rule], expression: str
    ) -> int:
        """Make the policy of a project; returns its id.

        `expression` is of `jobs.cron`, or empty. Raises Invalid, also when the project has a
        policy already; Conflict for two equal rules; ProjectUnknown.
        """
        kept = checking.dump(checking.check(rules))

        async def step(tx: Tx) -> int:
            tx.touch(PROJECT.key(await lock(tx, project_id)))
            mine = retention_policies.c.project_id == project_id
            there = (await tx.execute(select(retention_policies.c.id).where(mine))).scalar()
            if there is not None:
                raise Invalid(f"project {project_id} already has retention policy {there}")
            row = retention_policies.insert().values(project_id=project_id, rules=kept)
            made = await tx.execute(row.returning(retention_policies.c.id))
            policy_id = int(made.scalar_one())
            await metadata.store(tx, project_id, {_METADATA: str(policy_id)})
            await _schedule(tx, policy_id, expression)
            fact = RetentionPolicyCreated(
                operator=actor.name, project_id=project_id, policy=policy_id
            )
            await emit(tx, fact)
            return policy_id

        return await self._db.run(step)

    async def update(
        self, actor: Principal, policy_id: int, rules: Iterable[Rule], expression: str
    ) -> None:
        """Replace rules and schedule; raises as `create`, and NotFound.

        What runs goes on with the rules that it began with.
        """
        kept = checking.dump(checking.check(rules))

        async def step(tx: Tx) -> None:
            mine = retention_policies.c.id == policy_id
            await _schedule(tx, policy_id, expression)
            changed = update(retention_policies).where(mine).values(rules=kept, updated_at=now())
            rows = await tx.execute(changed.returning(retention_policies.c.project_id))
            project_id = rows.scalar_one_or_none()
            if project_id is None:
                raise _unknown(policy_id)
            fact = RetentionPolicyUpdated(
                operator=actor.name, project_id=project_id, policy=policy_id
            )
            await emit(tx, fact)

        await self._db.run(step)

    async def delete(self, actor: Principal, policy_id: int) -> None:
        """Delete a policy, and stop what runs of it; raises NotFound."""

        async def step(tx: Tx) -> None:
            project_id = await _lock_project(tx, policy_id)
            await scheduling.remove(tx, KIND, policy_id)
            mine = retention_policies.c.id == policy_id
            gone = await tx.execute(delete(retention_policies).where(mine))
            if not gone.rowcount:
                raise _unknown(policy_id)
            await tx.execute(
                delete(project_metadata).where(
                    project_metadata.c.project_id == project_id,
                    project_metadata.c.name == _METADATA,
                )
            )
            await metadata.store(tx, project_id, {})  # a newer revision, without it
            open_ = select(executions.c.id).where(
                executions.c.vendor_type == KIND,
                executions.c.vendor_id == policy_id,
                executions.c.status.not_in(FINAL),
            )
            await queue.stop(tx, tasks.c.execution_id.in_(open_))
            fact = RetentionPolicyDeleted(
                operator=actor.name, project_id=project_id, policy=policy_id
            )
            await emit(tx, fact)

        await self._db.run(step)
        await self._bell.ring()

    async def start(self, actor: Principal, policy_id: int, *, dry_run: bool) -> int:
        """Apply a policy now; returns the execution's id. Raises as `executions.launch`."""

        async def step(tx: Tx) -> int:
            made = await launch(tx, policy_id, trigger=MANUAL, dry_run=dry_run)
            assert made is not None  # only one with a mark can be there already
            await emit(tx, JobStarted(operator=actor.name, kind=KIND, execution=made))
            return made

        made = await self._db.run(step)
        await self._bell.ring()
        return made


async def _schedule(tx: Tx, policy_id: int, expression: str) -> None:
    if not expression:
        await scheduling.remove(tx, KIND, policy_id)
        return
    plain = cron.check(expression)
    preset = next((name for name, each in cron.PRESETS.items() if each == plain), "Custom")
    await scheduling.put(tx, KIND, preset, plain, vendor_id=policy_id)


async def _lock_project(tx: Tx, policy_id: int) -> int:
    """Lock the project of a policy, and say that what is known of it ends; its id."""
    query = (
        select(projects.c.id, projects.c.name)
        .join(retention_policies, retention_policies.c.project_id == projects.c.id)
        .where(retention_policies.c.id == policy_id)
    )
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise _unknown(policy_id)
    await lock(tx, row.id)
    tx.touch(PROJECT.key(row.name))
    return int(row.id)


def _scheduled(policy: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(schedules.c.vendor_type == KIND, schedules.c.vendor_id == policy)


def _unknown(policy_id: int) -> NotFound:
    return NotFound(f"retention policy {policy_id} not found")


_PROJECT = Prepared(
    lambda _: select(retention_policies.c.project_id).where(
        retention_policies.c.id == bindparam("id")
    )
)
_POLICY = Prepared(
    lambda _: (
        select(
            retention_policies.c.id,
            retention_policies.c.project_id,
            retention_policies.c.rules,
            schedules.c.cron,
        )
        .outerjoin(schedules, _scheduled(retention_policies.c.id))
        .where(retention_policies.c.id == bindparam("id"))
    )
)
