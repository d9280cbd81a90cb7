"""User groups: how they become known, who is in them, and what that opens and shuts."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert, select

from moorage.access.principals import Principal
from moorage.access.roles import DEVELOPER, GUEST, MAINTAINER, PROJECT_ADMIN
from moorage.access.secretbox import SecretBox
from moorage.accounts import dn, groups
from moorage.accounts.groups import Groups, follow
from moorage.accounts.permissions import held
from moorage.accounts.records import HTTP, LDAP, OIDC
from moorage.accounts.standing import Standings
from moorage.cache.local import LocalCache, NoCache
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Fuzzy, Query
from moorage.db.transactions import Tx
from moorage.errors import Conflict, Invalid, NotFound
from moorage.projects.grants import Grants
from moorage.projects.members import Members
from moorage.projects.projects import Projects
from moorage.projects.records import GroupName, ProjectRef
from moorage.settings import Configurations

pytestmark = pytest.mark.anyio

ADMIN = Principal("user", 1, "admin", sysadmin=True)
BOB = Principal("user", 2, "bob")
STAFF = "cn=staff,ou=groups,dc=example,dc=com"


class Stage:
    """A private project `team`, its administrator, and bob, who is nobody there."""

    def __init__(self, db: Database, cache: LocalCache) -> None:
        self.db = db
        self.groups = Groups(db)
        self.members = Members(db)
        self.projects = Projects(db)
        self.grants = Grants(db, cache)
        self.standings = Standings(db, cache)

    async def team(self) -> ProjectRef:
        """The project, as permissions see it."""
        ref = await self.grants.project("team")
        assert ref is not None
        return ref

    async def belong(self, *names: str, admin: bool = False) -> list[int]:
        """What a provider says when bob signs in."""
        async with self.db.write() as tx:
            ids = await groups.known(tx, OIDC, {name: name for name in names})
            await groups.belong(tx, BOB.id, ids, admin=admin)
        return ids

    async def may(self, action: str) -> bool:
        """Whether bob may do that in repositories of the project."""
        return ("repository", action) in await self.grants.within(BOB, await self.team())


@pytest.fixture
async def stage(database: Database) -> AsyncIterator[Stage]:
    cache = LocalCache(SystemClock(), entries=1000, size=1 << 20, expire_seconds=3600)
    database.notifier = cache
    async with database.write() as tx:
        await tx.execute(insert(tables.users).values(username="admin", sysadmin=True))
        await tx.execute(insert(tables.users).values(username="bob"))
    made = Stage(database, cache)
    await made.projects.create(ADMIN, "team")
    yield made
    await cache.close()


async def test_a_group_opens_a_project_and_shuts_it_again(stage: Stage) -> None:
    """Each change counts from its answer on: the role, the membership, the group, the sign-in."""
    team = (await stage.team()).id
    _, group = await stage.belong("others", "staff")
    assert not await stage.may("pull")
    member = await stage.members.add(ADMIN, team, GUEST, group=GroupName(id=group))
    assert await stage.may("pull")
    assert not await stage.may("push")
    await stage.members.change(ADMIN, team, member, DEVELOPER)
    assert await stage.may("push")
    await stage.belong("others")
    assert not await stage.may("pull")
    await stage.belong("staff")
    assert await stage.may("push")
    await stage.members.remove(ADMIN, team, member)
    assert not await stage.may("pull")
    await stage.members.add(ADMIN, team, GUEST, group=GroupName(id=group))
    assert await stage.may("pull")
    await stage.groups.delete(ADMIN, group)
    assert not await stage.may("pull")


async def test_roles_add_up(stage: Stage) -> None:
    """A user's own and those of all groups; the strongest one comes first."""
    team = await stage.team()
    one, two = await stage.belong("one", "two")
    await stage.members.add(ADMIN, team.id, GUEST, user_id=BOB.id)
    await stage.members.add(ADMIN, team.id, DEVELOPER, group=GroupName(id=one))
    await stage.members.add(ADMIN, team.id, MAINTAINER, group=GroupName(id=two))
    assert await stage.grants.roles(BOB, team) == {GUEST, DEVELOPER, MAINTAINER}
    project = await stage.projects.by_id(team.id, BOB)
    assert project.role_ids == (MAINTAINER, DEVELOPER, GUEST)
    async with stage.db.read() as tx:
        rights = (await held(tx, BOB)).within("project", team.id)
    assert ("repository", "delete") in rights
    assert ("project", "delete") not in rights
    assert await stage.members.roles(team.id) == {
        PROJECT_ADMIN: 1,
        GUEST: 1,
        DEVELOPER: 1,
        MAINTAINER: 1,
    }


