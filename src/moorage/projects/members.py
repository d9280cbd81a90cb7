"""Who has which role in a project: users, and groups of users."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, case, delete, func, select, update

from moorage.access.principals import Principal
from moorage.access.roles import (
    PROJECT_ADMIN,
    PROJECT_PAIRS,
    ROLE_NAMES,
    ROLE_PAIRS,
    covers,
)
from moorage.accounts import groups
from moorage.accounts.groups import GROUP_ROLES
from moorage.accounts.memberships import belonging
from moorage.accounts.records import LDAP
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import project_members, projects, user_groups, users
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Denied, Invalid, NotFound
from moorage.events import MemberCreated, MemberDeleted, MemberUpdated, emit
from moorage.projects.holding import hold
from moorage.projects.kinds import ROLE
from moorage.projects.records import GroupName, Member

_NAME = func.coalesce(users.c.username, user_groups.c.name)

FILTERS: Columns = {"entityname": _NAME, "role_id": project_members.c.role_id}
"""What a list of members can be narrowed by."""


def check_role(role_id: int) -> int:
    """Return `role_id`; raises Invalid."""
    if role_id not in ROLE_NAMES:
        raise Invalid(f"unknown role id: {role_id}")
    return role_id


async def add(
    tx: Tx,
    project_id: int,
    role_id: int,
    *,
    user_id: int | None = None,
    group_id: int | None = None,
) -> int:
    """Step: make a user or a group a member, both held.

    Returns the membership's id; raises Conflict.
    """
    _touch(tx, project_id, user_id)
    made = await tx.execute(
        tx.dialect.insert(project_members)
        .values(project_id=project_id, user_id=user_id, group_id=group_id, role_id=role_id)
        .on_conflict_do_nothing()
        .returning(project_members.c.id)
    )
    member_id = made.scalar_one_or_none()
    if member_id is None:
        who = "user" if group_id is None else "group"
        raise Conflict(f"the {who} is a member of the project already")
    return int(member_id)


class Members:
    """The memberships of projects. A membership's id only counts inside its own project."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, project_id: int, query: Query) -> Page[Member]:
        """Members by name."""
        statement = narrow(
            _rows().where(project_members.c.project_id == project_id), query, FILTERS
        )
        async with self._db.read() as tx:
            by_name = ordered(statement, query, {}, _NAME, project_members.c.id)
            found, total = await one_page(tx, by_name, query)
            return Page([Member(**row._mapping) for row in found], total)

    async def get(self, project_id: int, member_id: int) -> Member:
        """Raises NotFound, also for a membership of another project."""
        async with self._db.read() as tx:
            return await _member(tx, project_id, member_id)

    async def roles(self, project_id: int) -> dict[int, int]:
        """How many members have each role."""
        query = (
            select(project_members.c.role_id, func.count().label("members"))
            .where(project_members.c.project_id == project_id)
            .group_by(project_members.c.role_id)
        )
        async with self._db.read() as tx:
            return {row.role_id: row.members for row in await tx.execute(query)}

    async def administers(self, user_id: int) -> bool:
        """Whether the user is an administrator of any project, alone or with a group."""
        mine = (
            select(project_members.c.id)
            .where(belonging(user_id), project_members.c.role_id == PROJECT_ADMIN)
            .limit(1)
        )
        async with self._db.read() as tx:
            return (await tx.execute(mine)).scalar_one_or_none() is not None

    async def add(
        self,
        principal: Principal,
        project_id: int,
        role_id: int,
        *,
        user_id: int | None = None,
        username: str = "",
        group: GroupName | None = None,
    ) -> int:
        """Make a user or a group a member. Returns the membership's id.

        A group that is named and not known yet becomes known. Raises Invalid, ProjectUnknown,
        NotFound (no such user or group), Conflict, Denied.
        """
        check_role(role_id)
        _check_left(principal, project_id, role_id)
        if group is None and not user_id and not username:
            raise Invalid("a member is named by user_id or username, or is a group")

        async def step(tx: Tx) -> int:
            await hold(tx, project_id)
            who: Mapping[str, int]
            if group is not None:
                who = {"group_id": await _group(tx, group)}
            else:
                who = {"user_id": await _user(tx, user_id, username)}
            member_id = await add(tx, project_id, role_id, **who)
            member = await _member(tx, project_id, member_id)
            names = await _names(tx, member)
            await emit(
                tx, MemberCreated(operator=principal.name, role=ROLE_NAMES[role_id], **names)
            )
            return member_id

        return await self._db.run(step)

    async def change(
        self, principal: Principal, project_id: int, member_id: int, role_id: int
    ) -> None:
        """Give another role; raises Invalid, NotFound, Denied."""
        check_role(role_id)
        _check_left(principal, project_id, role_id)

        async def step(tx: Tx) -> None:
            changed = await tx.execute(
                update(project_members)
                .where(*_one(project_id, member_id))
                .values(role_id=role_id, updated_at=now())
            )
            if not changed.rowcount:
                raise _missing(member_id)
            member = await _member(tx, project_id, member_id)
            _touch(tx, project_id, member.entity_id if member.kind == "u" else None)
            names = await _names(tx, member)
            await emit(
                tx, MemberUpdated(operator=principal.name, role=ROLE_NAMES[role_id], **names)
            )

        await self._db.run(step)

    async def remove(self, principal: Principal, project_id: int, member_id: int) -> None:
        """End a membership; raises NotFound."""

        async def step(tx: Tx) -> None:
            member = await _member(tx, project_id, member_id)
            gone = await tx.execute(delete(project_members).where(*_one(project_id, member_id)))
            if not gone.rowcount:  # somebody else ended it at this moment
                raise _missing(member_id)
            _touch(tx, project_id, member.entity_id if member.kind == "u" else None)
            await emit(tx, MemberDeleted(operator=principal.name, **await _names(tx, member)))

        await self._db.run(step)


