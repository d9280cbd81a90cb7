"""User groups: names that a provider gives to its users, which projects give roles to.

    sign-in ─► known(names) ─► ids ─► belong(user, ids)

Who is in a group is the provider's to say: it is written down at every sign-in, and nothing here
adds anybody. A name alone means nothing: a group is known by its kind and its name, and one of
LDAP by its DN.

    cached       key         value                  touched by
    user-groups  user id     ids of the user's      `belong`, and the delete of one of the groups
                             groups
    group-roles  project id  role by group          every change of a group's membership there, and
                                                    the delete of the group
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import ColumnElement, delete, select, update

from moorage.access.principals import Principal
from moorage.accounts import dn
from moorage.accounts.records import HTTP, LDAP, OIDC, Group
from moorage.accounts.standing import touch_user
from moorage.cache.base import Kind
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import project_members, user_group_members, user_groups, users
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Invalid, NotFound
from moorage.events import GroupCreated, GroupDeleted, GroupUpdated, emit

FIELDS: Columns = {"group_name": user_groups.c.name, "ldap_group_dn": user_groups.c.ldap_dn}
"""What a list of groups can be narrowed by."""

MAX_NAME = 255
MOST = 1000
"""Groups of one user that count; a provider may name more."""

GROUPS: Kind[list[int]] = Kind("user-groups", orjson.dumps, orjson.loads)
GROUP_ROLES: Kind[list[tuple[int, int]]] = Kind("group-roles", orjson.dumps, orjson.loads)

SAY_WHO_ADMINISTERS = frozenset(
    {
        "auth_mode",
        "ldap_url",
        "ldap_base_dn",
        "ldap_group_admin_dn",
        "ldap_group_base_dn",
        "ldap_group_membership_attribute",
        "oidc_endpoint",
        "oidc_admin_group",
        "oidc_groups_claim",
    }
)
"""Settings by which a group makes administrators."""

Names = Mapping[str, str]
"""Groups by what they are known by: DN or name → the name that is shown."""


class Groups:
    """The groups of this installation."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, query: Query) -> Page[Group]:
        """Groups by name."""
        statement = narrow(select(user_groups), query, FIELDS)
        async with self._db.read() as tx:
            by_name = ordered(statement, query, {}, user_groups.c.name, user_groups.c.id)
            found, total = await one_page(tx, by_name, query)
            return Page([_group(row) for row in found], total)

    async def get(self, group_id: int) -> Group:
        """Raises NotFound."""
        async with self._db.read() as tx:
            found = await tx.execute(select(user_groups).where(user_groups.c.id == group_id))
            row = found.one_or_none()
        if row is None:
            raise _missing(group_id)
        return _group(row)

    async def create(self, actor: Principal, kind: int, name: str, ldap_dn: str = "") -> int:
        """Make a group known; its id. One of LDAP needs its DN. Raises Invalid, Conflict."""
        values = _values(kind, name, ldap_dn)

        async def step(tx: Tx) -> int:
            group_id = await _insert(tx, values)
            if group_id is None:
                raise Conflict("the group is known already")
            await emit(tx, GroupCreated(operator=actor.name, group=values["name"]))
            return group_id

        return await self._db.run(step)

    async def rename(self, actor: Principal, group_id: int, name: str) -> None:
        """Show another name; raises Invalid, NotFound, Conflict."""
        _check_name(name)

        async def step(tx: Tx) -> None:
            this = user_groups.c.id == group_id
            row = (await tx.execute(tx.dialect.for_update(select(user_groups).where(this)))).first()
            if row is None:
                raise _missing(group_id)
            if row.kind != LDAP:  # known by its name
                same = _known_by(row.kind, name) & (user_groups.c.id != group_id)
                if (await tx.execute(select(user_groups.c.id).where(same))).first():
                    raise Conflict("the group is known already")
            await tx.execute(update(user_groups).where(this).values(name=name, updated_at=now()))
            await emit(tx, GroupUpdated(operator=actor.name, group=name))

        await self._db.run(step)

    async def delete(self, actor: Principal, group_id: int) -> None:
        """Forget a group with its roles in projects; raises NotFound."""

        async def step(tx: Tx) -> None:
            this = user_groups.c.id == group_id
            held = tx.dialect.for_update(select(user_groups.c.name).where(this))
            name = (await tx.execute(held)).scalar_one_or_none()
            if name is None:
                raise _missing(group_id)
            inside = user_group_members.c.group_id == group_id
            for user_id in (
                await tx.execute(select(user_group_members.c.user_id).where(inside))
            ).scalars():
                tx.touch(GROUPS.key(user_id))
            has_role = project_members.c.group_id == group_id
            for project_id in (
                await tx.execute(select(project_members.c.project_id).where(has_role))
            ).scalars():
                tx.touch(GROUP_ROLES.key(project_id))
            await tx.execute(delete(user_groups).where(this))
            await emit(tx, GroupDeleted(operator=actor.name, group=name))

        await self._db.run(step)


