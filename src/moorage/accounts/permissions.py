"""Rights of robot accounts: what may be granted at all, and what the one who grants holds.

    level    permissions
    system   any number: ("system", "/") from GRANTABLE_SYSTEM, ("project", name or "*") from
             GRANTABLE_PROJECT
    project  exactly one ("project", name)

Nobody grants more than he holds. That is decided inside the transaction that writes, from rows,
so a right that was taken away a moment ago cannot be handed on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import select

from moorage.access import roles
from moorage.access.principals import Bounds, Principal
from moorage.access.roles import Pairs
from moorage.accounts.memberships import belonging
from moorage.accounts.records import Permission
from moorage.accounts.users import is_sysadmin
from moorage.db.tables import project_members, projects, robot_permissions, robots
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Denied, Invalid, ProjectUnknown

Level = Literal["system", "project"]

SYSTEM_SCOPE = "/"
ALL_PROJECTS = "*"

MAX_SCOPES = 1000
"""Scopes of one robot account."""


def check(level: Level, permissions: Sequence[Permission]) -> tuple[Permission, ...]:
    """The permissions in their final form, each scope once; raises Invalid."""
    if level not in ("system", "project"):
        raise Invalid(f"bad request error level input: {level}")
    if not permissions or len(permissions) > MAX_SCOPES:
        raise Invalid(f"a robot account has 1 to {MAX_SCOPES} permissions")
    merged: dict[tuple[str, str], Permission] = {}
    for permission in permissions:
        access = permission.access
        grantable = roles.SYSTEM_PAIRS if permission.kind == "system" else roles.PROJECT_PAIRS
        if permission.kind not in ("system", "project") or not access:
            raise Invalid("bad request empty permission access")
        if permission.kind == "system" and permission.namespace != SYSTEM_SCOPE:
            raise Invalid(f"the namespace of system permissions is {SYSTEM_SCOPE}")
        for resource, action in sorted(access - grantable):
            raise Invalid(f"bad request permission: {resource[:64]}:{action[:32]}")
        if level == "project" and ("repository", "push") in access:
            access |= {("repository", "pull")}  # clients read what they are about to replace
        key = (permission.kind, permission.namespace)
        if key in merged:
            access |= merged[key].access
        merged[key] = Permission(*key, access)
    if level == "project" and (
        len(merged) != 1 or next(iter(merged)) in (("system", "/"), ("project", ALL_PROJECTS))
    ):
        raise Invalid("a project robot account has the permissions of exactly one project")
    return tuple(merged.values())


@dataclass(frozen=True)
class Scoped:
    """A permission with the id of its project."""

    kind: str
    project_id: int | None  # None: the system, or all projects
    access: Pairs


async def resolve(tx: Tx, permissions: Iterable[Permission]) -> list[Scoped]:
    """Step: find the projects. A project that is not there raises ProjectUnknown."""
    permissions = list(permissions)
    names = [
        p.namespace for p in permissions if p.kind == "project" and p.namespace != ALL_PROJECTS
    ]
    rows = await tx.execute(
        select(projects.c.name, projects.c.id).where(projects.c.name.in_(names))
    )
    ids = {row.name: row.id for row in rows}
    scoped = []
    for permission in permissions:
        project_id = None
        if permission.kind == "project" and permission.namespace != ALL_PROJECTS:
            project_id = ids.get(permission.namespace)
            if project_id is None:
                raise ProjectUnknown(f"project {permission.namespace[:255]} not found")
        scoped.append(Scoped(permission.kind, project_id, permission.access))
    return scoped


@dataclass(frozen=True)
class Held:
    """What somebody may hand on."""

    sysadmin: bool = False
    system: Pairs = frozenset()
    everywhere: Pairs = frozenset()  # in all projects, also future ones
    projects: Mapping[int, Pairs] | None = None

    def within(self, kind: str, project_id: int | None) -> Pairs:
        """The pairs in one scope."""
        if self.sysadmin:
            return roles.EVERYTHING
        if kind == "system":
            return self.system
        if project_id is None:
            return self.everywhere
        return self.everywhere | (self.projects or {}).get(project_id, frozenset())

    def require(self, wanted: Iterable[Scoped]) -> None:
        """Raises Denied when one of the permissions goes beyond."""
        for scoped in wanted:
            if not roles.covers(self.within(scoped.kind, scoped.project_id), scoped.access):
                raise Denied("a robot account cannot have more permissions than its creator")


async def held(tx: Tx, actor: Principal) -> Held:
    """Step: what the actor holds by the rows of this transaction."""
    if actor.bounds is not None:
        return _left(await held(tx, replace(actor, bounds=None)), actor.bounds)
    if await is_sysadmin(tx, actor):
        return Held(sysadmin=True)
    if actor.kind == "user":
        rows = await tx.execute(
            select(project_members.c.project_id, project_members.c.role_id).where(
                belonging(actor.id)
            )
        )
        inside: dict[int, Pairs] = {}
        for row in rows:
            pairs = roles.ROLE_PAIRS.get(row.role_id, frozenset())
            inside[row.project_id] = inside.get(row.project_id, frozenset()) | pairs
        return Held(projects=inside)
    if actor.kind == "robot":
        return await _robot(tx, actor.id)
    return Held()


def _left(whole: Held, bounds: Bounds) -> Held:
    everywhere = bounds.access.get(None, frozenset())
    named = {
        project for project in (*(whole.projects or {}), *bounds.access) if project is not None
    }
    return Held(
        everywhere=whole.within("project", None) & everywhere,
        projects={
            project: whole.within("project", project) & bounds.within(project) for project in named
        },
    )


async def _robot(tx: Tx, robot_id: int) -> Held:
    alive = (robots.c.expires_at.is_(None)) | (robots.c.expires_at > now())
    found = await tx.execute(
        select(robots.c.project_id).where(
            robots.c.id == robot_id, robots.c.disabled.is_(False), alive
        )
    )
    robot = found.one_or_none()
    if robot is None:
        return Held()
    system: set[tuple[str, str]] = set()
    everywhere: set[tuple[str, str]] = set()
    inside: dict[int, set[tuple[str, str]]] = {}
    for row in await rows_of(tx, [robot_id]):
        pair = (row.resource, row.action)
        if robot.project_id is not None:  # never reaches beyond its project
            if row.kind == "project" and row.project_id in (None, robot.project_id):
                inside.setdefault(robot.project_id, set()).add(pair)
        elif row.kind == "system":
            system.add(pair)
        elif row.project_id is None:
            everywhere.add(pair)
        else:
            inside.setdefault(row.project_id, set()).add(pair)
    return Held(
        system=frozenset(system),
        everywhere=frozenset(everywhere),
        projects={project: frozenset(pairs) for project, pairs in inside.items()},
    )


async def store(tx: Tx, robot_id: int, permissions: Iterable[Scoped]) -> None:
    """Step: write the rows of a robot account that has none."""
    rows = [
        {
            "robot_id": robot_id,
            "kind": scoped.kind,
            "project_id": scoped.project_id,
            "resource": resource,
            "action": action,
        }
        for scoped in permissions
        for resource, action in sorted(scoped.access)
    ]
    await tx.execute(robot_permissions.insert(), rows)


async def rows_of(tx: Tx, robot_ids: Sequence[int]) -> Sequence[Any]:
    """Step: the permission rows of robot accounts, with the names of their projects."""
    query = (
        select(robot_permissions, projects.c.name.label("project"))
        .outerjoin(projects, projects.c.id == robot_permissions.c.project_id)
        .where(robot_permissions.c.robot_id.in_(robot_ids))
        .order_by(robot_permissions.c.id)
    )
    return (await tx.execute(query)).all()


def from_rows(rows: Iterable[Any]) -> tuple[Permission, ...]:
    """The permissions that rows say, in the order in which they were given."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for row in rows:
        namespace = SYSTEM_SCOPE if row.kind == "system" else row.project or ALL_PROJECTS
        found.setdefault((row.kind, namespace), set()).add((row.resource, row.action))
    return tuple(
        Permission("system" if kind == "system" else "project", namespace, frozenset(access))
        for (kind, namespace), access in found.items()
    )