def _check_left(principal: Principal, project_id: int, role_id: int) -> None:
    """Whoever came with a token of few rights gives no role that has more; raises Denied.

    Only administrators of a project hold the right to add members, so nobody else needs a look.
    """
    if principal.bounds is None:
        return
    role = ROLE_PAIRS[role_id] & PROJECT_PAIRS  # what a token can leave at all
    if not covers(principal.bounds.within(project_id), role):
        raise Denied("a token cannot give a role that has more rights than the token leaves")


async def _user(tx: Tx, user_id: int | None, username: str) -> int:
    who = users.c.id == user_id if user_id else users.c.username == username
    query = tx.dialect.for_key_share(select(users.c.id).where(who))
    found = (await tx.execute(query)).scalar_one_or_none()
    if found is None:
        raise NotFound("user not found")
    return int(found)


async def _group(tx: Tx, group: GroupName) -> int:
    """The group, known from now on; raises Invalid, NotFound for an id that is none."""
    group_id = group.id
    if not group_id:
        kind = LDAP if group.ldap_dn else group.kind
        named = {group.ldap_dn or group.name: group.name}
        (group_id,) = await groups.known(tx, kind, named)
    query = tx.dialect.for_key_share(select(user_groups.c.id).where(user_groups.c.id == group_id))
    if (await tx.execute(query)).scalar_one_or_none() is None:
        raise NotFound(f"user group {group_id} not found")
    return group_id


async def _member(tx: Tx, project_id: int, member_id: int) -> Member:
    row = (await tx.execute(_rows().where(*_one(project_id, member_id)))).one_or_none()
    if row is None:
        raise _missing(member_id)
    return Member(**row._mapping)


async def _names(tx: Tx, member: Member) -> dict[str, Any]:
    """What a fact says of a membership."""
    query = select(projects.c.name).where(projects.c.id == member.project_id)
    project = (await tx.execute(query)).scalar_one()
    return {"project_id": member.project_id, "project": project, "member": member.name}


def _one(project_id: int, member_id: int) -> tuple[ColumnElement[bool], ...]:
    return project_members.c.project_id == project_id, project_members.c.id == member_id


def _touch(tx: Tx, project_id: int, user_id: int | None) -> None:
    """What is cached of a user's role, or of those of the project's groups."""
    tx.touch(GROUP_ROLES.key(project_id) if user_id is None else ROLE.key(project_id, user_id))


def _missing(member_id: int) -> NotFound:
    return NotFound(f"project member {member_id} not found")


def _rows() -> Select[Any]:
    is_user = project_members.c.user_id.is_not(None)
    return (
        select(
            project_members.c.id,
            project_members.c.project_id,
            project_members.c.role_id,
            case((is_user, "u"), else_="g").label("kind"),
            func.coalesce(project_members.c.user_id, project_members.c.group_id).label("entity_id"),
            _NAME.label("name"),
        )
        .outerjoin(users, users.c.id == project_members.c.user_id)
        .outerjoin(user_groups, user_groups.c.id == project_members.c.group_id)
    )
