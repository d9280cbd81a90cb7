"""Nobody grants more than he holds: random actors, random requests, judged by `Grants`."""

from collections.abc import AsyncIterator
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.accounts import PASSWORD, Replica

from moorage.access import roles
from moorage.access.principals import ANONYMOUS, Principal
from moorage.access.roles import Pairs
from moorage.accounts.bootstrap import first_admin
from moorage.accounts.permissions import Level
from moorage.accounts.records import Permission
from moorage.accounts.users import is_sysadmin
from moorage.db.engine import Database
from moorage.errors import Denied, Invalid

pytestmark = pytest.mark.anyio

ADMIN = Principal("user", 1, "admin", sysadmin=True)
PROJECTS = ("one", "two", "three")

# Few pairs, so that a request within the actor's rights is not a miracle.
SYSTEM = [("robot", "create"), ("robot", "delete"), ("catalog", "read"), ("user", "update")]
PROJECT = [
    ("robot", "create"),
    ("repository", "pull"),
    ("repository", "push"),
    ("repository", "delete"),
    ("label", "read"),
    ("label", "list"),
    ("member", "create"),
]


def scopes(kind: str) -> st.SearchStrategy[Permission]:
    """Permissions of one kind; now and then a pair that belongs to the other."""
    pairs = SYSTEM if kind == "system" else PROJECT
    names = st.just("/") if kind == "system" else st.sampled_from((*PROJECTS, "*"))
    access = st.frozensets(st.sampled_from(pairs), min_size=1, max_size=4)
    if kind == "system":
        return st.builds(Permission, st.just("system"), names, access)
    return st.builds(Permission, st.just("project"), names, access)


PERMISSIONS = st.lists(scopes("project") | scopes("system"), min_size=1, max_size=4)
# Whoever is to make others needs the right to, or every example ends at once.
MAKER = st.lists(scopes("project"), max_size=3).map(
    lambda more: [Permission("system", "/", frozenset({("robot", "create")})), *more]
)
# One pair in one scope: whether it may be granted hangs on nothing else in the request.
CHILD = (scopes("project") | scopes("system")).map(
    lambda scope: [Permission(scope.kind, scope.namespace, frozenset(sorted(scope.access)[:1]))]
)
LEVELS = st.sampled_from(("system", "project"))


@pytest.fixture
async def replica(database: Database) -> AsyncIterator[Replica]:
    """Three projects, and a user for each role in the first."""
    replica = Replica(database)
    await first_admin(database, replica.passwords, "admin", PASSWORD)
    for name in PROJECTS:
        await replica.projects.create(ADMIN, name)
    one = await replica.projects.by_name("one")
    for role, name in roles.ROLE_NAMES.items():
        user = await replica.user(name)
        await replica.members.add(ADMIN, one.id, role, user_id=user.id)
    yield replica
    await replica.close()


async def rights(replica: Replica, who: Principal) -> dict[str, Pairs]:
    """All rights of somebody, by scope; who reads may list."""
    found = {"/": await replica.grants.system(who)}
    for name in PROJECTS:
        found[name] = await replica.grants.actions(who, name)
    return {
        scope: pairs | {(name, "list") for name, action in pairs if action == "read"}
        for scope, pairs in found.items()
    }


async def make(
    replica: Replica, actor: Principal, name: str, level: Level, permissions: list[Permission]
) -> Principal | None:
    """A robot account made by `actor`, if he may."""
    try:
        made = await replica.robots.create(
            actor, name=name, level=level, permissions=permissions, duration=-1
        )
    except (Denied, Invalid):
        return None
    return Principal("robot", made.robot.id, made.robot.name)


_NAMES = count()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    first=st.tuples(st.just("system"), MAKER) | st.tuples(LEVELS, PERMISSIONS),
    second=st.tuples(st.just("system"), CHILD) | st.tuples(LEVELS, PERMISSIONS),
    changed=PERMISSIONS,
)
async def test_no_chain_of_robots_gains_rights(
    replica: Replica,
    first: tuple[Level, list[Permission]],
    second: tuple[Level, list[Permission]],
    changed: list[Permission],
) -> None:
    """A robot account that a robot account made, or changed, holds nothing that its maker lacks.

    GHSA-w5fq-xrhj-j7g2, GHSA-xq2m-cj8w-56v5.
    """
    maker = await make(replica, ADMIN, f"maker{next(_NAMES)}", *first)
    if maker is None:
        return
    limits = await rights(replica, maker)
    child = await make(replica, maker, f"child{next(_NAMES)}", *second)
    if child is not None:
        for scope, pairs in (await rights(replica, child)).items():
            assert pairs <= limits[scope]
        everywhere = await replica.projects.create(ADMIN, f"later{next(_NAMES)}")
        ref = await replica.grants.project_by_id(everywhere)
        assert ref is not None
        # A project that comes later is open to the child only if it is to its maker.
        held = await replica.grants.within(maker, ref)
        held |= {(name, "list") for name, action in held if action == "read"}
        assert await replica.grants.within(child, ref) <= held
        try:
            await replica.robots.update(maker, child.id, permissions=changed)
        except (Denied, Invalid):
            return
        for scope, pairs in (await rights(replica, child)).items():
            assert pairs <= limits[scope]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(role=st.sampled_from(sorted(roles.ROLE_NAMES)), level=LEVELS, permissions=PERMISSIONS)