async def test_a_project_is_seen_through_a_group(stage: Stage) -> None:
    """In lists as well; and its administration counts."""
    team = (await stage.team()).id
    assert (await stage.projects.list(BOB, Query())).total == 0
    (group,) = await stage.belong("staff")
    await stage.members.add(ADMIN, team, PROJECT_ADMIN, group=GroupName(id=group))
    (project,) = (await stage.projects.list(BOB, Query())).items
    assert project.name == "team"
    assert await stage.members.administers(BOB.id)
    assert (await stage.projects.counts(BOB))["private_project"] == 1


async def test_members_are_users_and_groups(stage: Stage) -> None:
    """One list by name; a membership of either is found by its id."""
    team = (await stage.team()).id
    member = await stage.members.add(ADMIN, team, GUEST, group=GroupName(kind=OIDC, name="a-group"))
    again = GroupName(kind=OIDC, name="a-group")
    with pytest.raises(Conflict):
        await stage.members.add(ADMIN, team, GUEST, group=again)
    found = (await stage.members.list(team, Query())).items
    assert [(each.name, each.kind) for each in found] == [("a-group", "g"), ("admin", "u")]
    narrowed = Query(filters={"entityname": Fuzzy("GROUP")})
    assert [each.id for each in (await stage.members.list(team, narrowed)).items] == [member]
    assert (await stage.members.get(team, member)).role_id == GUEST
    with pytest.raises(NotFound):
        await stage.members.add(ADMIN, team, GUEST, group=GroupName(id=999))
    with pytest.raises(Invalid):
        await stage.members.add(ADMIN, team, GUEST, group=GroupName(kind=7, name="x"))
    with pytest.raises(Invalid):
        await stage.members.add(ADMIN, team, GUEST, group=GroupName(ldap_dn="nonsense"))
    assert (await stage.groups.list(Query())).total == 1


async def test_a_group_of_ldap_is_its_dn_however_it_is_spelt(stage: Stage) -> None:
    """And shown by its name."""
    team = (await stage.team()).id
    named = GroupName(ldap_dn="CN=Staff, OU=Groups, DC=example, DC=com", name="Staff")
    await stage.members.add(ADMIN, team, GUEST, group=named)
    with pytest.raises(Conflict):
        await stage.groups.create(ADMIN, LDAP, "other name", STAFF.upper())
    async with stage.db.write() as tx:
        ids = await groups.known(tx, LDAP, {STAFF: "third name"})
        await groups.belong(tx, BOB.id, ids, admin=False)
    assert await stage.may("pull")
    (group,) = (await stage.groups.list(Query())).items
    assert (group.name, group.ldap_dn, group.kind) == ("Staff", STAFF, LDAP)


async def test_the_same_name_of_another_provider_is_another_group(stage: Stage) -> None:
    """A name alone means nothing."""
    team = (await stage.team()).id
    await stage.members.add(ADMIN, team, GUEST, group=GroupName(kind=HTTP, name="staff"))
    await stage.belong("staff")
    assert not await stage.may("pull")
    assert (await stage.groups.list(Query())).total == 2


async def test_who_administers_by_a_group_does_so_until_the_next_sign_in(stage: Stage) -> None:
    """It ends everywhere: what was issued before counts no more."""
    before = await stage.standings.of(BOB)
    assert before is not None
    assert not before.sysadmin
    await stage.belong("admins", admin=True)
    now = await stage.standings.of(BOB)
    assert now is not None
    assert now.sysadmin
    assert now.revision == before.revision
    await stage.belong("admins", admin=True)
    await stage.belong("others")
    after = await stage.standings.of(BOB)
    assert after is not None
    assert not after.sysadmin
    assert after.revision > before.revision
    async with stage.db.read() as tx:
        flags = select(tables.users.c.sysadmin, tables.users.c.admin_in_auth)
        assert tuple((await tx.execute(flags.where(tables.users.c.id == BOB.id))).one()) == (0, 0)


