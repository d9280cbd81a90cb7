"""From an Authorization header to a caller and his rights."""

import base64
from collections.abc import AsyncIterator

import pytest
from tests.support.accounts import PASSWORD, Replica, in_project

from moorage.access.principals import ANONYMOUS, Principal
from moorage.accounts.bootstrap import first_admin
from moorage.db.engine import Database
from moorage.db.queries import Query
from moorage.errors import Unauthenticated
from moorage.web import callers
from moorage.web.callers import REMEMBERED, Caller

pytestmark = pytest.mark.anyio

ADMIN = Principal("user", 1, "admin", sysadmin=True)
HERE = "10.0.0.1"


@pytest.fixture
async def replica(database: Database) -> AsyncIterator[Replica]:
    """Alice is a maintainer of `team`, which is private."""
    replica = Replica(database)
    await first_admin(replica.db, replica.passwords, "admin", PASSWORD)
    await replica.keys.start()
    team = await replica.projects.create(ADMIN, "team")
    alice = await replica.user("alice")
    await replica.members.add(ADMIN, team, 4, user_id=alice.id)
    yield replica
    await replica.close()


def basic(account: str, password: str = PASSWORD) -> bytes:
    """A Basic header."""
    return b"Basic " + base64.b64encode(f"{account}:{password}".encode())


async def bearer(replica: Replica, account: str, *repositories: str) -> bytes:
    """A Bearer header with a token for these repositories."""
    caller = await replica.callers.identify(basic(account), HERE)
    access = {name: await replica.callers.right(caller.principal, name) for name in repositories}
    issued = replica.tokens.issue(caller.principal, access, revision=caller.revision)
    return b"Bearer " + issued.token.encode()


async def rights(replica: Replica, authorization: bytes | None, repository: str) -> set[str]:
    """What a caller may do."""
    caller = await replica.callers.identify(authorization, HERE)
    return set(await replica.callers.repository_actions(caller, repository))


async def test_no_header_is_nobody(replica: Replica) -> None:
    """With the rights of nobody."""
    assert await replica.callers.identify(None, HERE) == Caller(ANONYMOUS, "none")
    assert await rights(replica, None, "team/app") == set()


async def test_basic_credentials(replica: Replica) -> None:
    """The account with its rights; wrong ones are nobody, and known to have been tried."""
    assert await rights(replica, basic("alice"), "team/app") == {"pull", "push", "delete"}
    assert await rights(replica, basic("alice").replace(b"Basic", b"bASIC"), "team/app")
    broken = (b"Basic", b"Basic !", b"Basic /w==", b"Basic YWxpY2U=", basic("alice", "wrong"))
    for wrong in broken:
        assert await replica.callers.identify(wrong, HERE) == Caller(ANONYMOUS, "basic")


async def test_a_password_may_hold_colons_and_any_letter(replica: Replica) -> None:
    """The first colon ends the name."""
    await replica.users.create(ADMIN, "bob", "Pä:ss:1word")
    caller = await replica.callers.identify(basic("bob", "Pä:ss:1word"), HERE)
    assert caller.principal.name == "bob"


async def test_other_schemes_are_refused(replica: Replica) -> None:
    """As is a token that is none."""
    for header in (b"Digest x", b"x", b"Bearer", b"Bearer ", b"Bearer x.y.z", b"Bearer \xff"):
        with pytest.raises(Unauthenticated):
            await replica.callers.identify(header, HERE)
        assert replica.callers.peek(header) is None


async def test_a_token_opens_its_repository_and_no_other(replica: Replica) -> None:
    """Not one whose name begins alike, lies below, or differs in letters or escapes."""
    await replica.projects.create(ADMIN, "teams")
    header = await bearer(replica, "alice", "team/a")
    assert await rights(replica, header, "team/a") == {"pull", "push", "delete"}
    for other in ("team/ab", "team/a/b", "team", "teams/a", "team/A", "team/b/../a", "team/%61"):
        assert await rights(replica, header, other) == set()


async def test_a_verified_token_is_remembered_until_it_expires(replica: Replica) -> None:
    """By the bytes of its header; verification is not repeated, and expiry is kept."""
    header = await bearer(replica, "alice", "team/a")
    assert replica.callers.peek(header) is None
    caller = await replica.callers.identify(header, HERE)
    assert replica.callers.peek(header) is caller
    assert await replica.callers.identify(header, HERE) is caller
    replica.clock.advance(1799)
    assert replica.callers.peek(header) is caller
    replica.clock.advance(62)
    assert replica.callers.peek(header) is None
    with pytest.raises(Unauthenticated):
        await replica.callers.identify(header, HERE)


async def test_the_memory_of_tokens_is_bounded(replica: Replica) -> None:
    """The oldest goes first, and is verified again when it comes back."""
    header = await bearer(replica, "alice", "team/a")
    caller = await replica.callers.identify(header, HERE)
    known = replica.callers._known
    for number in range(REMEMBERED):
        known[b"%d" % number] = (caller, replica.clock.monotonic() + 60)
    await replica.callers.identify(await bearer(replica, "alice", "team/b"), HERE)
    assert len(known) == REMEMBERED
    assert replica.callers.peek(header) is None
    assert await replica.callers.identify(header, HERE) == caller


