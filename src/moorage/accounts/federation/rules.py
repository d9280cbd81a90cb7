"""Rules by which the tokens of an issuer open a robot account.

A rule belongs to a robot account and lends what that has, no more: who makes or changes one must be
allowed to manage the robot account and hold all of its rights, as for a new secret. Every change
ends what was lent by the rule before.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from sqlalchemy import ColumnElement, Select, delete, func, select, update

from moorage.access.principals import Principal
from moorage.accounts.federation import claims
from moorage.accounts.federation.claims import Constraint
from moorage.accounts.issuers import MAX_RSA_BITS, key_set, quick, secure
from moorage.accounts.robots import lock_robot, require_robot
from moorage.accounts.standing import touch_lent, via_rule
from moorage.db.engine import Database
from moorage.db.queries import Page, Query, narrow, one_page, ordered
from moorage.db.tables import federation_rules, robots
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Invalid, NotFound, PreconditionFailed, Unreachable
from moorage.events import (
    FederationRuleCreated,
    FederationRuleDeleted,
    FederationRuleUpdated,
    emit,
)
from moorage.settings import Current, Fixed

DEFAULT_LIFETIME = 3600
MIN_LIFETIME, MAX_LIFETIME = 60, 43200
"""Seconds that what is lent lives."""
MAX_RULES = 50
"""Rules of one robot account."""
MAX_JWKS, MAX_KEYS = 8 << 10, 10
"""Bytes and keys of a jwks that a rule brings along."""

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    id: int
    name: str
    robot_id: int
    robot: str  # its name, as it is shown
    project_id: int | None  # of a project robot
    issuer: str
    audience: str
    constraints: tuple[Constraint, ...]
    jwks: Mapping[str, Any] | None  # the issuer's keys; None: as it publishes them
    lifetime: int  # seconds
    disabled: bool
    revision: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RuleValues:
    """What a rule says."""

    name: str
    issuer: str
    audience: str
    constraints: tuple[Constraint, ...]
    jwks: Mapping[str, Any] | None = None
    lifetime: int | None = None
    disabled: bool = False

    def checked(self) -> dict[str, Any]:
        """As a row; raises Invalid."""
        if len(self.name) > 200 or not _NAME.fullmatch(self.name):
            raise Invalid("a rule's name is lower-case letters and digits, joined by . _ -")
        if not 1 <= len(self.audience) <= 512 or not self.audience.isprintable():
            raise Invalid("an audience is 1 to 512 printable characters; take this registry's URL")
        lifetime = DEFAULT_LIFETIME if self.lifetime is None else self.lifetime
        if not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
            raise Invalid(f"a lifetime is {MIN_LIFETIME} to {MAX_LIFETIME} seconds")
        claims.check(self.constraints)
        _check_issuer(self.issuer, has_keys=self.jwks is not None)
        if self.jwks is not None:
            _check_keys(self.jwks)
        return {
            "name": self.name,
            "issuer": self.issuer,
            "audience": self.audience,
            "claims": [[c.claim, c.kind, c.pattern] for c in self.constraints],
            "jwks": self.jwks,
            "lifetime": lifetime,
            "disabled": self.disabled,
        }


COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "id": federation_rules.c.id,
    "name": federation_rules.c.name,
    "issuer": federation_rules.c.issuer,
    "audience": federation_rules.c.audience,
    "robot_id": federation_rules.c.robot_id,
    "disabled": federation_rules.c.disabled,
    "creation_time": federation_rules.c.created_at,
    "update_time": federation_rules.c.updated_at,
}
"""What a list of rules can be narrowed and sorted by."""


class FederationRules:
    """The rules of this installation."""

    def __init__(self, db: Database, settings: Current | None = None) -> None:
        self._db = db
        self._settings = settings or Fixed()

    async def list(self, query: Query, robot_id: int | None = None) -> Page[Rule]:
        """Rules by name: all, or those of one robot account."""
        statement = _rows()
        if robot_id is not None:
            statement = statement.where(federation_rules.c.robot_id == robot_id)
        statement = narrow(statement, query, COLUMNS)
        in_order = (federation_rules.c.name, federation_rules.c.id)
        prefix = await self._prefix()
        async with self._db.read() as tx:
            rows, total = await one_page(tx, ordered(statement, query, COLUMNS, *in_order), query)
        return Page([_rule(row, prefix) for row in rows], total)

    async def get(self, robot_id: int, rule_id: int) -> Rule:
        """Raises NotFound."""
        query = _rows().where(
            federation_rules.c.id == rule_id, federation_rules.c.robot_id == robot_id
        )
        async with self._db.read() as tx:
            row = (await tx.execute(query)).one_or_none()
        if row is None:
            raise _missing(rule_id)
        return _rule(row, await self._prefix())

    async def of_issuer(self, issuer: str, robot: str) -> Sequence[Rule]:
        """The enabled rules of a robot account that believe an issuer, while it is alive.

        `robot` is its name as it is shown.
        """
        prefix = await self._prefix()
        if not robot.startswith(prefix) or not robot.isprintable():
            return []
        query = _rows().where(
            robots.c.name == robot.removeprefix(prefix),
            federation_rules.c.issuer == issuer,
            federation_rules.c.disabled.is_(False),
            robots.c.disabled.is_(False),
            robots.c.expires_at.is_(None) | (robots.c.expires_at > now()),
        )
        async with self._db.read() as tx:
            found = await tx.execute(query.order_by(federation_rules.c.id).limit(MAX_RULES))
            rows = found.all()
        return [_rule(row, prefix) for row in rows]

    async def create(self, actor: Principal, robot_id: int, values: RuleValues) -> int:
        """Make a rule; its id. Raises Invalid, NotFound, Denied, Conflict, PreconditionFailed."""
        row = values.checked()
        prefix = await self._prefix()

        async def step(tx: Tx) -> int:
            robot = await _manageable(tx, actor, robot_id)
            held = await tx.execute(
                select(func.count()).where(federation_rules.c.robot_id == robot_id)
            )
            if held.scalar_one() >= MAX_RULES:
                raise PreconditionFailed(f"a robot account has at most {MAX_RULES} rules")
            made = await tx.execute(
                tx.dialect.insert(federation_rules)
                .values(robot_id=robot_id, creator=str(actor), **row)
                .on_conflict_do_nothing()
                .returning(federation_rules.c.id)
            )
            rule_id = made.scalar_one_or_none()
            if rule_id is None:
                raise Conflict(f"the robot account has a rule {values.name} already")
            await emit(tx, FederationRuleCreated(**_told(actor, robot, prefix, values.name)))
            return int(rule_id)

        return await self._db.run(step)

    async def update(
        self, actor: Principal, robot_id: int, rule_id: int, values: RuleValues
    ) -> None:
        """Say all of a rule anew; what it lent ends. Raises as `create` does."""
        row = values.checked()
        prefix = await self._prefix()

        async def step(tx: Tx) -> None:
            robot = await _manageable(tx, actor, robot_id)
            before = await _lock(tx, robot_id, rule_id)
            same = select(federation_rules.c.id).where(
                federation_rules.c.robot_id == robot_id,
                federation_rules.c.name == values.name,
                federation_rules.c.id != rule_id,
            )
            if (await tx.execute(same)).first():
                raise Conflict(f"the robot account has a rule {values.name} already")
            touch_lent(tx, via_rule(rule_id, before.revision))
            await tx.execute(
                update(federation_rules)
                .where(federation_rules.c.id == rule_id)
                .values(revision=before.revision + 1, updated_at=now(), **row)
            )
            names = [name for name, value in row.items() if getattr(before, name) != value]
            told = _told(actor, robot, prefix, values.name)
            await emit(tx, FederationRuleUpdated(**told, names=sorted(names)))

        await self._db.run(step)

    async def delete(self, actor: Principal, robot_id: int, rule_id: int) -> None:
        """Forget a rule; what it lent ends. Raises NotFound, Denied."""
        prefix = await self._prefix()

        async def step(tx: Tx) -> None:
            robot = await _manageable(tx, actor, robot_id, hold=False)
            before = await _lock(tx, robot_id, rule_id)
            touch_lent(tx, via_rule(rule_id, before.revision))
            await tx.execute(delete(federation_rules).where(federation_rules.c.id == rule_id))
            await emit(tx, FederationRuleDeleted(**_told(actor, robot, prefix, before.name)))

        await self._db.run(step)

    async def _prefix(self) -> str:
        return (await self._settings.current()).robot_name_prefix


async def _manageable(tx: Tx, actor: Principal, robot_id: int, *, hold: bool = True) -> Any:
    """The locked row of the robot account; raises NotFound, Denied."""
    robot = await lock_robot(tx, robot_id)
    await require_robot(tx, actor, robot, "update", holding=robot_id if hold else None)
    return robot


async def _lock(tx: Tx, robot_id: int, rule_id: int) -> Any:
    query = select(federation_rules).filter_by(id=rule_id, robot_id=robot_id)
    row = (await tx.execute(tx.dialect.for_update(query))).one_or_none()
    if row is None:
        raise _missing(rule_id)
    return row


def _told(actor: Principal, robot: Any, prefix: str, rule: str) -> dict[str, Any]:
    return {
        "operator": actor.name,
        "robot": prefix + robot.name,
        "project_id": robot.project_id,
        "rule": rule,
    }


def _rows() -> Select[Any]:
    return select(
        federation_rules, robots.c.name.label("robot"), robots.c.project_id.label("project_id")
    ).join(robots, robots.c.id == federation_rules.c.robot_id)


def _rule(row: Any, prefix: str) -> Rule:
    return Rule(
        id=row.id,
        name=row.name,
        robot_id=row.robot_id,
        robot=prefix + row.robot,
        project_id=row.project_id,
        issuer=row.issuer,
        audience=row.audience,
        constraints=tuple(Constraint(*constraint) for constraint in row.claims),
        jwks=row.jwks,
        lifetime=row.lifetime,
        disabled=row.disabled,
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _check_issuer(issuer: str, *, has_keys: bool) -> None:
    """With keys at hand nobody is asked, so that the issuer may be any name."""
    if not 1 <= len(issuer) <= 512 or not issuer.isascii() or not issuer.isprintable():
        raise Invalid("an issuer is 1 to 512 characters of ASCII, as its tokens say it in iss")
    if has_keys:
        return
    try:
        url = urlsplit(issuer)
        good = secure(issuer) and url.port != 0 and not (url.query or url.fragment)
    except ValueError:
        good = False
    if not good or "@" in issuer:
        raise Invalid("an issuer is an https:// URL; of one that cannot be asked, give the jwks")


def _check_keys(jwks: Mapping[str, Any]) -> None:
    if len(orjson.dumps(jwks)) > MAX_JWKS:
        raise Invalid(f"the jwks has at most {MAX_JWKS} bytes")
    keys = jwks.get("keys")
    if isinstance(keys, list) and any(_secret(key) for key in keys):
        raise Invalid("the jwks holds a private key; give the public part, and make a new key")
    if isinstance(keys, list) and len(keys) > MAX_KEYS:
        raise Invalid(f"the jwks has at most {MAX_KEYS} keys")
    if isinstance(keys, list) and not all(quick(key) for key in keys if isinstance(key, dict)):
        raise Invalid(
            f"an RSA key of the jwks has at most {MAX_RSA_BITS} bits, and an e of 65537 or 3"
        )
    try:
        key_set(jwks)
    except Unreachable as error:
        raise Invalid(f"the jwks is not valid: {error.message}") from error


def _secret(key: Collection[Any]) -> bool:
    return isinstance(key, Mapping) and bool(_PRIVATE & key.keys())


def _missing(rule_id: int) -> NotFound:
    return NotFound(f"federation rule {rule_id} not found")
