"""The state of an account, small enough to be asked for at every request.

    kind      key            value      touched by
    standing  user or robot, Standing   every change of its secret, its rights, its being enabled,
              id                        and its deletion
    lent      token and id,  Lent       the end of the token; every change of the rule; another
              rule, id and              CLI secret
              revision,
              cli, id and
              fingerprint,
              id, its end

So a changed password or a disabled robot account counts from the answer to the change on, on
every replica, although verified credentials are remembered.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import bindparam, or_, select

from moorage.access.principals import Bounds, Principal
from moorage.access.roles import Pairs
from moorage.cache.base import Cache, Kind
from moorage.clock import Clock, SystemClock
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import access_tokens, federation_rules, robots, users
from moorage.db.transactions import Tx


@dataclass(frozen=True, slots=True)
class Standing:
    """An account as it is now."""

    revision: int
    disabled: bool = False
    expires_at: float | None = None  # seconds since 1970; of what lent it, where that is sooner
    sysadmin: bool = False
    bounds: Bounds | None = None  # of the token by which the account was opened


@dataclass(frozen=True, slots=True)
class Lent:
    """A token, a rule or a CLI secret: what opens an account beside its own secret."""

    expires_at: float | None = None  # seconds since 1970
    access: Mapping[int | None, Pairs] | None = None  # None: all that the account may


def _dump(standing: Standing) -> bytes:
    return orjson.dumps(
        [standing.revision, standing.disabled, standing.expires_at, standing.sysadmin]
    )


def _load(data: bytes) -> Standing:
    return Standing(*orjson.loads(data))


ADMINISTERS = or_(users.c.sysadmin, users.c.admin_in_auth).label("administers")
"""Whether a user is a system administrator: made one here, or by a group of the provider."""

STANDING: Kind[Standing] = Kind("standing", _dump, _load)


def _dump_lent(lent: Lent) -> bytes:
    return orjson.dumps([lent.expires_at, None if lent.access is None else to_rows(lent.access)])


def _load_lent(data: bytes) -> Lent:
    expires_at, rows = orjson.loads(data)
    return Lent(expires_at, None if rows is None else from_rows(rows))


LENT: Kind[Lent] = Kind("lent", _dump_lent, _load_lent)


def to_rows(access: Mapping[int | None, Pairs]) -> list[Any]:
    """Rights by project as JSON keeps them."""
    return [[project, sorted(pairs)] for project, pairs in access.items()]


def from_rows(rows: list[Any]) -> dict[int | None, Pairs]:
    """The same, read back."""
    return {project: frozenset(map(tuple, pairs)) for project, pairs in rows}


def via_token(token_id: int) -> str:
    """`Principal.via` of whoever came with a token."""
    return f"token:{token_id}"


def via_rule(rule_id: int, revision: int) -> str:
    """`Principal.via` of whoever came by a federation rule, as it was at that moment."""
    return f"rule:{rule_id}:{revision}"


def via_cli_secret(user_id: int, hashed: str) -> str:
    """`Principal.via` of whoever came with the CLI secret that is kept as this hash."""
    return f"cli:{user_id}:{hashlib.sha256(hashed.encode()).hexdigest()[:16]}"


def via_id_token(expires_at: float) -> str:
    """`Principal.via` of whoever came with an ID token that ends at that second since 1970."""
    return f"id:{int(expires_at)}"


def touch_lent(tx: Tx, via: str) -> None:
    """Step: what is known of the token, rule or CLI secret ends with this transaction."""
    tx.touch(LENT.key(via))


def robot_grants_key(robot_id: int) -> str:
    """The key under which `projects` keeps the rights of a robot account."""
    return f"robot-grants:{robot_id}"


def touch_user(tx: Tx, user_id: int) -> None:
    """Step: what is known of the user ends with this transaction."""
    tx.touch(STANDING.key("user", user_id))


def touch_robot(tx: Tx, robot_id: int) -> None:
    """Step: what is known of the robot account ends with this transaction."""
    tx.touch(STANDING.key("robot", robot_id), robot_grants_key(robot_id))


class Standings:
    """Answers from the cache; the database is asked on a miss."""

    def __init__(self, db: Database, cache: Cache, clock: Clock | None = None) -> None:
        self._db = db
        self._cache = cache
        self._clock = clock or SystemClock()

    async def of(self, principal: Principal) -> Standing | None:
        """The account's state; None when it is gone, disabled or expired, or never was."""
        if principal.kind == "anonymous":
            return None

        async def load() -> Standing | None:
            async with self._db.read() as tx:
                if principal.kind == "user":
                    return await _user(tx, principal.id)
                return await _robot(tx, principal.id)

        key = STANDING.key(principal.kind, principal.id)
        found = await self._cache.through(STANDING, key, load)
        if found is None or found.disabled or self._over(found.expires_at):
            return None
        return await self._lent(principal.via, found) if principal.via else found

    async def _lent(self, via: str, standing: Standing) -> Standing | None:
        """What the token, rule or CLI secret leaves of the account; None when it has ended."""

        async def load() -> Lent | None:
            async with self._db.read() as tx:
                return await _lent(tx, via)

        lent = await self._cache.through(LENT, LENT.key(via), load)
        if lent is None or self._over(lent.expires_at):
            return None
        standing = replace(standing, expires_at=sooner(standing.expires_at, lent.expires_at))
        if lent.access is None:
            return standing
        bounds = Bounds(standing.sysadmin, lent.access)
        return replace(standing, sysadmin=False, bounds=bounds)

    def _over(self, expires_at: float | None) -> bool:
        return expires_at is not None and expires_at <= self._clock.now().timestamp()


