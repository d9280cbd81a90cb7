"""Policies, with the schedules on which they come."""

import random
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, select, update

from moorage.access.principals import Principal
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, count, narrow, one_page, ordered
from moorage.db.tables import executions, registries, replication_policies, schedules
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Invalid, NotFound, PreconditionFailed
from moorage.events import (
    JobStarted,
    ReplicationPolicyCreated,
    ReplicationPolicyDeleted,
    ReplicationPolicyUpdated,
    emit,
)
from moorage.jobs import MANUAL, SCHEDULE, Bell, Schedule, cron
from moorage.jobs import schedules as scheduling
from moorage.jobs.records import FINAL
from moorage.jobs.schedules import Fire
from moorage.oci.names import check_repository
from moorage.replication import filters, launching
from moorage.replication.records import KIND, SCHEDULED, TRIGGERS, Policy, Settings

FIELDS: Columns = {
    "id": replication_policies.c.id,
    "name": replication_policies.c.name,
    "description": replication_policies.c.description,
    "enabled": replication_policies.c.enabled,
    "src_registry_id": replication_policies.c.source_id,
    "dest_registry_id": replication_policies.c.target_id,
    "creation_time": replication_policies.c.created_at,
    "update_time": replication_policies.c.updated_at,
}
"""What a list can be narrowed and sorted by."""

MOST = 1000
"""Policies of one installation."""


class ReplicationPolicies:
    """What a face asks of policies."""

    def __init__(self, db: Database, bell: Bell) -> None:
        self._db = db
        self._bell = bell

    async def list(self, query: Query) -> Page[Policy]:
        """Policies, the newest first unless asked otherwise."""
        statement = narrow(_rows(), query, FIELDS)
        newest = replication_policies.c.created_at.desc()
        async with self._db.read() as tx:
            rows, total = await one_page(tx, ordered(statement, query, FIELDS, newest), query)
            return Page([_policy(row) for row in rows], total)

    async def get(self, policy_id: int) -> Policy:
        """Raises NotFound."""
        async with self._db.read() as tx:
            return await one(tx, policy_id)

    async def create(self, actor: Principal, said: Settings) -> int:
        """Make a policy; its id. Raises Invalid, Conflict, NotFound for a registry."""
        values = _values(said)

        async def step(tx: Tx) -> int:
            await _hold_registry(tx, said)
            if await count(tx, select(replication_policies.c.id)) >= MOST:
                raise Invalid(f"at most {MOST} replication policies can be made")
            row = tx.dialect.insert(replication_policies).values(**values, creator=actor.name)
            made = await tx.execute(
                row.on_conflict_do_nothing().returning(replication_policies.c.id)
            )
            policy_id = made.scalar_one_or_none()
            if policy_id is None:
                raise Conflict(f"a replication policy named {said.name} exists already")
            await _schedule(tx, int(policy_id), said)
            await emit(tx, ReplicationPolicyCreated(operator=actor.name, policy=said.name))
            return int(policy_id)

        return await self._db.run(step)

    async def update(self, actor: Principal, policy_id: int, said: Settings) -> None:
        """Replace what a policy says; what runs goes on as it began. Raises as `create`."""
        values = _values(said)

        async def step(tx: Tx) -> None:
            await _schedule(tx, policy_id, said)
            await one(tx, policy_id, lock=True)
            await _hold_registry(tx, said)
            twin = replication_policies.c.name == said.name, replication_policies.c.id != policy_id
            if (await tx.execute(select(replication_policies.c.id).where(*twin))).first():
                raise Conflict(f"a replication policy named {said.name} exists already")
            this = update(replication_policies).where(replication_policies.c.id == policy_id)
            await tx.execute(this.values(**values, updated_at=now()))
            await emit(tx, ReplicationPolicyUpdated(operator=actor.name, policy=said.name))

        await self._db.run(step)

    async def delete(self, actor: Principal, policy_id: int) -> None:
        """Delete a policy; raises NotFound, PreconditionFailed while it runs."""

        async def step(tx: Tx) -> None:
            await scheduling.remove(tx, KIND, policy_id)
            gone = await one(tx, policy_id, lock=True)
            running = select(executions.c.id).where(
                executions.c.vendor_type == KIND,
                executions.c.vendor_id == policy_id,
                executions.c.status.not_in(FINAL),
            )
            found = (await tx.execute(running.limit(1))).scalar_one_or_none()
            if found is not None:
                raise PreconditionFailed(f"execution {found} of the policy runs; stop it first")
            mine = replication_policies.c.id == policy_id
            await tx.execute(delete(replication_policies).where(mine))
            fact = ReplicationPolicyDeleted(operator=actor.name, policy=gone.settings.name)
            await emit(tx, fact)

        await self._db.run(step)

    async def start(self, actor: Principal, policy_id: int) -> int:
        """Replicate now; the execution's id. Raises NotFound, PreconditionFailed."""

        async def step(tx: Tx) -> int:
            policy = await one(tx, policy_id, lock=True)
            if not policy.settings.enabled:
                raise PreconditionFailed("the policy is disabled")
            made = await launching.launch(tx, policy, trigger=MANUAL)
            assert made is not None  # only one with a mark can be there already
            await emit(tx, JobStarted(operator=actor.name, kind=KIND, execution=made))
            return made

        made = await self._db.run(step)
        await self._bell.ring()
        return made

    async def retry(self, actor: Principal, execution_id: int, task_id: int) -> int:
        """Do a task that did not succeed again, in an execution of its own; that one's id."""

        async def step(tx: Tx) -> int:
            made = await launching.again(tx, execution_id, task_id)
            await emit(tx, JobStarted(operator=actor.name, kind=KIND, execution=made))
            return made

        made = await self._db.run(step)
        await self._bell.ring()
        return made


