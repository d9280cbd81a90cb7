"""Immutable tags: rules of a project, after which tags that exist stay as they are.

A rule covers a tag when its repository selectors accept the repository and its tag selectors the
tag. What it covers neither moves nor goes; that a tag is made, or pushed again with the digest
that it has, changes nothing and is free.

A rule and a change of a tag at the same moment have an order: who writes a rule locks the
project's row for itself, who changes a tag that exists shares it, before it reads the rules, until
its commit. So a rule is in force when its creation is answered, and no change is on its way that
did not see it. On SQLite there is one writer anyway.
"""

import asyncio
import hashlib
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from time import perf_counter
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, Text, bindparam, cast, delete, func, select, update

from moorage.access.principals import Principal
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import immutable_rules, projects
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Invalid, NotFound, TagImmutable
from moorage.events import (
    ImmutableRuleCreated,
    ImmutableRuleDeleted,
    ImmutableRuleUpdated,
    emit,
)
from moorage.projects import selectors
from moorage.projects.clearing import lock
from moorage.projects.records import ImmutableRule
from moorage.projects.selectors import OF_REPOSITORIES, OF_TAGS, Selector, Selectors

MAX_RULES = 100
"""Of one project: each of them is read and tried when a tag moves."""
TURN = 0.005
"""Seconds that nobody else gets to run while rules are tried."""
_TOLD = 100  # tags in the detail of a refusal

FIELDS: Columns = {
    "id": immutable_rules.c.id,
    "disabled": immutable_rules.c.disabled,
    "priority": immutable_rules.c.priority,
}
"""What a list of rules can be narrowed and sorted by."""


# --- what the rules cover


class Covering:
    """The rules of a project that are in force."""

    def __init__(self, rules: Iterable[tuple[Selectors, Selectors]] = ()) -> None:
        self._rules = tuple(rules)
        self._turn = _Turn()

    async def covered(self, repository: str, tags: Iterable[str]) -> frozenset[str]:
        """Those of `tags` that a rule covers in the repository of that full name."""
        name = repository.partition("/")[2]
        here = []
        for places, of_tags in self._rules:
            if selectors.accept(places, name):
                here.append(of_tags)
            await self._turn.passed()
        found = set()
        for tag in tags if here else ():
            for of_tags in here:
                await self._turn.passed()
                if selectors.accept(of_tags, tag):
                    found.add(tag)
                    break
        return frozenset(found)


class _Turn:
    """Lets other requests run: somebody's rules may be many, dear, and met by thousands of tags."""

    def __init__(self) -> None:
        self._ends = perf_counter() + TURN

    async def passed(self) -> None:
        """Wait for the next turn if this one is over."""
        if perf_counter() > self._ends:
            await asyncio.sleep(0)
            self._ends = perf_counter() + TURN


async def guard(tx: Tx, project_id: int, repository: str, tags: Collection[str]) -> None:
    """Step: let existing `tags` of a repository be moved or deleted; raises TagImmutable.

    The caller has locked or deleted their rows already.
    """
    if not tags:
        return
    await tx.fetch(_SHARE, project=project_id)
    # A statement of its own: the look at the rules must come after the lock was granted.
    rows = await tx.fetch(_IN_FORCE, project=project_id)
    covered = await Covering(_parsed(*row) for row in rows).covered(repository, tags)
    if covered:
        name = repository.partition("/")[2]
        raise TagImmutable(
            f"Failed to process request due to '{name}:{min(covered)}' configured as immutable. "
            "Use another tag, or have the rule changed by a maintainer of the project.",
            detail={"repository": repository, "tags": sorted(covered)[:_TOLD]},
        )


async def in_force(tx: Tx, project_ids: Collection[int]) -> Mapping[int, Covering]:
    """The rules of each of these projects, for lists; one query."""
    rules: dict[int, list[tuple[Selectors, Selectors]]] = {each: [] for each in project_ids}
    for project_id, *pair in await tx.fetch(_OF_EACH, ids=tx.dialect.many(sorted(rules))):
        rules[project_id].append(_parsed(*pair))
    return {project_id: Covering(pairs) for project_id, pairs in rules.items()}


@lru_cache(maxsize=1024)
def _parsed(places: str, tags: str) -> tuple[Selectors, Selectors]:
    return selectors.load(orjson.loads(places)), selectors.load(orjson.loads(tags))


_SHARE = Prepared(
    lambda dialect: dialect.for_key_share(
        select(projects.c.id).where(projects.c.id == bindparam("project"))
    )
)
_IN_FORCE = Prepared(
    lambda dialect: select(
        cast(immutable_rules.c.repositories, Text), cast(immutable_rules.c.tags, Text)
    ).where(immutable_rules.c.project_id == bindparam("project"), ~immutable_rules.c.disabled)
)

_OF_EACH = Prepared(
    lambda dialect: (
        select(
            immutable_rules.c.project_id,
            cast(immutable_rules.c.repositories, Text),
            cast(immutable_rules.c.tags, Text),
        )
        .where(dialect.among(immutable_rules.c.project_id, "ids"), ~immutable_rules.c.disabled)
        .order_by(immutable_rules.c.id)
    )
)


# --- the rules themselves


