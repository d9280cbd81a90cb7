"""Users, on both databases."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, update
from tests.support.accounts import PASSWORD, Replica, in_system

from moorage.access.principals import Principal
from moorage.accounts.attempts import FREE
from moorage.accounts.bootstrap import first_admin
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Exact, Fuzzy, Query
from moorage.db.types import from_now
from moorage.errors import (
    Conflict,
    Denied,
    Invalid,
    MoorageError,
    NotFound,
    PreconditionFailed,
    TooManyRequests,
)

pytestmark = pytest.mark.anyio

OTHER = "Another1password"


@pytest.fixture
async def replica(database: Database) -> AsyncIterator[Replica]:
    """One process with an administrator."""
    replica = Replica(database)
    await first_admin(database, replica.passwords, "admin", PASSWORD)
    yield replica
    await replica.close()


ADMIN = Principal("user", 1, "admin", sysadmin=True)


async def test_the_first_start_makes_an_administrator_once(database: Database) -> None:
    """A random password is told to whoever started first, and to nobody later.

    CVE-2026-4404.
    """
    replica = Replica(database)
    password = await first_admin(database, replica.passwords, "admin")
    assert password is not None
    assert await first_admin(database, replica.passwords, "admin") is None
    login = await replica.logins.verify("admin", password, "10.0.0.1")
    assert login is not None
    assert login.principal.sysadmin


async def test_replicas_that_start_together_make_one_administrator(database: Database) -> None:
    """One of them gets the password that works."""
    replicas = [Replica(database, single=False) for _ in range(3)]
    told = await asyncio.gather(
        *(first_admin(database, replica.passwords, "admin") for replica in replicas)
    )
    passwords = [password for password in told if password]
    assert len(passwords) == 1
    assert await replicas[0].logins.verify("admin", passwords[0], "10.0.0.1")


async def test_a_configured_password_is_not_told(replica: Replica) -> None:
    """It is not printed, and it works."""
    assert await replica.logins.verify("admin", PASSWORD, "10.0.0.1")


async def test_a_user_comes_back_as_made(replica: Replica) -> None:
    """All fields, without any trace of the password."""
    user_id = await replica.users.create(
        ADMIN, "alice", PASSWORD, email="alice@example.com", realname="Alice", comment="she"
    )
    user = await replica.users.get(user_id)
    assert (user.username, user.email, user.realname, user.comment, user.sysadmin) == (
        "alice",
        "alice@example.com",
        "Alice",
        "she",
        False,
    )
    assert user == await replica.users.by_name("alice")
    assert "argon2" not in repr(user)


async def test_names_and_addresses_are_taken_once(replica: Replica) -> None:
    """A second user of the name or of the address is refused."""
    await replica.users.create(ADMIN, "alice", PASSWORD, email="alice@example.com")
    with pytest.raises(Conflict):
        await replica.users.create(ADMIN, "alice", PASSWORD)
    with pytest.raises(Conflict):
        await replica.users.create(ADMIN, "bob", PASSWORD, email="alice@example.com")


async def test_names_that_no_user_can_have(replica: Replica) -> None:
    """Among them whatever could pass for a robot account or forge a line of a log."""
    wrong = [
        "",
        "a" * 256,
        "a b",
        "a:b",
        "robot$x",
        "a\nb",
        "a\x00b",
        "a\u202eb",
        "a,b",
        "a#b",
        "x+y",
    ]
    for name in wrong:
        with pytest.raises(Invalid):
            await replica.users.create(ADMIN, name, PASSWORD)
    assert (await replica.users.list(Query())).total == 1


async def test_names_that_a_user_can_have(replica: Replica) -> None:
    """And sign in with."""
    for name in ("robots", "admin@corp.example", "müller", "a.b-c_d", "1"):
        await replica.user(name)
        assert await replica.logins.verify(name, PASSWORD, "10.0.0.1")


async def test_lists_narrow_sort_and_count(replica: Replica) -> None:
    """By name unless asked otherwise; a percent sign in a filter is a percent sign."""
    for name in ("carol", "alice", "bob"):
        await replica.user(name)
    page = await replica.users.list(Query(size=2))
    assert ([user.username for user in page.items], page.total) == (["admin", "alice"], 4)
    found = await replica.users.list(Query({"username": Fuzzy("AR")}))
    assert [user.username for user in found.items] == ["carol"]
    assert (await replica.users.list(Query({"username": Fuzzy("%")}))).total == 0
    assert (await replica.users.list(Query({"password_hash": Fuzzy("argon")}))).total == 4
    assert (await replica.users.list(Query({"sysadmin_flag": Exact("true")}))).total == 1


async def test_ones_own_password_needs_the_old_one(replica: Replica) -> None:
    """Wrong: refused as not allowed. The same again: not valid. Else the new one counts at once."""
    alice = await replica.user("alice")
    change = replica.users.change_password
    with pytest.raises(Denied):
        await change(alice, alice.id, OTHER, old="Wrong1password")
    with pytest.raises(Denied):
        await change(alice, alice.id, OTHER)
    with pytest.raises(Invalid):
        await change(alice, alice.id, PASSWORD, old=PASSWORD)
    with pytest.raises(Invalid):
        await change(alice, alice.id, "short", old=PASSWORD)
    await change(alice, alice.id, OTHER, old=PASSWORD)
    assert await replica.logins.verify("alice", PASSWORD, "10.0.0.1") is None
    assert await replica.logins.verify("alice", OTHER, "10.0.0.1")


@pytest.mark.usefixtures("long_waits")
async def test_a_session_does_not_find_the_password_out(replica: Replica) -> None:
    """Wrong old passwords make it wait, also for the right one; who knows it counts anew."""
    alice = await replica.user("alice")
    change = replica.users.change_password
    for number in range(FREE):
        with pytest.raises(Denied):
            await change(alice, alice.id, OTHER, old=f"Guess{number}x")
    with pytest.raises(TooManyRequests, match="again in "):
        await change(alice, alice.id, OTHER, old=PASSWORD)
    assert await replica.logins.verify("alice", PASSWORD, "10.0.0.1"), "signing in is not held up"
    async with replica.db.write() as tx:
        await tx.execute(update(tables.login_attempts).values(blocked_until=from_now(-1)))
    await change(alice, alice.id, OTHER, old=PASSWORD)
    async with replica.db.read() as tx:
        assert (await tx.execute(select(tables.login_attempts))).all() == []


async def test_an_administrator_sets_the_password_of_others(replica: Replica) -> None:
    """Without knowing the old one."""
    alice = await replica.user("alice")
    await replica.users.change_password(ADMIN, alice.id, OTHER)
    assert await replica.logins.verify("alice", OTHER, "10.0.0.1")


async def test_who_may_change_users_does_not_become_an_administrator(replica: Replica) -> None:
    """Neither a robot account with user:update nor a user takes an administrator's account over.

    GHSA-w5fq-xrhj-j7g2.
    """
    made = await replica.robots.create(
        ADMIN, name="ops", level="system", permissions=[in_system("user:update", "user:delete")]
    )
    ops = Principal("robot", made.robot.id, made.robot.name)
    bob = await replica.user("bob")
    for actor in (ops, bob, Principal("robot", 1, "admin", sysadmin=True)):
        for attempt in (
            replica.users.change_password(actor, 1, OTHER),
            replica.users.update(actor, 1, email="evil@example.com"),
            replica.users.set_sysadmin(actor, bob.id, True),
            replica.users.set_sysadmin(actor, 1, False),
            replica.users.delete(actor, 1),
        ):
            with pytest.raises(Denied):
                await attempt
    assert not (await replica.users.get(bob.id)).sysadmin


async def test_the_database_decides_who_is_an_administrator(replica: Replica) -> None:
    """A principal that was identified before the flag was taken away has lost it."""
    alice = await replica.user("alice", sysadmin=True)
    bob = await replica.user("bob")
    await replica.users.set_sysadmin(ADMIN, alice.id, False)
    with pytest.raises(Denied):
        await replica.users.set_sysadmin(alice, bob.id, True)


async def test_an_administrator_stays(replica: Replica) -> None:
    """The last one keeps the flag; the first and oneself cannot be deleted."""
    with pytest.raises(PreconditionFailed):
        await replica.users.set_sysadmin(ADMIN, 1, False)
    alice = await replica.user("alice", sysadmin=True)
    for actor, victim in ((alice, 1), (alice, alice.id)):
        with pytest.raises(Denied):
            await replica.users.delete(actor, victim)


async def test_projects_outlive_their_owner(replica: Replica) -> None:
    """They go to an administrator."""
    alice = await replica.user("alice")
    await replica.projects.create(alice, "team")
    await replica.users.delete(ADMIN, alice.id)
    assert (await replica.projects.by_name("team")).owner_name == "admin"
    with pytest.raises(NotFound):
        await replica.users.get(alice.id)
    assert await replica.logins.verify("alice", PASSWORD, "10.0.0.1") is None


async def test_a_profile_changes_without_ending_what_was_issued(replica: Replica) -> None:
    """Only what matters for rights gives the account another revision."""
    alice = await replica.user("alice")
    before = await replica.standings.of(alice)
    await replica.users.update(alice, alice.id, email="a@example.com", realname="A", comment="")
    assert await replica.standings.of(alice) == before
    await replica.users.set_sysadmin(ADMIN, alice.id, True)
    assert await replica.standings.of(alice) != before


async def test_profiles_that_are_refused(replica: Replica) -> None:
    """Too long, no address, not storable."""
    wrong = [
        {"comment": "x" * 31},
        {"email": "nobody"},
        {"email": "a@b\r\nBcc: c"},
        {"realname": "\x00"},
    ]
    for fields in wrong:
        with pytest.raises(Invalid):
            await replica.users.update(ADMIN, 1, **fields)


async def test_an_address_of_somebody_else(replica: Replica) -> None:
    """Refused as taken."""
    alice = await replica.user("alice")
    await replica.users.update(ADMIN, 1, email="a@example.com")
    with pytest.raises(Conflict):
        await replica.users.update(ADMIN, alice.id, email="a@example.com")


async def test_nobody_there(replica: Replica) -> None:
    """Every change of a user that is not there says so."""
    for attempt in (
        replica.users.get(99),
        replica.users.by_name("nobody"),
        replica.users.update(ADMIN, 99, realname="x"),
        replica.users.set_sysadmin(ADMIN, 99, True),
        replica.users.change_password(ADMIN, 99, OTHER),
        replica.users.reset_password(ADMIN, "nobody", OTHER),
        replica.users.delete(ADMIN, 99),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_an_id_that_comes_again_is_somebody_else(replica: Replica) -> None:
    """What was issued to a deleted user is worth nothing for the next one of that id."""
    alice = await replica.user("alice")
    before = await replica.standings.of(alice)
    await replica.users.delete(ADMIN, alice.id)
    assert await replica.standings.of(alice) is None
    await replica.user("bob")
    assert await replica.standings.of(alice) != before


async def test_failures_do_not_tell_passwords(replica: Replica) -> None:
    """No message repeats what was typed."""
    with pytest.raises(MoorageError) as caught:
        await replica.users.create(ADMIN, "alice", "secretbutweak")
    assert "secretbutweak" not in str(caught.value) + repr(caught.value)