async def test_no_member_gains_rights_by_a_robot(
    replica: Replica, role: int, level: Level, permissions: list[Permission]
) -> None:
    """Whatever role somebody has in a project, his robot accounts hold no more than he does."""
    user = await replica.users.by_name(roles.ROLE_NAMES[role])
    actor = Principal("user", user.id, user.username)
    robot = await make(replica, actor, f"of{next(_NAMES)}", level, permissions)
    if robot is None:
        return
    assert role == roles.PROJECT_ADMIN
    assert level == "project"
    limits = await rights(replica, actor)
    for scope, pairs in (await rights(replica, robot)).items():
        assert pairs <= limits[scope]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    who=st.sampled_from(["admin", *sorted(roles.ROLE_NAMES.values())]),
    left=st.lists(scopes("project"), min_size=1, max_size=3),
    level=LEVELS,
    permissions=PERMISSIONS,
)
async def test_nobody_gains_rights_by_an_access_token(
    replica: Replica,
    who: str,
    left: list[Permission],
    level: Level,
    permissions: list[Permission],
) -> None:
    """It holds no more than its user nor than it names, and no more do its robot accounts."""
    user = await replica.users.by_name(who)
    owner = Principal("user", user.id, who, sysadmin=who == "admin")
    limits = await rights(replica, owner)
    try:
        made = await replica.access_tokens.create(owner, f"t{next(_NAMES)}", permissions=left)
    except Denied:
        return
    login = await replica.access_tokens.open(who, made.secret)
    assert login is not None
    bearer = login.principal
    held = await rights(replica, bearer)
    for scope, pairs in held.items():
        named = {pair for each in left if each.namespace in (scope, "*") for pair in each.access}
        named |= {("repository", "pull")} | {(name, "list") for name, _ in named}
        assert pairs <= limits[scope] & named
    robot = await make(replica, bearer, f"by{next(_NAMES)}", level, permissions)
    if robot is not None:
        for scope, pairs in (await rights(replica, robot)).items():
            assert pairs <= held[scope]
    assert not await is_sysadmin_now(replica, bearer)


async def is_sysadmin_now(replica: Replica, who: Principal) -> bool:
    """Whether the rows make somebody an administrator."""
    async with replica.db.read() as tx:
        return await is_sysadmin(tx, who)


async def test_the_property_is_not_empty(replica: Replica) -> None:
    """There are requests that succeed: robots make robots within their rights, and members too."""
    permissions = [
        Permission("system", "/", frozenset({("robot", "create"), ("catalog", "read")})),
        Permission("project", "*", frozenset({("repository", "pull"), ("robot", "create")})),
    ]
    maker = await make(replica, ADMIN, "maker", "system", permissions)
    assert maker is not None
    assert await make(replica, maker, "same", "system", permissions)
    pull = [Permission("project", "two", frozenset({("repository", "pull")}))]
    assert await make(replica, maker, "narrow", "project", pull)
    user = await replica.users.by_name("projectAdmin")
    inside = [Permission("project", "one", frozenset({("repository", "push")}))]
    assert await make(replica, Principal("user", user.id), "mine", "project", inside)


async def test_nobody_grants_nothing(replica: Replica) -> None:
    """Neither the anonymous caller nor a name that sounds important."""
    pull = [Permission("project", "one", frozenset({("repository", "pull")}))]
    for actor in (
        ANONYMOUS,
        Principal("anonymous", 1, "admin", sysadmin=True),
        Principal("robot", 1, "admin", sysadmin=True),
        Principal("user", 12345, "admin", sysadmin=True),
    ):
        assert await make(replica, actor, "x", "project", pull) is None
