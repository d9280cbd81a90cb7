"""Sign-in by LDAP, on a real slapd."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from tests.support.accounts import PASSWORD, Replica, quick_passwords
from tests.support.ldap_server import (
    ADMIN_DN,
    ADMIN_PASSWORD,
    BASE,
    GROUPS,
    PEOPLE,
    LdapServer,
)

from moorage.accounts.attempts import FREE
from moorage.accounts.bootstrap import first_admin
from moorage.accounts.ldap import Ldap, LdapAccounts, LdapSettings
from moorage.accounts.ldap.directory import Directory
from moorage.config.configuration import Configuration
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.types import from_now
from moorage.errors import AddressRefused, Denied, Invalid, TooManyRequests, Unreachable
from moorage.outgoing import Guard

pytestmark = pytest.mark.anyio

HERE = "10.0.0.1"
LOOPBACK = (ip_network("127.0.0.0/8"),)


class Settings:
    """Settings that a test turns."""

    def __init__(self, **values: Any) -> None:
        self.values = Configuration(auth_mode="ldap_auth", **values)

    async def current(self) -> Configuration:
        """As they are now."""
        return self.values

    def turn(self, **values: Any) -> None:
        """Set some of them."""
        self.values = self.values.model_copy(update=values)


class Stage:
    """One replica, and a directory with alice in it."""

    def __init__(self, db: Database, server: LdapServer) -> None:
        self.server = server
        self.alice = server.person("alice", "Alice-secret1", mail="alice@example.com")
        self.settings = Settings(
            ldap_url=server.url,
            ldap_search_dn=ADMIN_DN,
            ldap_search_password=SecretStr(ADMIN_PASSWORD),
            ldap_base_dn=PEOPLE,
            ldap_uid="uid",
            ldap_group_base_dn=GROUPS,
            ldap_timeout=30,
        )
        self.ldap = Ldap(Guard(LOOPBACK, ca_file=server.authority.path))
        self.accounts = LdapAccounts(db, self.settings, self.ldap)
        self.replica = Replica(
            db,
            passwords=quick_passwords(),
            settings=self.settings,
            directory=self.accounts,
        )
        self.db = db

    async def signs_in(self, name: str, password: str) -> Any:
        """The login, or None."""
        return await self.replica.logins.verify(name, password, HERE)

    def forget(self) -> None:
        """Time passes until nothing is remembered."""
        self.replica.clock.advance(3600)

    async def groups(self, name: str) -> set[str]:
        """Names of the groups that the user belongs to."""
        member, group = tables.user_group_members, tables.user_groups
        query = (
            select(group.c.name)
            .join(member, member.c.group_id == group.c.id)
            .join(tables.users, tables.users.c.id == member.c.user_id)
            .where(tables.users.c.username == name)
        )
        async with self.db.read() as tx:
            return set((await tx.execute(query)).scalars())

    async def count(self) -> int:
        """How many users there are."""
        async with self.db.read() as tx:
            query = select(func.count()).select_from(tables.users)
            return int((await tx.execute(query)).scalar_one())


@pytest.fixture
async def stage(database: Database, ldap_server: LdapServer) -> AsyncIterator[Stage]:
    """With the local administrator `admin`."""
    made = Stage(database, ldap_server)
    await first_admin(database, made.replica.passwords, "admin", PASSWORD)
    yield made
    await made.replica.close()


async def test_a_first_sign_in_makes_an_account(stage: Stage) -> None:
    """With what the directory tells; the second one finds it, in any case of letters."""
    login = await stage.signs_in("alice", "Alice-secret1")
    assert login is not None
    assert login.principal.name == "alice"
    assert not login.principal.sysadmin
    user = await stage.replica.users.get(login.principal.id)
    assert (user.username, user.email, user.realname) == ("alice", "alice@example.com", "alice")
    stage.forget()
    again = await stage.signs_in("ALICE", "Alice-secret1")
    assert again.principal == login.principal
    assert await stage.count() == 2


async def test_wrong_and_empty_passwords_are_refused(stage: Stage) -> None:
    """A server is content with an empty one: it takes that for nobody."""
    stage.server.change(stage.alice, "description", ["no password"])
    for name, password in (
        ("alice", "wrong"),
        ("alice", ""),
        ("nobody", "Alice-secret1"),
        ("*", "Alice-secret1"),
        ("ali*", "Alice-secret1"),
        ("alice)(uid=*", "Alice-secret1"),
        ("*)(objectClass=*", "Alice-secret1"),
        ("alice\\2a", "Alice-secret1"),
        (stage.alice, "Alice-secret1"),
    ):
        assert await stage.signs_in(name, password) is None, name
    assert await stage.count() == 1


async def test_who_is_unknown_takes_as_long_as_who_is_known(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either costs one look-up and one try of a password, so time tells no names."""
    tried: list[str] = []
    accepts = Directory.accepts

    def counting(directory: Directory, name: str, password: str) -> bool:
        tried.append(name)
        return accepts(directory, name, password)

    monkeypatch.setattr(Directory, "accepts", counting)
    for name in ("alice", "nobody", "*"):
        assert await stage.signs_in(name, "wrong") is None
    assert tried == [stage.alice, PEOPLE, PEOPLE]


