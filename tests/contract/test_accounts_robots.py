"""Robot accounts, on both databases."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.support.accounts import PASSWORD, Replica, in_project, in_system

from moorage.access import roles
from moorage.access.principals import ANONYMOUS, Principal
from moorage.accounts.bootstrap import first_admin
from moorage.accounts.passwords import check_password
from moorage.accounts.records import Login, Permission
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Exact, Query
from moorage.db.types import from_now
from moorage.errors import Conflict, Denied, Invalid, NotFound, ProjectUnknown

pytestmark = pytest.mark.anyio

ADMIN = Principal("user", 1, "admin", sysadmin=True)
PULL = in_project("team", "repository:pull")


@pytest.fixture
async def replica(database: Database) -> AsyncIterator[Replica]:
    """One process with an administrator and the projects `team` and `other`."""
    replica = Replica(database)
    await first_admin(database, replica.passwords, "admin", PASSWORD)
    await replica.projects.create(ADMIN, "team")
    await replica.projects.create(ADMIN, "other")
    yield replica
    await replica.close()


async def member(replica: Replica, name: str, role: int) -> Principal:
    """A user with a role in `team`."""
    user = await replica.user(name)
    team = await replica.projects.by_name("team")
    await replica.members.add(ADMIN, team.id, role, user_id=user.id)
    return user


async def login(replica: Replica, name: str, secret: str) -> Login | None:
    """Sign in."""
    return await replica.logins.verify(name, secret, "10.0.0.1")


async def test_a_project_robot(replica: Replica) -> None:
    """Its name holds prefix and project; its secret works and obeys the rule for passwords."""
    made = await replica.robots.create(
        ADMIN, name="builder", level="project", permissions=[PULL], duration=7, description="CI"
    )
    robot = made.robot
    assert robot.name == "robot$team+builder"
    assert (robot.level, robot.project, robot.permissions) == ("project", "team", (PULL,))
    assert robot.creator == "user:1"
    assert robot.expires_at is not None
    assert abs(robot.expires_at - robot.created_at - timedelta(days=7)) < timedelta(minutes=5)
    assert len(made.secret) == 32
    check_password(made.secret)
    found = await login(replica, robot.name, made.secret)
    assert found is not None
    assert found.principal == Principal("robot", robot.id, robot.name)


async def test_a_system_robot(replica: Replica) -> None:
    """It may have rights in the system, in some projects and in all."""
    permissions = (
        in_system("catalog:read"),
        in_project("*", "repository:pull"),
        in_project("team", "repository:push"),
    )
    made = await replica.robots.create(
        ADMIN, name="mirror", level="system", permissions=permissions, duration=-1
    )
    assert made.robot.name == "robot$mirror"
    assert made.robot.expires_at is None
    assert set(made.robot.permissions) == set(permissions)
    assert await login(replica, "robot$mirror", made.secret)


async def test_a_project_robot_that_pushes_also_pulls(replica: Replica) -> None:
    """Clients read what they are about to replace."""
    push = in_project("team", "repository:push")
    made = await replica.robots.create(ADMIN, name="p", level="project", permissions=[push])
    assert made.robot.permissions[0].access == {("repository", "push"), ("repository", "pull")}


async def test_the_secret_is_shown_once(replica: Replica) -> None:
    """Nothing that can be read later, printed or stored holds it."""
    made = await replica.robots.create(ADMIN, name="x", level="project", permissions=[PULL])
    again = await replica.robots.get(made.robot.id)
    async with replica.db.read() as tx:
        row = (await tx.execute(tables.robots.select())).one()
    for text in (repr(made), repr(again), str(tuple(row))):
        assert made.secret not in text


REFUSED: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"name": "Upper"}, Invalid),
    ({"name": "a+b"}, Invalid),
    ({"name": "a$b"}, Invalid),
    ({"name": ""}, Invalid),
    ({"name": "a" * 201}, Invalid),
    ({"name": "-a"}, Invalid),
    ({"duration": 0}, Invalid),
    ({"duration": -2}, Invalid),
    ({"duration": 10**9}, Invalid),
    ({"level": "global"}, Invalid),
    ({"secret": "weak"}, Invalid),
    ({"description": "x" * 1025}, Invalid),
    ({"permissions": []}, Invalid),
    ({"permissions": [in_project("team")]}, Invalid),
    ({"permissions": [in_project("team", "repository:own")]}, Invalid),
    ({"permissions": [in_project("team", "catalog:read")]}, Invalid),
    ({"permissions": [in_project("*", "repository:pull")]}, Invalid),
    ({"permissions": [in_system("catalog:read")]}, Invalid),
    ({"permissions": [PULL, in_project("other", "repository:pull")]}, Invalid),
    ({"permissions": [in_project("missing", "repository:pull")]}, ProjectUnknown),
    ({"level": "system", "permissions": [in_system("configuration:update")]}, Invalid),
    ({"level": "system", "permissions": [Permission("system", "team", PULL.access)]}, Invalid),
]


async def test_what_is_refused(replica: Replica) -> None:
    """Names, durations, secrets and permissions that no robot account can have."""
    for changes, error in REFUSED:
        request = {"name": "x", "level": "project", "permissions": [PULL], **changes}
        with pytest.raises(error):
            await replica.robots.create(ADMIN, **request)
    assert (await replica.robots.list(Query())).total == 0


async def test_the_message_for_a_permission_is_harbors(replica: Replica) -> None:
    """Clients show it."""
    with pytest.raises(Invalid, match=r"^bad request permission: repository:own$"):
        await replica.robots.create(
            ADMIN, name="x", level="project", permissions=[in_project("team", "repository:own")]
        )


async def test_a_name_is_taken_once_per_project(replica: Replica) -> None:
    """The same name elsewhere is another account."""
    other = in_project("other", "repository:pull")
    await replica.robots.create(ADMIN, name="x", level="project", permissions=[PULL])
    await replica.robots.create(ADMIN, name="x", level="project", permissions=[other])
    await replica.robots.create(ADMIN, name="x", level="system", permissions=[other])
    with pytest.raises(Conflict):
        await replica.robots.create(ADMIN, name="x", level="project", permissions=[PULL])
    page = await replica.robots.list(Query({"level": Exact("project")}))
    assert [robot.name for robot in page.items] == ["robot$other+x", "robot$team+x"]


async def test_disabled_and_expired_accounts_are_nobody_at_once(replica: Replica) -> None:
    """Although their credentials were right a moment ago."""
    made = await replica.robots.create(ADMIN, name="x", level="project", permissions=[PULL])
    name, robot_id = made.robot.name, made.robot.id
    assert await login(replica, name, made.secret)
    await replica.robots.update(ADMIN, robot_id, disabled=True)
    assert await login(replica, name, made.secret) is None
    await replica.robots.update(ADMIN, robot_id, disabled=False)
    assert await login(replica, name, made.secret)
    replica.clock.advance(31 * 86400)
    assert await login(replica, name, made.secret) is None


async def test_a_new_secret_ends_the_old_one(replica: Replica) -> None:
    """Random, or chosen under the rule for passwords."""
    made = await replica.robots.create(ADMIN, name="x", level="project", permissions=[PULL])
    assert await login(replica, made.robot.name, made.secret)
    fresh = await replica.robots.refresh(ADMIN, made.robot.id)
    assert await login(replica, made.robot.name, made.secret) is None
    assert await login(replica, made.robot.name, fresh)
    with pytest.raises(Invalid):
        await replica.robots.refresh(ADMIN, made.robot.id, "weak")
    assert await replica.robots.refresh(ADMIN, made.robot.id, PASSWORD) == PASSWORD
    assert await login(replica, made.robot.name, PASSWORD)


async def test_a_deleted_account_is_gone(replica: Replica) -> None:
    """At once, too."""
    made = await replica.robots.create(ADMIN, name="x", level="project", permissions=[PULL])
    assert await login(replica, made.robot.name, made.secret)
    await replica.robots.delete(ADMIN, made.robot.id)
    assert await login(replica, made.robot.name, made.secret) is None
    for attempt in (
        replica.robots.get(made.robot.id),
        replica.robots.update(ADMIN, made.robot.id, disabled=True),
        replica.robots.refresh(ADMIN, made.robot.id),
        replica.robots.delete(ADMIN, made.robot.id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_deleted_project_takes_its_robots_along(replica: Replica) -> None:
    """Their credentials, verified a moment ago, are worth nothing."""
    made = await replica.robots.create(ADMIN, name="x", level="project", permissions=[PULL])
    assert await login(replica, made.robot.name, made.secret)
    assert made.robot.project_id is not None
    await replica.projects.delete(ADMIN, made.robot.project_id)
    assert await login(replica, made.robot.name, made.secret) is None


async def test_a_new_duration_counts_from_the_creation(replica: Replica) -> None:
    """An account that is longer than its new duration has expired."""
    made = await replica.robots.create(ADMIN, name="x", level="project", permissions=[PULL])
    async with replica.db.write() as tx:
        await tx.execute(update(tables.robots).values(created_at=from_now(-3 * 86400)))
    await replica.robots.update(ADMIN, made.robot.id, duration=5)
    robot = await replica.robots.get(made.robot.id)
    assert robot.expires_at is not None
    assert abs(robot.expires_at - robot.created_at - timedelta(days=5)) < timedelta(minutes=5)
    await replica.robots.update(ADMIN, made.robot.id, duration=2)
    assert await login(replica, made.robot.name, made.secret) is None
    await replica.robots.update(ADMIN, made.robot.id, duration=-1)
    assert (await replica.robots.get(made.robot.id)).expires_at is None


async def test_a_robot_stays_in_its_project(replica: Replica) -> None:
    """Its rights change, its place does not."""
    made = await replica.robots.create(ADMIN, name="x", level="project", permissions=[PULL])
    with pytest.raises(Invalid):
        await replica.robots.update(
            ADMIN, made.robot.id, permissions=[in_project("other", "repository:pull")]
        )
    tags = in_project("team", "tag:list")
    await replica.robots.update(ADMIN, made.robot.id, permissions=[tags])
    assert (await replica.robots.get(made.robot.id)).permissions == (tags,)


async def test_who_may_manage_robots_of_a_project(replica: Replica) -> None:
    """Its administrators; no other role, nobody from elsewhere, and nobody at all."""
    admin = await member(replica, "padmin", roles.PROJECT_ADMIN)
    made = await replica.robots.create(admin, name="x", level="project", permissions=[PULL])
    await replica.robots.update(admin, made.robot.id, description="mine")
    outsiders = [await replica.user("stranger"), ANONYMOUS, Principal("user", 999, "ghost")]
    others = (roles.MAINTAINER, roles.DEVELOPER, roles.GUEST, roles.LIMITED_GUEST)
    outsiders += [await member(replica, f"role{role}", role) for role in others]
    for actor in outsiders:
        for attempt in (
            replica.robots.create(actor, name="y", level="project", permissions=[PULL]),
            replica.robots.update(actor, made.robot.id, disabled=True),
            replica.robots.refresh(actor, made.robot.id),
            replica.robots.delete(actor, made.robot.id),
        ):
            with pytest.raises(Denied):
                await attempt
    with pytest.raises(Denied):
        await replica.robots.create(
            admin,
            name="y",
            level="project",
            permissions=[in_project("other", "repository:pull")],
        )
    with pytest.raises(Denied):
        await replica.robots.create(admin, name="y", level="system", permissions=[PULL])


async def test_a_project_admin_may_tick_every_box(replica: Replica) -> None:
    """The whole list for project robots."""
    admin = await member(replica, "padmin", roles.PROJECT_ADMIN)
    every = Permission("project", "team", roles.PROJECT_PAIRS)
    made = await replica.robots.create(admin, name="x", level="project", permissions=[every])
    assert made.robot.permissions == (every,)


async def test_who_gets_a_secret_gets_the_rights(replica: Replica) -> None:
    """So a robot account cannot refresh or change one that holds more than it."""
    strong = await replica.robots.create(
        ADMIN,
        name="strong",
        level="system",
        permissions=[in_system("user:update"), in_system("robot:create")],
    )
    weak = await replica.robots.create(
        ADMIN, name="weak", level="system", permissions=[in_system("robot:create", "robot:delete")]
    )
    actor = Principal("robot", weak.robot.id, weak.robot.name)
    with pytest.raises(Denied):
        await replica.robots.refresh(actor, strong.robot.id)
    with pytest.raises(Denied):
        await replica.robots.create(
            actor, name="y", level="system", permissions=[in_system("user:update")]
        )


async def test_a_disabled_robot_creates_nothing(replica: Replica) -> None:
    """Even when it was identified before."""
    made = await replica.robots.create(
        ADMIN, name="maker", level="system", permissions=[in_system("robot:create")]
    )
    actor = Principal("robot", made.robot.id, made.robot.name)
    child = in_system("robot:create")
    await replica.robots.create(actor, name="one", level="system", permissions=[child])
    await replica.robots.update(ADMIN, made.robot.id, disabled=True)
    with pytest.raises(Denied):
        await replica.robots.create(actor, name="two", level="system", permissions=[child])


async def test_those_that_expired_long_ago_are_deleted_when_asked(
    replica: Replica, database: Database
) -> None:
    """In batches, each told to the audit log; those that live or expired lately stay."""
    robots = replica.robots
    names = {"old": -40, "older": -400, "lately": -3, "alive": 3, "for-ever": None}
    made = {}
    for name in names:
        rights = [in_system("user:list")]
        created = await robots.create(
            ADMIN, name=name, level="system", permissions=rights, duration=-1
        )
        made[created.robot.id] = name
    async with database.write() as tx:
        for robot_id, name in made.items():
            days = names[name]
            ends = None if days is None else from_now(days * 86400.0)
            mine = update(tables.robots).where(tables.robots.c.id == robot_id)
            await tx.execute(mine.values(expires_at=ends))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moorage.accounts.robots._BATCH", 1)
        gone = [await robots.delete_expired("cleanup", 30) for _ in range(3)]
    assert gone == [1, 1, 0]
    left = await robots.list(Query())
    assert {made[each.id] for each in left.items} == {"lately", "alive", "for-ever"}
    async with database.read() as tx:
        rows = await tx.execute(select(tables.outbox).where(tables.outbox.c.type == "RobotDeleted"))
        told = {(row.payload["robot"], row.payload["operator"]) for row in rows}
    assert told == {("robot$old", "cleanup"), ("robot$older", "cleanup")}
