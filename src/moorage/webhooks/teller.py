"""Hears of facts, and queues what has to be told, in the transaction that hands them over."""

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from moorage.db.moments import moment
from moorage.db.tables import executions, project_metadata, projects, repositories, webhook_policies
from moorage.db.transactions import Tx
from moorage.errors import NotFound
from moorage.events import Fact, Happened, JobStarted, emit
from moorage.jobs import EVENT, MANUAL, NewExecution, NewTask, enqueue, enqueue_each
from moorage.jobs.records import FINAL
from moorage.settings import Configurations
from moorage.webhooks.happenings import HAPPENINGS, Project, Scene, sample
from moorage.webhooks.records import KINDS, Event

FAIR = 8
"""Tellings of a policy that may wait before those of others go first: one whose targets do not
answer cannot fill the queue for all."""


class Teller:
    """`host` is the registry's host and port, as clients write them before an image's name."""

    def __init__(self, settings: Configurations, host: str) -> None:
        self._settings = settings
        self._host = host

    async def hear(self, tx: Tx, batch: Sequence[Happened]) -> None:
        """Step: a few statements, however many facts and policies there are."""
        policies = await _listening(tx, {_project(each.fact) for each in batch})
        wanted = [each for each in batch if _wants(policies, each.fact)]
        if not wanted or not (await self._settings.within(tx)).notification_enable:
            return
        scenes = await self._scenes(tx, [each.fact for each in wanted])
        told = [policy.id for found in policies.values() for policy in found]
        waiting = Counter(await backlog(tx, told))
        new: list[NewExecution] = []
        for happened in wanted:
            fact = happened.fact
            project_id = _project(fact)
            event_type, render = HAPPENINGS[type(fact)]
            event = Event(
                id=str(uuid.uuid4()),
                type=event_type,
                occurred_at=happened.at.timestamp(),
                operator=fact.operator,
                project_id=project_id,
                data=render(fact, scenes[project_id]),
            )
            for policy in policies[project_id]:
                if event_type in policy.event_types:
                    new += tellings(policy, event, waiting[policy.id] // FAIR)
                    waiting[policy.id] += 1
        await enqueue_each(tx, new, trigger=EVENT)

    async def _scenes(self, tx: Tx, facts: Sequence[Fact]) -> Mapping[int, Scene]:
        """Of each project of the facts, what is told of it and of its repositories."""
        ids = {_project(fact) for fact in facts}
        public = (
            select(project_metadata.c.value)
            .where(
                project_metadata.c.project_id == projects.c.id,
                project_metadata.c.name == "public",
            )
            .scalar_subquery()
        )
        query = select(projects.c.id, projects.c.name, public.label("public"))
        rows = (await tx.execute(query.where(projects.c.id.in_(ids)))).all()
        names = {getattr(fact, "repository", "") for fact in facts} - {""}
        made = select(repositories.c.name, repositories.c.created_at)
        found = await tx.execute(made.where(repositories.c.name.in_(names))) if names else ()
        created = {row.name: row.created_at.timestamp() for row in found}
        scenes = {
            row.id: Scene(Project(row.name, row.public == "true"), created, self._host)
            for row in rows
        }
        for project_id in ids - scenes.keys():  # deleted since
            scenes[project_id] = Scene(Project("", False), created, self._host)
        return scenes

    async def test(self, tx: Tx, operator: str, project_id: int, policy_id: int) -> int:
        """Step: tell the targets of a policy of something that did not happen; the execution's id.

        Raises NotFound.
        """
        found = await _listening(tx, {project_id}, policy_id)
        if not found:
            raise NotFound(f"webhook policy {policy_id} not found, or not enabled")
        (policy,) = found[project_id]
        query = select(projects.c.name).where(projects.c.id == project_id)
        name = (await tx.execute(query)).scalar_one()
        event_type = policy.event_types[0]
        scene = Scene(Project(name, public=False), {}, self._host)
        at = (await moment(tx)).timestamp()
        data = sample(event_type, scene)
        event = Event(str(uuid.uuid4()), event_type, at, operator, project_id, data)
        told = tellings(policy, event)
        made = await enqueue(
            tx,
            told[0].vendor_type,
            [each.task for each in told],
            trigger=MANUAL,
            vendor_id=policy_id,
            extra=told[0].extra,
        )
        assert made is not None
        started = JobStarted(operator=operator, kind=told[0].vendor_type, execution=made)
        await emit(tx, started)
        return made


async def backlog(tx: Tx, policies: Collection[int]) -> Mapping[int, int]:
    """How many tellings of each policy wait or run."""
    query = (
        select(executions.c.vendor_id, func.count().label("count"))
        .where(
            executions.c.vendor_type.in_(sorted(KINDS.values())),
            executions.c.vendor_id.in_(policies),
            executions.c.status.not_in(FINAL),
        )
        .group_by(executions.c.vendor_id)
    )
    return {row.vendor_id: row._mapping["count"] for row in await tx.execute(query)}


def tellings(policy: Any, event: Event, rank: int = 0) -> list[NewExecution]:
    """What tells each target of a policy of an event; those of a lower rank are told sooner."""
    shown = {"event_type": event.type, "payload": dict(event.data), "operator": event.operator}
    return [
        NewExecution(
            KINDS[target["kind"]],
            policy.id,
            NewTask(
                KINDS[target["kind"]],
                {"target": number, "address": target["address"], "event": event.dump()},
                shown,
                rank,
            ),
            shown,
        )
        for number, target in enumerate(policy.targets)
    ]


def _project(fact: Fact) -> int:
    return int(fact.project_id)  # type: ignore[attr-defined]  # each one of HAPPENINGS has it


def _wants(policies: Mapping[int, Sequence[Any]], fact: Fact) -> bool:
    event_type = HAPPENINGS[type(fact)][0]
    return any(event_type in policy.event_types for policy in policies.get(_project(fact), ()))


async def _listening(
    tx: Tx, project_ids: Collection[int], policy_id: int | None = None
) -> Mapping[int, Sequence[Any]]:
    """Enabled policies by project."""
    query = select(
        webhook_policies.c.id,
        webhook_policies.c.project_id,
        webhook_policies.c.targets,
        webhook_policies.c.event_types,
    ).where(webhook_policies.c.project_id.in_(project_ids), webhook_policies.c.enabled)
    if policy_id is not None:
        query = query.where(webhook_policies.c.id == policy_id)
    found: dict[int, list[Any]] = {}
    for row in await tx.execute(query.order_by(webhook_policies.c.id)):
        found.setdefault(row.project_id, []).append(row)
    return found
