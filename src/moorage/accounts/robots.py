"""Robot accounts: secrets for machines, with rights of their own.

    level    stored name        shown as (prefix is a setting)   its rights
    system   builder            robot$builder                    system and projects
    project  library+builder    robot$library+builder            one project

The secret is shown once and kept as a hash. Every change of secret, rights, expiry or state counts
at once: see `standing`.
"""

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, case, delete, literal, select, update

from moorage.access.principals import Principal
from moorage.accounts import permissions as rights
from moorage.accounts.passwords import Passwords, check_password, digest_secret, new_secret
from moorage.accounts.permissions import Held, Level, Scoped
from moorage.accounts.records import Made, Permission, Robot
from moorage.accounts.standing import touch_robot
from moorage.db.engine import Database
from moorage.db.moments import moment
from moorage.db.queries import Exact, Page, Query, narrow, one_page, ordered
from moorage.db.tables import projects, robot_permissions, robots
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.errors import Conflict, Denied, Invalid, NotFound
from moorage.events import RobotCreated, RobotDeleted, RobotUpdated, emit
from moorage.settings import Current, Fixed

FOREVER = -1
MAX_DURATION = 36500
"""Days."""

_BATCH = 100
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_LEVEL = case((robots.c.project_id.is_(None), literal("system")), else_=literal("project"))

COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "id": robots.c.id,
    "name": robots.c.name,
    "description": robots.c.description,
    "level": _LEVEL,
    "project_id": robots.c.project_id,
    "disable": robots.c.disabled,
    "duration": robots.c.duration,
    "expires_at": robots.c.expires_at,
    "creation_time": robots.c.created_at,
    "update_time": robots.c.updated_at,
}
"""What a list of robot accounts can be narrowed and sorted by; names without the prefix."""


