"""The webhook policies of projects.

What a target's header and signature need is encrypted, never read back over the API, and bound to
the target that it was given for.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, delete, func, select, update

from moorage.access.principals import Principal
from moorage.access.secretbox import SecretBox
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import executions, webhook_policies
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Invalid, NotFound
from moorage.events import (
    WebhookPolicyCreated,
    WebhookPolicyDeleted,
    WebhookPolicyUpdated,
    emit,
)
from moorage.projects.holding import hold
from moorage.webhooks.checks import checked
from moorage.webhooks.keeping import kept
from moorage.webhooks.records import KINDS, Target, WebhookPolicy

MAX_POLICIES = 50
"""Of one project: each event is told to every one of them."""

FIELDS: Columns = {
    "id": webhook_policies.c.id,
    "name": webhook_policies.c.name,
    "enabled": webhook_policies.c.enabled,
    "creator": webhook_policies.c.creator,
    "creation_time": webhook_policies.c.created_at,
    "update_time": webhook_policies.c.updated_at,
}
"""What a list can be narrowed and sorted by."""


class WebhookPolicies:
    """Policies; the id of one counts in its own project only."""

    def __init__(self, db: Database, box: SecretBox) -> None:
        self._db = db
        self._box = box

    async def list(self, project_id: int, query: Query) -> Page[WebhookPolicy]:
        """Policies of a project, the newest first; without their secrets."""
        statement = _rows().where(webhook_policies.c.project_id == project_id)
        statement = narrow(statement, query, FIELDS)
        newest = webhook_policies.c.id.desc()
        async with self._db.read() as tx:
            rows, total = await one_page(tx, ordered(statement, query, FIELDS, newest), query)
            return Page([_policy(row) for row in rows], total)

    async def get(self, project_id: int, policy_id: int) -> WebhookPolicy:
        """One, without its secrets; raises NotFound."""
        async with self._db.read() as tx:
            return _policy(await _one(tx, project_id, policy_id))

    async def opened(self, policy_id: int) -> WebhookPolicy | None:
        """One with its secrets, to tell its targets; None when it is gone."""
        query = _rows(webhook_policies.c.secrets).where(webhook_policies.c.id == policy_id)
        async with self._db.read() as tx:
            row = (await tx.execute(query)).one_or_none()
        return None if row is None else _policy(row, self._open(row.id, row.secrets))

    async def create(
        self,
        actor: Principal,
        project_id: int,
        values: Mapping[str, Any],
        targets: Sequence[Target],
    ) -> int:
        """Make one; returns its id. Raises Invalid, Conflict, ProjectUnknown."""
        columns = checked(values, targets)

        async def step(tx: Tx) -> int:
            await hold(tx, project_id)
            made = select(func.count()).select_from(webhook_policies)
            mine = webhook_policies.c.project_id == project_id
            if (await tx.execute(made.where(mine))).scalar_one() >= MAX_POLICIES:
                raise Invalid(f"a project has at most {MAX_POLICIES} webhook policies")
            row = {"project_id": project_id, "creator": actor.name, **columns}
            insert = tx.dialect.insert(webhook_policies).values(row).on_conflict_do_nothing()
            returned = await tx.execute(insert.returning(webhook_policies.c.id))
            policy_id = returned.scalar_one_or_none()
            if policy_id is None:
                raise Conflict(f"there is a webhook policy {columns['name']} already")
            await self._keep(tx, policy_id, targets, ())
            await emit(tx, WebhookPolicyCreated(**_told(actor, project_id, columns["name"])))
            return int(policy_id)

        return await self._db.run(step)

    async def update(
        self,
        actor: Principal,
        project_id: int,
        policy_id: int,
        values: Mapping[str, Any],
        targets: Sequence[Target],
    ) -> None:
        """Replace one; raises as `create`, and NotFound.

        A target that keeps its address keeps the secrets that are not said anew; see `keeping`.
        """
        columns = checked(values, targets)

        async def step(tx: Tx) -> None:
            await hold(tx, project_id)
            row = await _one(tx, project_id, policy_id, lock=True)
            twin = select(webhook_policies.c.id).where(
                webhook_policies.c.project_id == project_id,
                webhook_policies.c.name == columns["name"],
                webhook_policies.c.id != policy_id,
            )
            if (await tx.execute(twin)).first() is not None:
                raise Conflict(f"there is a webhook policy {columns['name']} already")
            before = _policy(row, self._open(policy_id, row.secrets)).targets
            mine = update(webhook_policies).where(webhook_policies.c.id == policy_id)
            await tx.execute(mine.values(**columns, updated_at=now()))
            await self._keep(tx, policy_id, targets, before)
            await emit(tx, WebhookPolicyUpdated(**_told(actor, project_id, columns["name"])))

        await self._db.run(step)

    async def switch(
        self, actor: Principal, project_id: int, policy_id: int, *, enabled: bool
    ) -> None:
        """Let one tell of events, or not; all else of it stays. Raises NotFound."""

        async def step(tx: Tx) -> None:
            row = await _one(tx, project_id, policy_id)
            mine = update(webhook_policies).where(webhook_policies.c.id == policy_id)
            await tx.execute(mine.values(enabled=enabled, updated_at=now()))
            await emit(tx, WebhookPolicyUpdated(**_told(actor, project_id, row.name)))

        await self._db.run(step)

    async def delete(self, actor: Principal, project_id: int, policy_id: int) -> None:
        """Delete one; raises NotFound. What is on its way to its targets is not sent any more."""

        async def step(tx: Tx) -> None:
            row = await _one(tx, project_id, policy_id)
            mine = delete(webhook_policies).where(webhook_policies.c.id == policy_id)
            await tx.execute(mine)
            await emit(tx, WebhookPolicyDeleted(**_told(actor, project_id, row.name)))

        await self._db.run(step)

    async def last_triggers(self, ids: Collection[int]) -> Mapping[tuple[int, str], Any]:
        """When an event of a type was last told by a policy: (policy, type) → time."""
        event_type = executions.c.extra["event_type"].as_string().label("event_type")
        query = (
            select(
                executions.c.vendor_id, event_type, func.max(executions.c.created_at).label("at")
            )
            .where(
                executions.c.vendor_type.in_(sorted(KINDS.values())),
                executions.c.vendor_id.in_(ids),
            )
            .group_by(executions.c.vendor_id, event_type)
        )
        async with self._db.read() as tx:
            rows = (await tx.execute(query)).all()
        return {(row.vendor_id, row.event_type): row.at for row in rows}

    # --- secrets

    async def _keep(
        self, tx: Tx, policy_id: int, targets: Sequence[Target], before: Sequence[Target]
    ) -> None:
        sealed = self._box.seal(orjson.dumps(kept(targets, before)), _label(policy_id))
        mine = update(webhook_policies).where(webhook_policies.c.id == policy_id)
        await tx.execute(mine.values(secrets=sealed))

    def _open(self, policy_id: int, sealed: bytes | None) -> Sequence[tuple[str, str]]:
        if sealed is None:
            return ()
        return [
            (header, secret)
            for header, secret in orjson.loads(self._box.open(sealed, _label(policy_id)))
        ]

    async def seal_anew(self, tx: Tx) -> None:
        """Step: encrypt under the newest key what a former one encrypted."""
        query = select(webhook_policies.c.id, webhook_policies.c.secrets)
        for row in (await tx.execute(query.where(webhook_policies.c.secrets.is_not(None)))).all():
            if not self._box.outdated(row.secrets):
                continue
            plain = self._box.open(row.secrets, _label(row.id))
            mine = update(webhook_policies).where(webhook_policies.c.id == row.id)
            await tx.execute(mine.values(secrets=self._box.seal(plain, _label(row.id))))


def _label(policy_id: int) -> str:
    return f"webhook:{policy_id}"


def _told(actor: Principal, project_id: int, name: str) -> dict[str, Any]:
    return {"operator": actor.name, "project_id": project_id, "policy": name}


# --- rows


def _rows(*more: ColumnElement[Any]) -> Select[Any]:
    return select(
        webhook_policies.c.id,
        webhook_policies.c.project_id,
        webhook_policies.c.name,
        webhook_policies.c.description,
        webhook_policies.c.targets,
        webhook_policies.c.event_types,
        webhook_policies.c.enabled,
        webhook_policies.c.creator,
        webhook_policies.c.created_at,
        webhook_policies.c.updated_at,
        *more,
    )


async def _one(tx: Tx, project_id: int, policy_id: int, *, lock: bool = False) -> Any:
    """Its row, with the secrets when it is locked to be changed; raises NotFound."""
    here = webhook_policies.c.project_id == project_id, webhook_policies.c.id == policy_id
    query = _rows(webhook_policies.c.secrets) if lock else _rows()
    query = query.where(*here)
    row = (await tx.execute(tx.dialect.for_update(query) if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"webhook policy {policy_id} not found")
    return row


def _policy(row: Any, secrets: Sequence[tuple[str, str]] = ()) -> WebhookPolicy:
    values = dict(row._mapping)
    values.pop("secrets", None)
    found = [Target(**each) for each in values.pop("targets")]
    if secrets:
        found = [
            Target(each.kind, each.address, each.format, each.skip_cert_verify, *pair)
            for each, pair in zip(found, secrets, strict=True)
        ]
    types = tuple(values.pop("event_types"))
    return WebhookPolicy(**values, targets=tuple(found), event_types=types)