@pytest.mark.parametrize("name", ["o'brien", "a.b-c_d", "x(y)", "star*", "back\\slash", "ünï"])
async def test_names_that_mean_something_to_ldap(stage: Stage, name: str) -> None:
    """In filters and in DNs; each signs in as himself."""
    stage.server.person(name, "Other-secret1")
    login = await stage.signs_in(name, "Other-secret1")
    assert login is not None
    assert login.principal.name == name
    assert await stage.signs_in("alice", "Other-secret1") is None


async def test_brackets_and_commas_in_dns_and_groups(stage: Stage) -> None:
    """They are part of real directories."""
    names = ["Bob (Sales), Mr."]
    bob = stage.server.person("bob", "Bob-secret1", rdn=r"Bob (Sales)\, Mr.", names=names)
    stage.server.group("Sales (EU), all", bob)
    login = await stage.signs_in("bob", "Bob-secret1")
    assert login is not None
    assert await stage.groups(login.principal.name) == {"Sales (EU), all"}


async def test_groups_follow_the_directory(stage: Stage) -> None:
    """At every sign-in; those outside the base do not count.

    GO-2025-3409, CVE-2025-23208.
    """
    stage.server.group("staff", stage.alice)
    outside = f"cn=outside,{PEOPLE}"
    stage.server.add(outside, ["groupOfNames"], {"cn": "outside", "member": [stage.alice]})
    await stage.signs_in("alice", "Alice-secret1")
    assert await stage.groups("alice") == {"staff"}
    stage.server.delete(f"cn=staff,{GROUPS}")
    stage.server.group("others", stage.alice)
    stage.forget()
    await stage.signs_in("alice", "Alice-secret1")
    assert await stage.groups("alice") == {"others"}
    stage.settings.turn(ldap_group_base_dn=BASE)
    stage.forget()
    await stage.signs_in("alice", "Alice-secret1")
    assert await stage.groups("alice") == {"others", "outside"}


async def test_a_filter_of_groups_and_their_names(stage: Stage) -> None:
    """Only those that fit, with the name that an attribute holds."""
    stage.server.group("staff", stage.alice)
    stage.server.group("hidden", stage.alice)
    stage.server.change(f"cn=staff,{GROUPS}", "description", ["The Staff"])
    stage.settings.turn(
        ldap_group_search_filter="(description=*)", ldap_group_attribute_name="description"
    )
    await stage.signs_in("alice", "Alice-secret1")
    assert await stage.groups("alice") == {"The Staff"}


async def test_a_directory_whose_users_do_not_name_their_groups(stage: Stage) -> None:
    """Groups that list the user are found instead."""
    stage.server.group("staff", stage.alice)
    stage.settings.turn(ldap_group_membership_attribute="isMemberOf")
    await stage.signs_in("alice", "Alice-secret1")
    assert await stage.groups("alice") == {"staff"}


