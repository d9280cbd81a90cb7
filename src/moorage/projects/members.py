"""Who has which role in a project."""

from typing import Any

from sqlalchemy import Select, delete, select, update

from moorage.access.principals import Principal
from moorage.access.roles import PROJECT_ADMIN, ROLE_NAMES
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, count, narrow, ordered, paged
from moorage.db.tables import project_members, projects, users
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Invalid, NotFound
from moorage.events import MemberCreated, MemberDeleted, MemberUpdated, emit
from moorage.projects.holding import hold
from moorage.projects.kinds import ROLE
from moorage.projects.records import Member

FILTERS: Columns = {"entityname": users.c.username, "role_id": project_members.c.role_id}
"""What a list of members can be narrowed by."""


def check_role(role_id: int) -> int:
    """Return `role_id`; raises Invalid."""
    if role_id not in ROLE_NAMES:
        raise Invalid(f"unknown role id: {role_id}")
    return role_id


async def add(tx: Tx, project_id: int, user_id: int, role_id: int) -> int:
    """Step: make the user a member, both held. Returns the membership's id; raises Conflict."""
    tx.touch(ROLE.key(project_id, user_id))
    made = await tx.execute(
        tx.dialect.insert(project_members)
        .values(project_id=project_id, user_id=user_id, role_id=role_id)
        .on_conflict_do_nothing()
        .returning(project_members.c.id)
    )
    member_id = made.scalar_one_or_none()
    if member_id is None:
        raise Conflict("the user is a member of the project already")
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
            total = await count(tx, statement)
            found = await tx.execute(paged(ordered(statement, query, {}, users.c.username), query))
            return Page([Member(**row._mapping) for row in found], total)

    async def get(self, project_id: int, member_id: int) -> Member:
        """Raises NotFound, also for a membership of another project."""
        async with self._db.read() as tx:
            found = await tx.execute(
                _rows().where(
                    project_members.c.project_id == project_id, project_members.c.id == member_id
                )
            )
            row = found.one_or_none()
        if row is None:
            raise NotFound(f"project member {member_id} not found")
        return Member(**row._mapping)

    async def roles(self, project_id: int) -> dict[int, int]:
        """How many members have each role."""
        page = await self.list(project_id, Query(size=100_000))
        counts: dict[int, int] = {}
        for member in page.items:
            counts[member.role_id] = counts.get(member.role_id, 0) + 1
        return counts

    async def administers(self, user_id: int) -> bool:
        """Whether the user is an administrator of any project."""
        mine = (
            select(project_members.c.id)
            .where(project_members.c.user_id == user_id, project_members.c.role_id == PROJECT_ADMIN)
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
    ) -> int:
        """Make a user a member, by id or by name. Returns the membership's id.

        Raises Invalid, ProjectUnknown, NotFound (no such user), Conflict.
        """
        check_role(role_id)
        if not user_id and not username:
            raise Invalid("a member is named by user_id or username")

        async def step(tx: Tx) -> int:
            await hold(tx, project_id)
            who = users.c.id == user_id if user_id else users.c.username == username
            query = tx.dialect.for_key_share(select(users.c.id).where(who))
            found = (await tx.execute(query)).scalar_one_or_none()
            if found is None:
                raise NotFound("user not found")
            made = await add(tx, project_id, int(found), role_id)
            await emit(
                tx,
                MemberCreated(
                    operator=principal.name,
                    role=ROLE_NAMES[role_id],
                    **await _names(tx, project_id, int(found)),
                ),
            )
            return made

        return await self._db.run(step)

    async def change(
        self, principal: Principal, project_id: int, member_id: int, role_id: int
    ) -> None:
        """Give another role; raises Invalid, NotFound."""
        check_role(role_id)

        async def step(tx: Tx) -> None:
            changed = await tx.execute(
                update(project_members)
                .where(
                    project_members.c.project_id == project_id, project_members.c.id == member_id
                )
                .values(role_id=role_id, updated_at=now())
                .returning(project_members.c.user_id)
            )
            user_id = _touched(tx, project_id, member_id, changed.scalar_one_or_none())
            await emit(
                tx,
                MemberUpdated(
                    operator=principal.name,
                    role=ROLE_NAMES[role_id],
                    **await _names(tx, project_id, user_id),
                ),
            )

        await self._db.run(step)

    async def remove(self, principal: Principal, project_id: int, member_id: int) -> None:
        """End a membership; raises NotFound."""

        async def step(tx: Tx) -> None:
            gone = await tx.execute(
                delete(project_members)
                .where(
                    project_members.c.project_id == project_id, project_members.c.id == member_id
                )
                .returning(project_members.c.user_id)
            )
            user_id = _touched(tx, project_id, member_id, gone.scalar_one_or_none())
            names = await _names(tx, project_id, user_id)
            await emit(tx, MemberDeleted(operator=principal.name, **names))

        await self._db.run(step)


def _touched(tx: Tx, project_id: int, member_id: int, user_id: int | None) -> int:
    """The user of a membership that was changed; raises NotFound when there was none."""
    if user_id is None:
        raise NotFound(f"project member {member_id} not found")
    tx.touch(ROLE.key(project_id, user_id))
    return user_id


async def _names(tx: Tx, project_id: int, user_id: int) -> dict[str, Any]:
    """What a fact says of a membership."""
    project = select(projects.c.name).where(projects.c.id == project_id).scalar_subquery()
    query = select(project.label("project"), users.c.username.label("member")).where(
        users.c.id == user_id
    )
    row = (await tx.execute(query)).one()
    return {"project_id": project_id, "project": row.project, "member": row.member}


def _rows() -> Select[Any]:
    return select(
        project_members.c.id,
        project_members.c.project_id,
        project_members.c.user_id,
        users.c.username,
        project_members.c.role_id,
    ).join(users, users.c.id == project_members.c.user_id)
