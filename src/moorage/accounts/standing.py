"""The state of an account, small enough to be asked for at every request.

    kind      key            value      touched by
    standing  user or robot, Standing   every change of its secret, its rights, its being enabled,
              id                        and its deletion

So a changed password or a disabled robot account counts from the answer to the change on, on
every replica, although verified credentials are remembered.
"""

from dataclasses import dataclass

import orjson
from sqlalchemy import or_, select

from moorage.access.principals import Principal
from moorage.cache.base import Cache, Kind
from moorage.clock import Clock, SystemClock
from moorage.db.engine import Database
from moorage.db.tables import robots, users
from moorage.db.transactions import Tx


@dataclass(frozen=True, slots=True)
class Standing:
    """An account as it is now."""

    revision: int
    disabled: bool = False
    expires_at: float | None = None  # seconds since 1970
    sysadmin: bool = False


def _dump(standing: Standing) -> bytes:
    return orjson.dumps(
        [standing.revision, standing.disabled, standing.expires_at, standing.sysadmin]
    )


def _load(data: bytes) -> Standing:
    return Standing(*orjson.loads(data))


ADMINISTERS = or_(users.c.sysadmin, users.c.admin_in_auth).label("administers")
"""Whether a user is a system administrator: made one here, or by a group of the provider."""

STANDING: Kind[Standing] = Kind("standing", _dump, _load)


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
        if found is None or found.disabled:
            return None
        now = self._clock.now().timestamp()
        if found.expires_at is not None and found.expires_at <= now:
            return None
        return found


async def _user(tx: Tx, user_id: int) -> Standing | None:
    query = select(users.c.revision, ADMINISTERS).where(users.c.id == user_id)
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else Standing(row.revision, sysadmin=row.administers)


async def _robot(tx: Tx, robot_id: int) -> Standing | None:
    query = select(robots.c.revision, robots.c.disabled, robots.c.expires_at).where(
        robots.c.id == robot_id
    )
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        return None
    expires = row.expires_at.timestamp() if row.expires_at else None
    return Standing(row.revision, row.disabled, expires)
