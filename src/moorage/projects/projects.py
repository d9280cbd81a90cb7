"""Projects themselves: create, find, list, change, delete."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, select

from moorage.access.principals import Principal
from moorage.access.roles import PRECEDENCE, PROJECT_ADMIN
from moorage.accounts.memberships import belonging
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import (
    project_members,
    project_metadata,
    project_registries,
    projects,
    quotas,
    registries,
    repositories,
    users,
)
from moorage.db.transactions import Tx
from moorage.errors import Conflict, Denied, Invalid, ProjectUnknown
from moorage.events import ProjectCreated, ProjectUpdated, emit
from moorage.oci.names import check_project
from moorage.projects import clearing, members, metadata, quota
from moorage.projects.kinds import PROJECT
from moorage.projects.records import Project
from moorage.projects.visibility import own, visible
from moorage.settings import Current, Fixed

LIBRARY = "library"
"""The public project that every installation starts with."""

FIELDS: Columns = {
    "id": projects.c.id,
    "project_id": projects.c.id,
    "name": projects.c.name,
    "public": projects.c.public,
    "proxy": project_registries.c.registry_id.is_not(None),
    "owner": users.c.username,
    "owner_id": projects.c.owner_id,
    "creation_time": projects.c.created_at,
    "update_time": projects.c.updated_at,
}
"""What a list of projects can be narrowed and sorted by."""


class Projects:
    """The projects of this installation."""

    def __init__(self, db: Database, settings: Current | None = None) -> None:
        self._db = db
        self._settings = settings or Fixed()

    async def create(
        self,
        principal: Principal,
        name: str,
        *,
        values: Mapping[str, str] | None = None,
        limit: int | None = None,
        registry_id: int | None = None,
    ) -> int:
        """Make a project whose first administrator is the caller. Returns its id.

        `values` are its metadata, `public` among them; `limit` its quota in bytes. With a
        `registry_id` it is a cache of that registry for ever.
        Raises NameInvalid, Invalid, Conflict, Denied (nobody is there to own it).
        """
        check_project(name)
        checked = metadata.check(values or {})
        default = (await self._settings.current()).storage_per_project
        hard = quota.check_limit(default if limit is None else limit)
        return await self._db.run(_create, principal, name, checked, hard, registry_id)

    async def by_name(self, name: str, principal: Principal | None = None) -> Project:
        """Raises ProjectUnknown."""
        return await self._one(_BY_NAME, f"project {name} not found", principal, name=name)

    async def by_id(self, project_id: int, principal: Principal | None = None) -> Project:
        """Raises ProjectUnknown."""
        missing = f"project {project_id} not found"
        return await self._one(_BY_ID, missing, principal, id=project_id)

    async def list(self, principal: Principal, query: Query) -> Page[Project]:
        """What the caller may see, by name unless asked otherwise."""
        statement = narrow(_rows().where(visible(principal)), query, FIELDS)
        async with self._db.read() as tx:
            by_name = ordered(statement, query, FIELDS, projects.c.name)
            found, total = await one_page(tx, by_name, query)
            return Page(await _described(tx, found, principal), total)

    async def counts(self, principal: Principal) -> dict[str, int]:
        """Projects and repositories of the caller and of the public, for the statistics."""
        listed = (
            select(func.count())
            .select_from(repositories)
            .where(
                repositories.c.project_id == projects.c.id, repositories.c.pushed_at.is_not(None)
            )
            .scalar_subquery()
        )
        statement = select(
            func.count().label("projects"), func.coalesce(func.sum(listed), 0).label("repositories")
        ).select_from(projects)
        counts = {}
        async with self._db.read() as tx:
            for label, which in (
                ("public", projects.c.public),
                ("private", and_(projects.c.public.is_(False), own(principal))),
            ):
                row = (await tx.execute(statement.where(which))).one()
                counts[f"{label}_project"] = int(row.projects)
                counts[f"{label}_repo"] = int(row.repositories)
        return counts

    async def change(
        self, principal: Principal, project_id: int, values: Mapping[str, str]
    ) -> None:
        """Set metadata, `public` among them; raises Invalid, ProjectUnknown."""
        checked = metadata.check(values)

        async def step(tx: Tx) -> None:
            name = await clearing.lock(tx, project_id)
            tx.touch(PROJECT.key(name))
            await metadata.store(tx, project_id, checked)
            fact = ProjectUpdated(
                operator=principal.name, project_id=project_id, project=name, names=sorted(checked)
            )
            await emit(tx, fact)

        await self._db.run(step)

    async def delete(self, principal: Principal, project_id: int) -> None:
        """Delete a project without repositories; raises ProjectUnknown, PreconditionFailed."""
        await self._db.run(clearing.delete_project, project_id, principal.name)

    async def check_deletable(self, project_id: int) -> None:
        """Raises PreconditionFailed when `delete` would."""
        async with self._db.read() as tx:
            await clearing.check_empty(tx, project_id)

    async def ensure_library(self) -> None:
        """Make the project `library`, public, when it is not there; idempotent."""
        async with self._db.read() as tx:
            there = await tx.execute(select(projects.c.id).filter_by(name=LIBRARY))
            if there.scalar_one_or_none() is not None:
                return
            admin = await tx.execute(
                select(users.c.id, users.c.username)
                .where(users.c.sysadmin)
                .order_by(users.c.id)
                .limit(1)
            )
            row = admin.one_or_none()
        if row is None:
            raise Denied("make an administrator before the first project")
        owner = Principal("user", row.id, row.username, sysadmin=True)
        try:
            await self.create(owner, LIBRARY, values={"public": "true"})
        except Conflict:  # another replica starts at the same time
            return

    async def _one(
        self, which: Prepared, missing: str, principal: Principal | None, **values: Any
    ) -> Project:
        async with self._db.read() as tx:
            rows = await tx.select(which, **values)  # it counts: no mere look by a key
            if not rows:
                raise ProjectUnknown(missing)
            return (await _described(tx, rows, principal))[0]


async def _create(
    tx: Tx,
    principal: Principal,
    name: str,
    values: Mapping[str, str],
    limit: int,
    registry_id: int | None,
) -> int:
    owner = principal.id
    if principal.kind != "user":  # a robot's projects belong to the first administrator
        found = await tx.execute(select(func.min(users.c.id)).where(users.c.sysadmin))
        owner = found.scalar_one_or_none() or 0
    if not owner:
        raise Denied("a project needs an owner")
    made = await tx.execute(
        tx.dialect.insert(projects)
        .values(name=name, owner_id=owner)
        .on_conflict_do_nothing()
        .returning(projects.c.id)
    )
    project_id = made.scalar_one_or_none()
    if project_id is None:
        raise Conflict(f"The project named {name} already exists")
    tx.touch(PROJECT.key(name))
    await metadata.store(tx, project_id, values)
    await members.add(tx, project_id, PROJECT_ADMIN, user_id=owner)
    await tx.execute(quotas.insert().values(project_id=project_id, hard=limit))
    if registry_id is not None:
        await _cache(tx, int(project_id), registry_id)
    fact = ProjectCreated(operator=principal.name, project_id=int(project_id), project=name)
    await emit(tx, fact)
    return int(project_id)


async def _cache(tx: Tx, project_id: int, registry_id: int) -> None:
    query = select(registries.c.id).where(registries.c.id == registry_id)
    held = await tx.execute(tx.dialect.for_key_share(query))
    if held.scalar_one_or_none() is None:
        raise Invalid(f"registry {registry_id} not found")
    row = {"project_id": project_id, "registry_id": registry_id}
    await tx.execute(project_registries.insert().values(row))


def _rows() -> Select[Any]:
    listed = (
        select(func.count())
        .select_from(repositories)
        .where(repositories.c.project_id == projects.c.id, repositories.c.pushed_at.is_not(None))
        .scalar_subquery()
    )
    return (
        select(
            projects,
            users.c.username.label("owner_name"),
            listed.label("repositories"),
            project_registries.c.registry_id,
        )
        .join(users, users.c.id == projects.c.owner_id)
        .outerjoin(project_registries, project_registries.c.project_id == projects.c.id)
    )


async def _described(tx: Tx, rows: Sequence[Any], principal: Principal | None) -> list[Project]:
    """Rows of projects with their metadata and the caller's roles."""
    ids = [row.id for row in rows]
    values = await _values(tx, ids)
    held = await _roles(tx, ids, principal)
    return [_project(row, values.get(row.id, {}), held.get(row.id, set())) for row in rows]