class ImmutableRules:
    """The rules of projects. A rule's id only counts inside its own project."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, project_id: int, query: Query) -> Page[ImmutableRule]:
        """Rules in the order in which they were made."""
        statement = narrow(_rows().where(immutable_rules.c.project_id == project_id), query, FIELDS)
        async with self._db.read() as tx:
            rows, total = await one_page(
                tx, ordered(statement, query, FIELDS, immutable_rules.c.id), query
            )
            return Page([_rule(row) for row in rows], total)

    async def create(
        self,
        actor: Principal,
        project_id: int,
        repositories: Iterable[Selector],
        tags: Iterable[Selector],
        *,
        disabled: bool = False,
        priority: int = 0,
    ) -> int:
        """Make a rule; returns its id.

        Raises Invalid, Conflict when the project has one with the same selectors, ProjectUnknown.
        """
        values = _content(repositories, tags)

        async def step(tx: Tx) -> int:
            await lock(tx, project_id)
            mine = immutable_rules.c.project_id == project_id
            made = select(func.count()).select_from(immutable_rules).where(mine)
            if (await tx.execute(made)).scalar_one() >= MAX_RULES:
                raise Invalid(f"a project has at most {MAX_RULES} immutable tag rules")
            await _refuse_twin(tx, mine, values)
            row = immutable_rules.insert().values(
                project_id=project_id, disabled=disabled, priority=priority, **values
            )
            made_id = await tx.execute(row.returning(immutable_rules.c.id))
            rule_id = int(made_id.scalar_one())
            fact = ImmutableRuleCreated(operator=actor.name, project_id=project_id, rule=rule_id)
            await emit(tx, fact)
            return rule_id

        return await self._db.run(step)

    async def change(
        self,
        actor: Principal,
        project_id: int,
        rule_id: int,
        repositories: Iterable[Selector],
        tags: Iterable[Selector],
        *,
        disabled: bool,
        priority: int,
    ) -> None:
        """Replace a rule; raises as `create`, and NotFound."""
        values = _content(repositories, tags)

        async def step(tx: Tx) -> None:
            await lock(tx, project_id)
            others = immutable_rules.c.id != rule_id
            await _refuse_twin(tx, (immutable_rules.c.project_id == project_id) & others, values)
            values.update(disabled=disabled, priority=priority)
            await _update(tx, actor, project_id, rule_id, values)

        await self._db.run(step)

    async def switch(
        self, actor: Principal, project_id: int, rule_id: int, *, disabled: bool
    ) -> None:
        """Disable or enable a rule; raises NotFound, ProjectUnknown."""

        async def step(tx: Tx) -> None:
            await lock(tx, project_id)
            await _update(tx, actor, project_id, rule_id, {"disabled": disabled})

        await self._db.run(step)

    async def delete(self, actor: Principal, project_id: int, rule_id: int) -> None:
        """Delete a rule; raises NotFound."""

        async def step(tx: Tx) -> None:
            gone = await tx.execute(delete(immutable_rules).where(*_one(project_id, rule_id)))
            _refuse_none(gone.rowcount, rule_id)
            fact = ImmutableRuleDeleted(operator=actor.name, project_id=project_id, rule=rule_id)
            await emit(tx, fact)

        await self._db.run(step)


def _content(repositories: Iterable[Selector], tags: Iterable[Selector]) -> dict[str, Any]:
    """Checked selectors as columns; their order makes no other rule."""
    places = selectors.check(repositories, OF_REPOSITORIES, "scope_selectors")
    names = selectors.check(tags, OF_TAGS, "tag_selectors")
    same = orjson.dumps([selectors.dump(sorted(places)), selectors.dump(sorted(names))])
    return {
        "repositories": selectors.dump(places),
        "tags": selectors.dump(names),
        "fingerprint": hashlib.sha256(same).hexdigest(),
    }


async def _refuse_twin(tx: Tx, among: ColumnElement[bool], values: Mapping[str, Any]) -> None:
    """Raise Conflict when there is a rule with these selectors; the project's row is locked."""
    twin = select(immutable_rules.c.id).where(
        among, immutable_rules.c.fingerprint == values["fingerprint"]
    )
    rule_id = (await tx.execute(twin)).scalar_one_or_none()
    if rule_id is not None:
        raise Conflict(f"immutable tag rule {rule_id} has the same selectors already")


async def _update(
    tx: Tx, actor: Principal, project_id: int, rule_id: int, values: Mapping[str, Any]
) -> None:
    changed = await tx.execute(
        update(immutable_rules).where(*_one(project_id, rule_id)).values(**values, updated_at=now())
    )
    _refuse_none(changed.rowcount, rule_id)
    await emit(tx, ImmutableRuleUpdated(operator=actor.name, project_id=project_id, rule=rule_id))


def _refuse_none(rows: int, rule_id: int) -> None:
    if not rows:
        raise NotFound(f"immutable tag rule {rule_id} not found")


def _one(project_id: int, rule_id: int) -> tuple[ColumnElement[bool], ...]:
    return immutable_rules.c.project_id == project_id, immutable_rules.c.id == rule_id


def _rows() -> Select[Any]:
    return select(
        immutable_rules.c.id,
        immutable_rules.c.project_id,
        immutable_rules.c.disabled,
        immutable_rules.c.priority,
        immutable_rules.c.repositories,
        immutable_rules.c.tags,
    )


def _rule(row: Any) -> ImmutableRule:
    return ImmutableRule(
        id=row.id,
        project_id=row.project_id,
        disabled=row.disabled,
        priority=row.priority,
        repositories=selectors.load(row.repositories),
        tags=selectors.load(row.tags),
    )