def sooner(*moments: float | None) -> float | None:
    """The first of some moments; None is never."""
    return min((moment for moment in moments if moment is not None), default=None)


_USER = Prepared(
    lambda _: select(users.c.revision, ADMINISTERS).where(users.c.id == bindparam("id"))
)
_ROBOT = Prepared(
    lambda _: select(robots.c.revision, robots.c.disabled, robots.c.expires_at).where(
        robots.c.id == bindparam("id")
    )
)


async def _user(tx: Tx, user_id: int) -> Standing | None:
    row = await tx.find(_USER, id=user_id)
    return None if row is None else Standing(row.revision, sysadmin=row.administers)


async def _robot(tx: Tx, robot_id: int) -> Standing | None:
    row = await tx.find(_ROBOT, id=robot_id)
    if row is None:
        return None
    expires = row.expires_at.timestamp() if row.expires_at else None
    return Standing(row.revision, row.disabled, expires)


async def _lent(tx: Tx, via: str) -> Lent | None:
    kind, *numbers = via.split(":")
    if kind == "token":
        query = select(access_tokens.c.expires_at, access_tokens.c.permissions).where(
            access_tokens.c.id == int(numbers[0])
        )
        row = (await tx.execute(query)).one_or_none()
        if row is None:
            return None
        expires = row.expires_at.timestamp() if row.expires_at else None
        return Lent(expires, None if row.permissions is None else from_rows(row.permissions))
    if kind == "cli":
        user_id = int(numbers[0])
        secret = select(users.c.cli_secret_hash).where(users.c.id == user_id)
        hashed = (await tx.execute(secret)).scalar_one_or_none()
        return Lent() if hashed and via_cli_secret(user_id, hashed) == via else None
    if kind == "id":
        return Lent(float(numbers[0]))
    rule_id, revision = map(int, numbers)
    found = await tx.execute(
        select(federation_rules.c.id).where(
            federation_rules.c.id == rule_id,
            federation_rules.c.revision == revision,
            federation_rules.c.disabled.is_(False),
        )
    )
    return None if found.one_or_none() is None else Lent()