@pytest.mark.parametrize(
    "values",
    [
        {"auth_mode": "oidc_auth"},
        {"ldap_group_admin_dn": "cn=others"},
        {"ldap_url": "ldaps://another.example"},
        {"oidc_admin_group": "others"},
        {"oidc_endpoint": "https://another.example"},
        {"oidc_groups_claim": "roles"},
    ],
)
async def test_nobody_administers_by_a_group_that_is_no_longer_asked(
    stage: Stage, values: dict[str, str]
) -> None:
    """A change of the provider or of its group ends it everywhere, until the next sign-in."""
    settings = Configurations(stage.db, NoCache(), SecretBox("a key of 16 letters"), follow=follow)
    provider = {"oidc_endpoint": "https://issuer.example", "oidc_client_id": "x"}
    await settings.change(ADMIN, provider)
    await stage.belong("admins", admin=True)
    before = await stage.standings.of(BOB)
    assert before is not None
    assert before.sysadmin
    await settings.change(ADMIN, {"banner_message": "hello", "ldap_filter": "(a=b)"})
    assert await stage.standings.of(BOB) == before
    await settings.change(ADMIN, values)
    after = await stage.standings.of(BOB)
    assert after is not None
    assert not after.sysadmin
    assert after.revision > before.revision
    admin = await stage.standings.of(ADMIN)
    assert admin is not None
    assert admin.sysadmin
    await stage.belong("admins", admin=True)
    await settings.change(ADMIN, values)
    again = await stage.standings.of(BOB)
    assert again is not None
    assert again.sysadmin, "the same values are no change"


async def test_groups_are_made_renamed_and_deleted_once(stage: Stage) -> None:
    """A group is known by kind and name; only one of LDAP may share its name."""
    staff = await stage.groups.create(ADMIN, OIDC, "staff")
    with pytest.raises(Conflict):
        await stage.groups.create(ADMIN, OIDC, "staff")
    other = await stage.groups.create(ADMIN, OIDC, "other")
    with pytest.raises(Conflict):
        await stage.groups.rename(ADMIN, other, "staff")
    await stage.groups.rename(ADMIN, other, "another")
    assert (await stage.groups.get(other)).name == "another"
    for wrong in ((0, "x", ""), (4, "x", ""), (OIDC, "", ""), (LDAP, "x", ""), (LDAP, "x", "y")):
        with pytest.raises(Invalid):
            await stage.groups.create(ADMIN, *wrong)
    await stage.groups.delete(ADMIN, staff)
    for change in (stage.groups.delete(ADMIN, staff), stage.groups.rename(ADMIN, staff, "x")):
        with pytest.raises(NotFound):
            await change


async def test_many_sign_ins_at_once_make_each_group_once(stage: Stage) -> None:
    """None fails, whichever order the provider names them in."""
    names = [f"group{n}" for n in range(6)]

    async def sign_in(n: int) -> list[int]:
        async def step(tx: Tx) -> list[int]:
            turned = names[n:] + names[:n]
            ids = await groups.known(tx, OIDC, {name: name for name in turned})
            await groups.belong(tx, BOB.id, ids, admin=False)
            return ids

        return await stage.db.run(step)

    found = await asyncio.gather(*(sign_in(n) for n in range(6)))
    assert all(ids == found[0] for ids in found)
    assert (await stage.groups.list(Query())).total == 6


@pytest.mark.parametrize(
    ("spelt", "same"),
    [
        ("CN=Admins , OU=Groups,DC=Example,dc=COM", "cn=admins,ou=groups,dc=example,dc=com"),
        (r"cn=a\2cb,dc=x", r"cn=a\,b,dc=x"),
        ('cn="a,b",dc=x', r"cn=a\,b,dc=x"),
        (r"cn=\e4\bd\a0,dc=x", "cn=你,dc=x"),
        ("uid=1+cn=b,dc=x", "cn=b+uid=1,dc=x"),
        (r"cn=\\5c,dc=x", r"cn=\\5c,dc=x"),
        (r"cn=x\ ,dc=y", r"cn=x\ ,dc=y"),
        (r"cn=\23x,dc=y", r"cn=\#x,dc=y"),
    ],
)
def test_a_dn_has_one_spelling(spelt: str, same: str) -> None:
    """Normal, and staying so."""
    assert dn.normal(spelt) == same
    assert dn.normal(same) == same


@pytest.mark.parametrize(
    "wrong", ["", " ", "cn", "cn=", "=x", "cn=a,,dc=x", r"cn=\ff,dc=x", "1x=y"]
)
def test_what_is_no_dn_is_refused(wrong: str) -> None:
    """As well as one that is too long."""
    with pytest.raises(Invalid):
        dn.normal(wrong)
    with pytest.raises(Invalid):
        dn.normal("cn=" + "x" * 600)