async def _roles(tx: Tx, ids: list[int], principal: Principal | None) -> dict[int, set[int]]:
    if principal is None or principal.kind != "user":
        return {}
    held: dict[int, set[int]] = {}
    for row in await tx.select(_ROLES, ids=tx.dialect.many(ids), user=principal.id):
        held.setdefault(row.project_id, set()).add(row.role_id)
    return held


async def _values(tx: Tx, ids: list[int]) -> dict[int, dict[str, str]]:
    values: dict[int, dict[str, str]] = {}
    for row in await tx.select(_METADATA, ids=tx.dialect.many(ids)):
        values.setdefault(row.project_id, {})[row.name] = row.value
    return values


def _project(row: Any, values: Mapping[str, str], held: Collection[int]) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        public=row.public,
        owner_id=row.owner_id,
        owner_name=row.owner_name,
        created_at=row.created_at,
        updated_at=row.updated_at,
        metadata=values,
        repositories=row.repositories,
        role_ids=tuple(role for role in PRECEDENCE if role in held),
        registry_id=row.registry_id or 0,
    )


_BY_ID = Prepared(lambda _: _rows().where(projects.c.id == bindparam("id")))
_BY_NAME = Prepared(lambda _: _rows().where(projects.c.name == bindparam("name")))
_METADATA = Prepared(
    lambda dialect: select(
        project_metadata.c.project_id, project_metadata.c.name, project_metadata.c.value
    ).where(dialect.among(project_metadata.c.project_id, "ids"))
)
_ROLES = Prepared(
    lambda dialect: select(project_members.c.project_id, project_members.c.role_id).where(
        dialect.among(project_members.c.project_id, "ids"), belonging(bindparam("user"))
    )
)