async def test_administrators_are_those_of_a_group(stage: Stage) -> None:
    """While they are in it; the flag that an administrator sets here is another."""
    admins = stage.server.group("admins", stage.alice)
    stage.settings.turn(ldap_group_admin_dn=admins.upper())
    login = await stage.signs_in("alice", "Alice-secret1")
    assert login.principal.sysadmin
    user = await stage.replica.users.get(login.principal.id)
    assert (user.sysadmin, user.admin_in_auth) == (False, True)
    stage.server.person("carol", "Carol-secret1")
    stage.server.change(admins, "member", [f"uid=carol,{PEOPLE}"])
    stage.forget()
    again = await stage.signs_in("alice", "Alice-secret1")
    assert not again.principal.sysadmin


async def test_a_name_is_no_proof_of_who_somebody_is(stage: Stage) -> None:
    """Whoever is called admin in the directory does not become the administrator here.

    GHSA-xvh7-74g6-29xw.
    """
    stage.server.person("admin", "Other-secret1")
    assert await stage.signs_in("admin", "Other-secret1") is None
    assert (await stage.signs_in("admin", PASSWORD)).principal.sysadmin
    await stage.replica.users.create(login_of(await stage.signs_in("admin", PASSWORD)), "zoe", None)
    stage.server.person("zoe", "Zoe-secret1")
    assert await stage.signs_in("zoe", "Zoe-secret1") is None
    stage.server.person("robot$x", "Robot-secret1")
    assert await stage.signs_in("robot$x", "Robot-secret1") is None


def login_of(login: Any) -> Any:
    """Whoever signed in."""
    return login.principal


async def test_somebody_who_is_renamed_keeps_the_account(stage: Stage) -> None:
    """And a successor of the old name gets one of his own, once the name is free."""
    first = await stage.signs_in("alice", "Alice-secret1")
    stage.server.rename(stage.alice, "uid=alice2")
    stage.forget()
    renamed = await stage.signs_in("alice2", "Alice-secret1")
    assert renamed.principal.id == first.principal.id
    stage.server.person("alice", "Second-secret1")
    assert await stage.signs_in("alice", "Second-secret1") is None


async def test_what_changes_in_the_directory_counts_within_a_minute(stage: Stage) -> None:
    """A new password, and somebody who left."""
    assert await stage.signs_in("alice", "Alice-secret1")
    stage.server.change(stage.alice, "userPassword", ["Alice-secret2"])
    assert await stage.signs_in("alice", "Alice-secret2")
    stage.replica.clock.advance(61)
    assert await stage.signs_in("alice", "Alice-secret1") is None
    stage.server.delete(stage.alice)
    stage.replica.clock.advance(61)
    assert await stage.signs_in("alice", "Alice-secret2") is None


async def test_the_password_of_such_an_account_is_not_set_here(stage: Stage) -> None:
    """Not even by an administrator: it would open the account beside the directory."""
    admin = (await stage.signs_in("admin", PASSWORD)).principal
    alice = (await stage.signs_in("alice", "Alice-secret1")).principal
    for actor in (admin, alice):
        with pytest.raises(Denied):
            await stage.replica.users.change_password(actor, alice.id, "New-secret-1", old="x")


async def test_a_directory_that_is_away_lets_the_administrator_in(stage: Stage) -> None:
    """Others are told to try again; what hangs is left after the time-out."""
    stage.server.stop()
    with pytest.raises(Unreachable):
        await stage.signs_in("alice", "Alice-secret1")
    assert await stage.signs_in("admin", PASSWORD)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for url in (f"ldap://127.0.0.1:{port}", f"ldaps://127.0.0.1:{port}"):
            stage.settings.turn(ldap_url=url, ldap_timeout=1)
            with pytest.raises(Unreachable):
                await stage.signs_in("alice", "Alice-secret1")