class Robots:
    """The robot accounts of this installation."""

    def __init__(
        self,
        db: Database,
        passwords: Passwords,
        settings: Current | None = None,
    ) -> None:
        self._db = db
        self._passwords = passwords
        self._settings = settings or Fixed()

    async def create(
        self,
        actor: Principal,
        *,
        name: str,
        level: Level,
        permissions: Sequence[Permission],
        duration: int | None = None,
        description: str = "",
        disabled: bool = False,
        secret: str | None = None,
    ) -> Made:
        """Make a robot account; `name` comes without prefix and project, `duration` in days.

        Raises Invalid, ProjectUnknown, Denied (more than the actor holds), Conflict.
        """
        if len(name) > 200 or not _NAME.fullmatch(name):
            raise Invalid(
                "a robot account's name is lower-case letters and digits, joined by . _ -"
            )
        default = (await self._settings.current()).robot_token_duration
        days = check_duration(default if duration is None else duration)
        checked = rights.check(level, permissions)
        chosen = secret or None
        hashed = await self._hash(chosen)
        values = {
            "name": f"{checked[0].namespace}+{name}" if level == "project" else name,
            "description": _description(description),
            "disabled": disabled,
            "duration": days,
            "expires_at": None if days == FOREVER else from_now(days * 86400.0),
            "creator": str(actor),
            "secret_hash": hashed[1],
            "revision": secrets.randbits(48),  # see users.insert
        }
        robot_id = await self._db.run(_create, actor, level, values, checked, await self._prefix())
        return Made(await self.get(robot_id), hashed[0])

    async def get(self, robot_id: int) -> Robot:
        """Raises NotFound."""
        async with self._db.read() as tx:
            row = (await tx.execute(_rows().where(robots.c.id == robot_id))).one_or_none()
            if row is None:
                raise NotFound(f"robot account {robot_id} not found")
            permissions = await rights.rows_of(tx, [row.id])
        return _robot(row, permissions, await self._prefix())

    async def list(self, query: Query) -> Page[Robot]:
        """Robot accounts by name unless asked otherwise."""
        prefix = await self._prefix()
        name = query.filters.get("name")
        if isinstance(name, Exact):
            query = query.with_filter("name", Exact(name.value.removeprefix(prefix)))
        statement = narrow(_rows(), query, COLUMNS)
        async with self._db.read() as tx:
            found, total = await one_page(
                tx, ordered(statement, query, COLUMNS, robots.c.name), query
            )
            rows: dict[int, list[Any]] = {}
            for row in await rights.rows_of(tx, [row.id for row in found]):
                rows.setdefault(row.robot_id, []).append(row)
        return Page([_robot(row, rows.get(row.id, []), prefix) for row in found], total)

    async def update(
        self,
        actor: Principal,
        robot_id: int,
        *,
        description: str | None = None,
        disabled: bool | None = None,
        duration: int | None = None,
        permissions: Sequence[Permission] | None = None,
    ) -> None:
        """Change a robot account; None leaves a field. A new duration counts from its creation.

        Raises Invalid, NotFound, ProjectUnknown, Denied.
        """
        prefix = await self._prefix()
        values: dict[str, Any] = {}
        if description is not None:
            values["description"] = _description(description)
        if disabled is not None:
            values["disabled"] = disabled
        if duration is not None:
            values["duration"] = check_duration(duration)

        async def step(tx: Tx) -> None:
            robot = await lock_robot(tx, robot_id)
            level: Level = "system" if robot.project_id is None else "project"
            mine = await require_robot(tx, actor, robot, "update", holding=robot_id)
            if permissions is not None:
                wanted = await rights.resolve(tx, rights.check(level, permissions))
                if level == "project" and wanted[0].project_id != robot.project_id:
                    raise Invalid("a robot account stays in its project")
                mine.require(wanted)
                await tx.execute(
                    delete(robot_permissions).where(robot_permissions.c.robot_id == robot_id)
                )
                await rights.store(tx, robot_id, wanted)
            if duration is not None and duration != robot.duration:
                days = values["duration"] * 86400.0
                lived = (await moment(tx) - robot.created_at).total_seconds()
                values["expires_at"] = None if duration == FOREVER else from_now(days - lived)
            await _change(tx, robot_id, values)
            names = values.keys() - {"expires_at"} | (
                {"permissions"} if permissions is not None else set()
            )
            await _tell_updated(tx, actor, prefix, robot, names)

        await self._db.run(step)

    async def refresh(self, actor: Principal, robot_id: int, secret: str | None = None) -> str:
        """Set a new secret: the given one, else a random one. Returns it.

        Raises Invalid, NotFound, Denied (who gets the secret gets the rights).
        """
        plain, hashed = await self._hash(secret or None)
        prefix = await self._prefix()

        async def step(tx: Tx) -> None:
            robot = await lock_robot(tx, robot_id)
            await require_robot(tx, actor, robot, "update", holding=robot_id)
            await _change(tx, robot_id, {"secret_hash": hashed})
            await _tell_updated(tx, actor, prefix, robot, {"secret"})

        await self._db.run(step)
        return plain

    async def delete(self, actor: Principal, robot_id: int) -> None:
        """Raises NotFound, Denied."""
        prefix = await self._prefix()

        async def step(tx: Tx) -> None:
            robot = await lock_robot(tx, robot_id)
            await require_robot(tx, actor, robot, "delete")
            touch_robot(tx, robot_id)
            await tx.execute(delete(robots).where(robots.c.id == robot_id))
            fact = RobotDeleted(
                operator=actor.name, robot=prefix + robot.name, project_id=robot.project_id
            )
            await emit(tx, fact)

        await self._db.run(step)

    async def delete_expired(self, operator: str, days: int) -> int:
        """Delete a batch of those that expired so long ago; returns how many."""
        prefix = await self._prefix()
        query = (
            select(robots.c.id, robots.c.name, robots.c.project_id)
            .where(robots.c.expires_at < from_now(-days * 86400.0))
            .order_by(robots.c.id)
            .limit(_BATCH)
        )

        async def step(tx: Tx) -> int:
            gone = (await tx.execute(tx.dialect.for_update(query, skip_locked=True))).all()
            ids = [row.id for row in gone]
            for robot_id in ids:
                touch_robot(tx, robot_id)
            await tx.execute(delete(robots).where(robots.c.id.in_(ids)))
            told = [
                RobotDeleted(operator=operator, robot=prefix + row.name, project_id=row.project_id)
                for row in gone
            ]
            await emit(tx, *told)
            return len(ids)

        return await self._db.run(step)

    async def _hash(self, chosen: str | None) -> tuple[str, str]:
        """(secret, hash); a secret that a person chose deserves a slow hash."""
        if chosen is None:
            made = new_secret()
            return made, digest_secret(made)
        return chosen, await self._passwords.hash(check_password(chosen))

    async def _prefix(self) -> str:
        return (await self._settings.current()).robot_name_prefix


