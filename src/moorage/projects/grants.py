"""What a caller may do: caller x project -> (resource, action) pairs.

    sysadmin            everything
    user                the pairs of all roles in the project, the user's own and those of the
                        user's groups, and of a public project
    user, by a token    those of them that the token leaves, and those of a public project
    robot               the rows of its permissions, and the pairs of a public project
    anonymous           the pairs of a public project

The answers come from cached values (project, membership, groups of a user, roles of groups,
robot), each marked by whoever changes it, so a right that was taken away is gone with the answer
to the request that took it.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, select

from moorage.access import roles
from moorage.access.principals import Principal
from moorage.access.roles import Pairs
from moorage.accounts import groups
from moorage.accounts.groups import GROUP_ROLES, GROUPS
from moorage.cache.base import Cache
from moorage.clock import Clock, SystemClock
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import (
    project_members,
    project_registries,
    projects,
    robot_permissions,
    robots,
)
from moorage.errors import ProjectUnknown
from moorage.projects.kinds import PROJECT, ROBOT, ROLE, RobotGrants
from moorage.projects.records import ProjectRef

NOTHING: Pairs = frozenset()


class Grants:
    """Answers from the cache; the database is asked on a miss."""

    def __init__(self, db: Database, cache: Cache, clock: Clock | None = None) -> None:
        self._db = db
        self._cache = cache
        self._clock = clock or SystemClock()

    async def actions(self, principal: Principal, project: str) -> Pairs:
        """The pairs that `principal` holds in the project of that name; raises ProjectUnknown."""
        ref = await self.project(project)
        if ref is None:
            raise ProjectUnknown(f"project {project} not found")
        return await self.within(principal, ref)

    async def within(self, principal: Principal, project: ProjectRef) -> Pairs:
        """The same for a project that is at hand."""
        if principal.bounds is not None:
            whole = replace(principal, sysadmin=principal.bounds.sysadmin, bounds=None)
            held = await self.within(whole, project) & principal.bounds.within(project.id)
            return _pairs(frozenset(), project.public) | held
        if principal.sysadmin:
            return roles.EVERYTHING
        if principal.kind == "user":
            return _pairs(await self.roles(principal, project), project.public)
        if principal.kind == "robot":
            robot = await self._robot(principal.id)
            return _pairs(frozenset(), project.public) | robot.within(project.id)
        return _pairs(frozenset(), project.public)

    async def system(self, principal: Principal) -> Pairs:
        """The pairs of the system scope: everything for a sysadmin, else those of a robot."""
        if principal.sysadmin:
            return roles.EVERYTHING
        if principal.kind == "robot":
            return (await self._robot(principal.id)).system()
        return NOTHING

    async def roles(self, principal: Principal, project: ProjectRef) -> frozenset[int]:
        """Ids of the caller's roles in the project: his own, and those of his groups."""
        if principal.kind != "user":
            return frozenset()
        own = await self._own_role(principal, project)
        held = {own} if own else set()
        mine = await self._groups(principal)
        if mine:
            held.update(role for group, role in await self._group_roles(project) if group in mine)
        return frozenset(held)

    async def _groups(self, principal: Principal) -> list[int]:
        async def load() -> list[int]:
            async with self._db.read() as tx:
                return await groups.of(tx, principal.id)

        return await self._cache.through(GROUPS, GROUPS.key(principal.id), load) or []

    async def _group_roles(self, project: ProjectRef) -> list[tuple[int, int]]:
        async def load() -> list[tuple[int, int]]:
            query = select(project_members.c.group_id, project_members.c.role_id).where(
                project_members.c.project_id == project.id, project_members.c.group_id.is_not(None)
            )
            async with self._db.read() as tx:
                return [(row.group_id, row.role_id) for row in await tx.execute(query)]

        return await self._cache.through(GROUP_ROLES, GROUP_ROLES.key(project.id), load) or []

    async def _own_role(self, principal: Principal, project: ProjectRef) -> int:
        key = ROLE.key(project.id, principal.id)

        async def load() -> int:
            async with self._db.read() as tx:
                found = await tx.execute(
                    select(project_members.c.role_id).filter_by(
                        project_id=project.id, user_id=principal.id
                    )
                )
                return int(found.scalar_one_or_none() or 0)

        return await self._cache.through(ROLE, key, load) or 0

    async def project(self, name: str) -> ProjectRef | None:
        """The project of that name, or None."""

        async def load() -> ProjectRef | None:
            async with self._db.read() as tx:
                row = await tx.find(_BY_NAME, name=name)
            return None if row is None else _ref(row)

        return await self._cache.through(PROJECT, PROJECT.key(name), load)

    def peek(self, name: str) -> ProjectRef | None:
        """The project of that name, if this process may answer from memory."""
        return self._cache.peek(PROJECT, PROJECT.key(name))

    async def project_by_id(self, project_id: int) -> ProjectRef | None:
        """The project of that id, or None; asks the database."""
        async with self._db.read() as tx:
            row = await tx.find(_BY_ID, id=project_id)
        return None if row is None else _ref(row)

    async def _robot(self, robot_id: int) -> RobotGrants:
        async def load() -> RobotGrants | None:
            async with self._db.read() as tx:
                robot = (await tx.execute(select(robots).filter_by(id=robot_id))).one_or_none()
                rows = await tx.execute(
                    select(
                        robot_permissions.c.kind,
                        robot_permissions.c.project_id,
                        robot_permissions.c.resource,
                        robot_permissions.c.action,
                    ).filter_by(robot_id=robot_id)
                )
                if robot is None or robot.disabled:
                    return None
                return RobotGrants(
                    project_id=robot.project_id,
                    expires_at=robot.expires_at.timestamp() if robot.expires_at else None,
                    rows=tuple((r.kind, r.project_id, r.resource, r.action) for r in rows),
                )

        found = await self._cache.through(ROBOT, ROBOT.key(robot_id), load)
        if found is None or found.expired(self._clock.now().timestamp()):
            return RobotGrants(None, None, ())
        return found


def _ref(row: Any) -> ProjectRef:
    made = row.created_at.timestamp()
    return ProjectRef(row.id, row.name, row.public, made, row.registry_id or 0)


_PROJECTS = select(projects, project_registries.c.registry_id).outerjoin(
    project_registries, project_registries.c.project_id == projects.c.id
)
_BY_ID = Prepared(lambda _: _PROJECTS.where(projects.c.id == bindparam("id")))
_BY_NAME = Prepared(lambda _: _PROJECTS.where(projects.c.name == bindparam("name")))


@lru_cache(maxsize=64)
def _pairs(held: frozenset[int], public: bool) -> Pairs:
    pairs = NOTHING.union(*(roles.ROLE_PAIRS.get(role, NOTHING) for role in held))
    return pairs | roles.PUBLIC if public else pairs