async def test_tls_is_verified(stage: Stage) -> None:
    """A server whose certificate nobody vouches for gets no password."""
    stage.settings.turn(ldap_url=stage.server.tls_url)
    assert await stage.signs_in("alice", "Alice-secret1")
    stage.forget()
    settings = LdapSettings.of(stage.settings.values)
    stranger = Ldap(Guard(LOOPBACK))
    with pytest.raises(Unreachable, match="not trusted"):
        await stranger.authenticate(settings, "alice", "Alice-secret1")
    assert await stranger.authenticate(replace(settings, verify=False), "alice", "Alice-secret1")
    with pytest.raises(AddressRefused):
        await Ldap(Guard()).authenticate(settings, "alice", "Alice-secret1")


async def test_two_first_sign_ins_at_once_make_one_account(stage: Stage) -> None:
    """From two addresses, so that they do not share one attempt."""
    logins = stage.replica.logins
    found = await asyncio.gather(
        *(logins.verify("alice", "Alice-secret1", f"10.0.0.{n}") for n in range(4))
    )
    assert len({login.principal.id for login in found if login}) == 1
    assert all(found)
    assert await stage.count() == 2


async def test_people_are_brought_before_they_sign_in(stage: Stage) -> None:
    """Those who are not there are named."""
    stage.server.person("bob", "Bob-secret1")
    failed = await stage.accounts.bring(["alice", "bob", "nobody", "", "*"])
    assert [name for name, _ in failed] == ["nobody", "", "*"]
    assert await stage.count() == 3
    login = await stage.signs_in("bob", "Bob-secret1")
    assert login.principal.name == "bob"
    assert await stage.count() == 3


async def test_in_another_mode_nobody_asks_the_directory(stage: Stage) -> None:
    """What was made stays, and cannot sign in."""
    assert await stage.signs_in("alice", "Alice-secret1")
    stage.settings.turn(auth_mode="db_auth")
    stage.forget()
    assert await stage.signs_in("alice", "Alice-secret1") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"ldap_url": "http://x"},
        {"ldap_url": ""},
        {"ldap_url": "ldap://u:p@x"},
        {"ldap_base_dn": ""},
        {"ldap_filter": "(((uid="},
        {"ldap_search_password": SecretStr("wrong")},
    ],
)
async def test_settings_that_cannot_work_say_so(stage: Stage, wrong: dict[str, Any]) -> None:
    """And never a 500."""
    stage.settings.turn(**wrong)
    with pytest.raises(Invalid):
        await stage.ldap.ping(LdapSettings.of(stage.settings.values))


@pytest.mark.usefixtures("long_waits")
async def test_spellings_of_a_name_share_their_guesses(stage: Stage) -> None:
    """The directory takes each for alice; after a while the right password has to wait too."""
    spellings = ["alice", "ALICE", "Alice", "aLice", "alIce", "aliCe", "alicE", "ALice"]
    assert len(spellings) == FREE
    for name in spellings:
        assert await stage.signs_in(name, "wrong") is None
    for name in ("aLICE", "\uff41lice"):
        with pytest.raises(TooManyRequests):
            await stage.signs_in(name, "Alice-secret1")
    async with stage.db.write() as tx:
        await tx.execute(tables.login_attempts.update().values(blocked_until=from_now(-1)))
    assert await stage.signs_in("aLICE", "Alice-secret1")
    async with stage.db.read() as tx:
        assert (await tx.execute(select(tables.login_attempts))).all() == []


async def test_a_name_with_spaces_around_it_is_refused(stage: Stage) -> None:
    """They would be cut off on the way to the directory."""
    for name in (" alice", "alice ", "\u3000alice"):
        assert await stage.signs_in(name, "Alice-secret1") is None
    assert await stage.signs_in("alice", "Alice-secret1")


async def test_a_refusal_of_somebody_known_is_told_under_his_name(stage: Stage) -> None:
    """However he spelled it; a name that nobody has may be a password."""
    assert await stage.signs_in("alice", "Alice-secret1")
    for name in ("alice", "ALICE", "my-Passw0rd"):
        assert await stage.signs_in(name, "wrong") is None
    assert await stage.replica.logins.flush() == 2
    async with stage.db.read() as tx:
        query = select(tables.outbox.c.payload).where(tables.outbox.c.type == "UserRefused")
        told = (await tx.execute(query)).scalars().all()
    assert [fact["username"] for fact in told] == ["alice", "alice"]