async def test_the_memory_of_tokens_is_bounded_in_bytes(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One token, in headers padded to any length, takes no more than its share."""
    monkeypatch.setattr(callers, "REMEMBERED_BYTES", 100_000)
    token = (await bearer(replica, "alice", "team/a")).removeprefix(b"Bearer ")
    for padding in range(10_000, 10_020):
        header = b"Bearer" + b" " * padding + token
        await replica.callers.identify(header, HERE)
        assert replica.callers.peek(header) is not None
    known = replica.callers._known
    assert 1 < len(known) < 10
    assert sum(map(len, known)) <= 100_000
    replica.clock.advance(1861)
    for header in list(known):
        assert replica.callers.peek(header) is None
    assert replica.callers._size == 0


@pytest.mark.parametrize("single", [True, False])
async def test_a_token_from_before_a_project_was_made_anew(replica: Replica, single: bool) -> None:
    """It opens the former project, not the one that now has its name; the memory knows that too."""
    here = replica if single else Replica(replica.db, single=False)
    if not single:
        await here.keys.load()
    header = await bearer(replica, "alice", "team/a")
    assert await rights(here, header, "team/a")
    project = await replica.projects.by_name("team")
    await replica.projects.delete(ADMIN, project.id)
    assert here.callers.peek(header) is None
    assert await rights(here, header, "team/a") == set()
    await replica.projects.create(ADMIN, "team")
    assert here.callers.peek(header) is None
    assert await rights(here, header, "team/a") == set()
    assert here.callers.peek(header) is None  # the new project is in the cache by now
    if not single:
        await here.close()


async def test_a_token_for_a_project_that_comes_later(replica: Replica) -> None:
    """It was empty when it was issued and stays so."""
    header = await bearer(replica, "admin", "later/a")
    assert await rights(replica, header, "later/a") == set()
    await replica.projects.create(ADMIN, "later")
    assert await rights(replica, header, "later/a") == set()


async def test_a_token_of_an_account_that_changed_writes_no_more(replica: Replica) -> None:
    """Deleted, demoted, or with another password: asked before each write."""
    alice = await replica.users.by_name("alice")
    header = await bearer(replica, "alice", "team/a")
    caller = await replica.callers.identify(header, HERE)
    assert await replica.callers.still_may(caller, "team/a", "push")
    await replica.users.change_password(ADMIN, alice.id, "Another1password")
    assert not await replica.callers.still_may(caller, "team/a", "push")
    direct = await replica.callers.identify(basic("alice", "Another1password"), HERE)
    assert await replica.callers.still_may(direct, "team/a", "push")
    await replica.users.delete(ADMIN, alice.id)
    assert not await replica.callers.still_may(direct, "team/a", "push")


async def test_a_token_of_a_former_member_writes_no_more(replica: Replica) -> None:
    """Nor does that of a member with a lesser role; an administrator needs no membership."""
    alice = await replica.users.by_name("alice")
    team = (await replica.projects.by_name("team")).id
    caller = await replica.callers.identify(await bearer(replica, "alice", "team/a"), HERE)
    admin = await replica.callers.identify(await bearer(replica, "admin", "team/a"), HERE)
    page = await replica.members.list(team, Query())
    (member,) = [m.id for m in page.items if m.entity_id == alice.id]
    await replica.members.change(ADMIN, team, member, 2)
    assert await replica.callers.still_may(caller, "team/a", "push")
    assert not await replica.callers.still_may(caller, "team/a", "delete")
    await replica.members.remove(ADMIN, team, member)
    assert not await replica.callers.still_may(caller, "team/a", "push")
    assert await replica.callers.repository_actions(caller, "team/a")
    assert await replica.callers.still_may(admin, "team/a", "delete")


async def test_a_token_of_a_disabled_robot_writes_no_more(replica: Replica) -> None:
    """On another replica as well, at once."""
    other = Replica(replica.db, single=False)
    await other.keys.load()
    made = await replica.robots.create(
        ADMIN, name="ci", level="project", permissions=[in_project("team", "repository:push")]
    )
    caller = await other.callers.identify(basic(made.robot.name, made.secret), HERE)
    assert await other.callers.repository_actions(caller, "team/a") == {"pull", "push"}
    assert await other.callers.still_may(caller, "team/a", "push")
    await replica.robots.update(ADMIN, made.robot.id, disabled=True)
    assert not await other.callers.still_may(caller, "team/a", "push")
    await other.close()


async def test_an_administrator_has_his_rights_in_the_token_only(replica: Replica) -> None:
    """The flag itself does not travel: a token for one repository is no key to the house."""
    header = await bearer(replica, "admin", "team/a")
    caller = await replica.callers.identify(header, HERE)
    assert not caller.principal.sysadmin
    assert await rights(replica, header, "team/a") == {"pull", "push", "delete"}
    assert await rights(replica, header, "team/b") == set()