async def one(tx: Tx, policy_id: int, *, lock: bool = False) -> Policy:
    """Step: a policy; raises NotFound."""
    if lock:
        mine = select(replication_policies.c.id).where(replication_policies.c.id == policy_id)
        await tx.execute(tx.dialect.for_update(mine))
    query = _rows().where(replication_policies.c.id == policy_id)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"replication policy {policy_id} not found")
    return _policy(row)


async def listening(tx: Tx) -> list[Policy]:
    """Step: enabled policies that events of this registry trigger."""
    query = _rows().where(
        replication_policies.c.enabled,
        replication_policies.c.trigger == "event_based",
        replication_policies.c.source_id.is_(None),
    )
    return [_policy(row) for row in await tx.execute(query)]


def _rows() -> Select[Any]:
    return select(replication_policies, schedules.c.cron).outerjoin(
        schedules, _scheduled(replication_policies.c.id)
    )


def _scheduled(policy: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(schedules.c.vendor_type == KIND, schedules.c.vendor_id == policy)


def _policy(row: Any) -> Policy:
    said: Mapping[str, Any] = row._mapping
    names = [name for name in Settings.__slots__ if name not in ("filters", "cron")]
    return Policy(
        id=row.id,
        settings=Settings(
            **{name: said[name] for name in names},
            filters=filters.load(row.filters),
            cron=row.cron or "",
        ),
        creator=row.creator,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _values(said: Settings) -> dict[str, Any]:
    """The columns, checked; raises Invalid."""
    if not 1 <= len(said.name) <= 255 or not said.name.isprintable():
        raise Invalid("a replication policy's name has 1 to 255 printable characters")
    if len(said.description) > 1024:
        raise Invalid("a replication policy's description has at most 1024 characters")
    check_route(said)
    if said.trigger not in TRIGGERS:
        raise Invalid(f"the type of a trigger is one of {', '.join(TRIGGERS)}")
    if said.trigger == "event_based" and said.source_id is not None:
        raise Invalid("only what happens in this registry triggers a policy")
    if said.trigger == SCHEDULED:
        plain = cron.check(said.cron)
        if plain.split()[0] != "0" or plain.split()[1] == "*":
            raise Invalid("the cron expression begins with second 0 and some minute: 0 0 2 * * *")
    if not -1 <= said.speed < 2**31:
        raise Invalid("speed is -1 to 2147483647")
    return {
        name: getattr(said, name) for name in Settings.__slots__ if name not in ("filters", "cron")
    } | {"filters": filters.dump(said.filters)}


def check_route(said: Settings) -> None:
    """What goes where, as a preview needs it too; raises Invalid."""
    if (said.source_id is None) == (said.target_id is None):
        raise Invalid("either src_registry or dest_registry is another registry, not both")
    if said.namespace:
        check_repository(f"{said.namespace}/x")
    if not -1 <= said.replaced <= 16:
        raise Invalid("dest_namespace_replace_count is -1 to 16")
    filters.check(said.filters)


async def _hold_registry(tx: Tx, said: Settings) -> None:
    registry_id = said.target_id if said.source_id is None else said.source_id
    query = select(registries.c.id).where(registries.c.id == registry_id)
    held = await tx.execute(tx.dialect.for_key_share(query))
    if held.scalar_one_or_none() is None:
        raise Invalid(f"registry {registry_id} not found")


async def _schedule(tx: Tx, policy_id: int, said: Settings) -> None:
    if said.trigger != SCHEDULED:
        await scheduling.remove(tx, KIND, policy_id)
        return
    await scheduling.put(
        tx, KIND, "Custom", cron.check(said.cron), vendor_id=policy_id, enabled=said.enabled
    )


def firing(jitter: float) -> Fire:
    """What a schedule does; the tasks begin within `jitter` seconds."""

    async def fire(tx: Tx, schedule: Schedule, dedupe: str) -> None:
        policy = await one(tx, schedule.vendor_id)
        delay = random.uniform(0, jitter)  # noqa: S311
        await launching.launch(tx, policy, trigger=SCHEDULE, dedupe=dedupe, delay=delay)

    return fire