def _robot(row: Any, permissions: Sequence[Any], prefix: str) -> Robot:
    return Robot(
        id=row.id,
        name=prefix + row.name,
        level="system" if row.project_id is None else "project",
        project_id=row.project_id,
        project=row.project or "",
        description=row.description,
        disabled=row.disabled,
        duration=row.duration,
        expires_at=row.expires_at,
        permissions=rights.from_rows(permissions),
        creator=row.creator,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def check_duration(days: int) -> int:
    """Return `days`; raises Invalid."""
    if days != FOREVER and not 1 <= days <= MAX_DURATION:
        raise Invalid(f"a robot account lives 1 to {MAX_DURATION} days, or for ever with -1")
    return days


def _description(text: str) -> str:
    if len(text) > 1024 or "\0" in text:
        raise Invalid("a description has at most 1024 characters")
    return text


async def _create(
    tx: Tx,
    actor: Principal,
    level: Level,
    values: Mapping[str, Any],
    permissions: Sequence[Permission],
    prefix: str,
) -> int:
    wanted = await rights.resolve(tx, permissions)
    project_id = wanted[0].project_id if level == "project" else None
    (await _require(tx, actor, project_id, "create")).require(wanted)
    made = await tx.execute(
        tx.dialect.insert(robots)
        .values(project_id=project_id, **values)
        .on_conflict_do_nothing()
        .returning(robots.c.id)
    )
    robot_id = made.scalar_one_or_none()
    if robot_id is None:
        raise Conflict(f"the robot account {values['name']} exists already")
    await rights.store(tx, robot_id, wanted)
    touch_robot(tx, robot_id)
    fact = RobotCreated(operator=actor.name, robot=prefix + values["name"], project_id=project_id)
    await emit(tx, fact)
    return int(robot_id)


async def _tell_updated(
    tx: Tx, actor: Principal, prefix: str, robot: Any, names: Collection[str]
) -> None:
    fact = RobotUpdated(
        operator=actor.name,
        robot=prefix + robot.name,
        project_id=robot.project_id,
        names=sorted(names),
    )
    await emit(tx, fact)


async def _require(tx: Tx, actor: Principal, project_id: int | None, action: str) -> Held:
    """What the actor holds, provided that he may do `action` to robot accounts there."""
    mine = await rights.held(tx, actor)
    kind = "system" if project_id is None else "project"
    if ("robot", action) not in mine.within(kind, project_id):
        raise Denied("not allowed to manage robot accounts here")
    return mine


async def require_robot(
    tx: Tx, actor: Principal, robot: Any, action: str, *, holding: int | None = None
) -> Held:
    """Step: what the actor holds, who may do `action` to the robot account of that row.

    With the id as `holding` he also has to hold all of its rights. Raises Denied.
    """
    mine = await _require(tx, actor, robot.project_id, action)
    if holding is not None:
        mine.require(_scoped(await rights.rows_of(tx, [holding])))
    return mine


async def lock_robot(tx: Tx, robot_id: int) -> Any:
    """Step: the row of a robot account, until the transaction ends; raises NotFound."""
    query = select(
        robots.c.name, robots.c.project_id, robots.c.duration, robots.c.created_at
    ).where(robots.c.id == robot_id)
    row = (await tx.execute(tx.dialect.for_update(query))).one_or_none()
    if row is None:
        raise NotFound(f"robot account {robot_id} not found")
    return row


async def _change(tx: Tx, robot_id: int, values: Mapping[str, Any]) -> None:
    touch_robot(tx, robot_id)
    await tx.execute(
        update(robots)
        .where(robots.c.id == robot_id)
        .values(revision=robots.c.revision + 1, updated_at=now(), **values)
    )


def _scoped(rows: Sequence[Any]) -> list[Scoped]:
    return [Scoped(r.kind, r.project_id, frozenset({(r.resource, r.action)})) for r in rows]


def _rows() -> Select[Any]:
    return select(robots, projects.c.name.label("project")).outerjoin(
        projects, projects.c.id == robots.c.project_id
    )