async def known(tx: Tx, kind: int, names: Names) -> list[int]:
    """Step: ids of groups that a provider names, by name; those that are new become known."""
    found = []
    for key in sorted(names):  # one order for all: two sign-ins cannot deadlock
        values = _values(kind, names[key], key if kind == LDAP else "")
        query = select(user_groups.c.id).where(_same(values))
        group_id = (await tx.execute(query)).scalar_one_or_none()
        if group_id is None:
            group_id = await _insert(tx, values)
        if group_id is None:  # somebody else was first
            group_id = (await tx.execute(query)).scalar_one()
        found.append(int(group_id))
    return found


async def belong(tx: Tx, user_id: int, group_ids: Iterable[int], *, admin: bool) -> None:
    """Step: the user is in these groups and no other, and an administrator by them or not.

    Who administers no longer has to sign in again everywhere.
    """
    query = select(users.c.admin_in_auth).where(users.c.id == user_id)
    before = (await tx.execute(tx.dialect.for_update(query))).scalar_one_or_none()
    if before is None:
        raise NotFound(f"user {user_id} not found")
    if before != admin:
        changes: dict[str, Any] = {"admin_in_auth": admin, "updated_at": now()}
        if before:
            changes["revision"] = users.c.revision + 1
        await tx.execute(update(users).where(users.c.id == user_id).values(changes))
        touch_user(tx, user_id)
    wanted = set(sorted(set(group_ids))[:MOST])
    mine = user_group_members.c.user_id == user_id
    held = set((await tx.execute(select(user_group_members.c.group_id).where(mine))).scalars())
    if wanted == held:
        return
    tx.touch(GROUPS.key(user_id))
    gone = mine & user_group_members.c.group_id.in_(held - wanted)
    await tx.execute(delete(user_group_members).where(gone))
    there = tx.dialect.for_key_share(
        select(user_groups.c.id).where(user_groups.c.id.in_(wanted - held)).order_by("id")
    )
    rows = [
        {"user_id": user_id, "group_id": group_id}
        for group_id in (await tx.execute(there)).scalars()
    ]
    if rows:
        await tx.execute(user_group_members.insert(), rows)


async def follow(tx: Tx, names: Collection[str]) -> None:
    """Step: with settings that say who administers, nobody does by a group until he signs in."""
    if not SAY_WHO_ADMINISTERS.intersection(names):
        return
    query = select(users.c.id).where(users.c.admin_in_auth).order_by(users.c.id)
    found = (await tx.execute(tx.dialect.for_update(query))).scalars().all()
    for user_id in found:
        touch_user(tx, user_id)
    await tx.execute(
        update(users)
        .where(users.c.id.in_(found))
        .values(admin_in_auth=False, revision=users.c.revision + 1, updated_at=now())
    )


async def of(tx: Tx, user_id: int) -> list[int]:
    """Step: ids of the user's groups."""
    query = select(user_group_members.c.group_id).where(user_group_members.c.user_id == user_id)
    return [int(group_id) for group_id in (await tx.execute(query)).scalars()]


def _values(kind: int, name: str, ldap_dn: str) -> dict[str, Any]:
    """The columns of a group; raises Invalid."""
    if kind not in (LDAP, HTTP, OIDC):
        raise Invalid("group_type is 1 for LDAP, 2 for HTTP or 3 for OIDC")
    if kind != LDAP:
        _check_name(name)
        return {"kind": kind, "name": name, "ldap_dn": None}
    if not ldap_dn:
        raise Invalid("a group of LDAP needs ldap_group_dn")
    shown = name or ldap_dn
    return {"kind": kind, "name": shown[:MAX_NAME], "ldap_dn": dn.normal(ldap_dn)}


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise Invalid(f"group_name has 1 to {MAX_NAME} printable characters")


def _same(values: Mapping[str, Any]) -> ColumnElement[bool]:
    if values["kind"] == LDAP:
        named: str = values["ldap_dn"]
        return user_groups.c.ldap_dn == named
    return _known_by(values["kind"], values["name"])


def _known_by(kind: int, name: str) -> ColumnElement[bool]:
    return (user_groups.c.kind == kind) & (user_groups.c.name == name)


async def _insert(tx: Tx, values: Mapping[str, Any]) -> int | None:
    made = tx.dialect.insert(user_groups).values(**values).on_conflict_do_nothing()
    found = await tx.execute(made.returning(user_groups.c.id))
    group_id = found.scalar_one_or_none()
    return None if group_id is None else int(group_id)


def _missing(group_id: int) -> NotFound:
    return NotFound(f"user group {group_id} not found")


def _group(row: Any) -> Group:
    return Group(row.id, row.name, row.kind, row.ldap_dn or "")
