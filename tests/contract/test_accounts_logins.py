"""Sign-in: right and wrong credentials, guesses on several replicas, what is remembered."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import nullcontext

import pytest
from sqlalchemy import select, update
from tests.support.accounts import PASSWORD, Replica, in_project
from tests.support.clocks import HOUR

from moorage.access.principals import Principal
from moorage.accounts import attempts, logins
from moorage.accounts.attempts import FREE, network, wait_after
from moorage.accounts.bootstrap import first_admin
from moorage.accounts.logins import Logins
from moorage.accounts.passwords import Passwords, harbor_hash
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.types import from_now
from moorage.errors import TooManyRequests

pytestmark = pytest.mark.anyio

ADMIN = Principal("user", 1, "admin", sysadmin=True)
HERE = "10.0.0.1"


class Counted(Passwords):
    """Counts how often a password was compared."""

    def __init__(self) -> None:
        super().__init__(memory_kib=8, passes=1)
        self.compared = 0

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Compare, slowly enough that others come meanwhile."""
        self.compared += 1
        await asyncio.sleep(0)
        return await super().verify(encoded, password)


@pytest.fixture
async def replica(database: Database) -> AsyncIterator[Replica]:
    """One process with the users `admin` and `alice`."""
    replica = Replica(database, passwords=Counted())
    await first_admin(database, replica.passwords, "admin", PASSWORD)
    await replica.user("alice")
    yield replica
    await replica.close()


def compared(replica: Replica) -> int:
    """How many comparisons there were."""
    assert isinstance(replica.passwords, Counted)
    return replica.passwords.compared


async def test_right_and_wrong(replica: Replica) -> None:
    """A principal for the right ones, None for all others, whatever is wrong about them."""
    login = await replica.logins.verify("alice", PASSWORD, HERE)
    assert login is not None
    assert login.principal == Principal("user", 2, "alice")
    admin = await replica.logins.verify("admin", PASSWORD, HERE)
    assert admin is not None
    assert admin.principal.sysadmin
    wrong = [
        ("alice", ""),
        ("alice", PASSWORD + " "),
        ("alice", PASSWORD.lower()),
        ("alice", "x" * 2000),
        ("ALICE", PASSWORD),
        ("alice ", PASSWORD),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("a" * 300, PASSWORD),
        ("alice\x00", PASSWORD),
        ("alice", "\ud800"),
        ("robot$alice", PASSWORD),
        ("robot$", ""),
        ("' OR 1=1 --", "x"),
        ("%", PASSWORD),
    ]
    for account, password in wrong:
        assert await replica.logins.verify(account, password, HERE) is None, account


async def test_a_wrong_password_is_told_and_an_unknown_name_is_not(replica: Replica) -> None:
    """The name may be a password that was typed into the wrong field."""
    assert await replica.logins.verify("alice", "wrong", HERE) is None
    assert await replica.logins.verify("my-Passw0rd", "alice", HERE) is None
    assert await replica.logins.flush() == 1
    assert await replica.logins.flush() == 0
    async with replica.db.read() as tx:
        facts = (await tx.execute(select(tables.outbox))).all()
    refused = [fact.payload for fact in facts if fact.type == "UserRefused"]
    assert refused == [{"operator": "alice", "username": "alice", "address": HERE}]
    assert "my-Passw0rd" not in str(facts)


async def test_who_has_no_password_cannot_sign_in_with_one(replica: Replica) -> None:
    """Not with an empty one either."""
    await replica.users.create(ADMIN, "external", None)
    for password in ("", "None", PASSWORD):
        assert await replica.logins.verify("external", password, HERE) is None


@pytest.mark.usefixtures("long_waits")
async def test_guesses_over_three_replicas_are_one_count(replica: Replica) -> None:
    """Of 200 wrong passwords, spread over three replicas and all at once, few are tried."""
    replicas = [Replica(replica.db, single=False, passwords=Counted()) for _ in range(3)]

    async def guess(number: int) -> str:
        try:
            found = await replicas[number % 3].logins.verify("alice", f"Guess{number}x", HERE)
        except TooManyRequests:
            return "wait"
        return "in" if found else "wrong"

    answers = await asyncio.gather(*(guess(number) for number in range(200)))
    assert answers.count("in") == 0
    assert answers.count("wrong") == sum(map(compared, replicas)) <= FREE + 2
    for other in replicas:
        other.passwords.close()


@pytest.mark.usefixtures("long_waits")
async def test_the_wait_grows_and_ends(replica: Replica) -> None:
    """Nobody is locked out for good: the right password works after the wait."""
    for number in range(FREE):
        assert await replica.logins.verify("alice", f"Guess{number}x", HERE) is None
    with pytest.raises(TooManyRequests) as caught:
        await replica.logins.verify("alice", PASSWORD, HERE)
    assert HOUR - 600 < caught.value.detail["seconds"] <= HOUR
    async with replica.db.write() as tx:
        await tx.execute(update(tables.login_attempts).values(blocked_until=from_now(-1)))
    assert await replica.logins.verify("alice", PASSWORD, HERE)
    async with replica.db.read() as tx:
        assert (await tx.execute(select(tables.login_attempts))).all() == []


def test_how_long_one_waits() -> None:
    """Not at all, then twice as long each time, and never longer than the limit."""
    waits = [wait_after(failures) for failures in range(FREE - 1, 2000)]
    assert waits[:4] == [0, 1, 2, 4]
    assert max(waits) == waits[-1] == attempts.LONGEST_WAIT


@pytest.mark.usefixtures("long_waits")
async def test_the_owner_is_not_locked_out_from_elsewhere(replica: Replica) -> None:
    """Failures count per account and address."""
    for number in range(FREE + 1):
        with pytest.raises(TooManyRequests) if number == FREE else nullcontext():
            await replica.logins.verify("alice", f"Guess{number}x", HERE)
    assert await replica.logins.verify("alice", PASSWORD, "10.0.0.2")
    assert await replica.logins.verify("admin", PASSWORD, HERE)


@pytest.mark.usefixtures("long_waits")
async def test_unknown_accounts_wait_like_known_ones(replica: Replica) -> None:
    """The answer to too many guesses does not tell who is there."""
    answers: dict[str, list[str]] = {}
    for account in ("alice", "nobody", "robot$nobody"):
        answers[account] = []
        for number in range(FREE + 2):
            try:
                found = await replica.logins.verify(account, f"Guess{number}x", HERE)
                answers[account].append(str(found))
            except TooManyRequests as error:
                answers[account].append(error.message)
    assert answers["alice"] == answers["nobody"] == answers["robot$nobody"]


async def test_old_failures_are_forgotten(replica: Replica) -> None:
    """After a quarter of an hour one begins anew."""
    for number in range(FREE - 1):
        await replica.logins.verify("alice", f"Guess{number}x", HERE)
    async with replica.db.write() as tx:
        await tx.execute(
            update(tables.login_attempts).values(updated_at=from_now(-attempts.FORGET - 1))
        )
    for number in range(FREE - 1):
        assert await replica.logins.verify("alice", f"Again{number}x", HERE) is None


async def test_failures_that_count_no_more_take_no_room(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can fill the database with names that he invents."""
    for number in range(5):
        await replica.logins.verify(f"robot${number}", "Guess1xyz", HERE)
    async with replica.db.write() as tx:
        old = update(tables.login_attempts).values(updated_at=from_now(-attempts.FORGET - 1))
        await tx.execute(old)
    monkeypatch.setattr(logins, "_TIDY_EVERY", 1)
    await replica.logins.verify("robot$last", "Guess1xyz", HERE)
    async with replica.db.read() as tx:
        accounts = (await tx.execute(select(tables.login_attempts.c.account))).scalars().all()
    assert accounts == ["robot$last"]


async def test_right_credentials_are_compared_once(replica: Replica) -> None:
    """Clients that send Basic with each request cost one hash in a while, also ten at once."""
    found = await asyncio.gather(
        *(replica.logins.verify("alice", PASSWORD, HERE) for _ in range(FREE * 2))
    )
    assert all(found)
    assert await replica.logins.verify("alice", PASSWORD, HERE)
    assert compared(replica) == 1
    replica.clock.advance(logins.REMEMBER + 1)
    assert await replica.logins.verify("alice", PASSWORD, HERE)
    assert compared(replica) == 2


async def test_remembered_credentials_need_no_wait(replica: Replica) -> None:
    """Somebody who guesses from the same address does not stop a client that is at work."""
    assert await replica.logins.verify("alice", PASSWORD, HERE)
    for number in range(FREE):
        await replica.logins.verify("alice", f"Guess{number}x", HERE)
    assert await replica.logins.verify("alice", PASSWORD, HERE)


async def test_what_is_remembered_helps_nobody_elsewhere(replica: Replica) -> None:
    """While a client is at work, who has to wait at another address cannot go on guessing."""
    assert await replica.logins.verify("alice", PASSWORD, HERE)
    elsewhere = "10.0.0.2"
    for number in range(FREE):
        await replica.logins.verify("alice", f"Guess{number}x", elsewhere)
    with pytest.raises(TooManyRequests):
        await replica.logins.verify("alice", PASSWORD, elsewhere)
    assert await replica.logins.verify("alice", PASSWORD, HERE)


async def test_what_changes_counts_at_once_on_other_replicas(replica: Replica) -> None:
    """A new password, a disabled account, another flag: although credentials are remembered."""
    other = Replica(replica.db, single=False)
    alice = Principal("user", 2, "alice")
    await replica.projects.create(ADMIN, "team")
    made = await replica.robots.create(
        ADMIN, name="x", level="project", permissions=[in_project("team", "repository:pull")]
    )
    for name, secret in (("alice", PASSWORD), (made.robot.name, made.secret)):
        assert await other.logins.verify(name, secret, HERE)
    await replica.users.set_sysadmin(ADMIN, alice.id, True)
    login = await other.logins.verify("alice", PASSWORD, HERE)
    assert login is not None
    assert login.principal.sysadmin
    await replica.users.change_password(ADMIN, alice.id, "Another1password")
    await replica.robots.update(ADMIN, made.robot.id, disabled=True)
    assert await other.logins.verify("alice", PASSWORD, HERE) is None
    assert await other.logins.verify(made.robot.name, made.secret, HERE) is None
    await other.close()


async def test_hashes_of_harbor_work_and_are_replaced(replica: Replica) -> None:
    """PBKDF2-SHA256 as Harbor stores it; the first sign-in makes it Argon2id."""
    # hashlib.pbkdf2_hmac("sha256", b"Harbor12345x", b"5uJ3zkw0vTQwyzGkq4pB8vAeb3Rl5eGY", 4096, 16)
    encoded = harbor_hash(
        "5uJ3zkw0vTQwyzGkq4pB8vAeb3Rl5eGY", "a1b28019ad86cdc631b13237f4ad0854", 4096
    )
    async with replica.db.write() as tx:
        await tx.execute(
            update(tables.users).where(tables.users.c.id == 2).values(password_hash=encoded)
        )
    assert await replica.logins.verify("alice", "Wrong12345x", HERE) is None
    login = await replica.logins.verify("alice", "Harbor12345x", HERE)
    assert login is not None
    async with replica.db.read() as tx:
        row = (await tx.execute(select(tables.users).where(tables.users.c.id == 2))).one()
    assert row.password_hash.startswith("$argon2id$")
    assert row.revision == login.revision
    fresh = Logins(replica.db, replica.passwords, replica.standings)
    assert await fresh.verify("alice", "Harbor12345x", HERE)


async def test_logs_name_accounts_and_no_secrets(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    """A password typed as the name stays out; so does whatever would forge a line."""
    caplog.set_level(logging.DEBUG)
    await replica.logins.verify("alice", "Sup3rSecretGuess", HERE)
    await replica.logins.verify("Sup3rSecretName", "x", HERE)
    await replica.logins.verify("alice\r\nroot signed in", "x", HERE)
    await replica.logins.verify("alice", PASSWORD, HERE)
    ours = [record for record in caplog.records if record.name.startswith("moorage")]
    messages = [record.getMessage() for record in ours]
    assert "sign-in failed for 'alice' from 10.0.0.1" in messages
    for canary in ("Sup3rSecret", PASSWORD, "root"):
        assert not any(canary in message for message in messages)
    assert PASSWORD not in repr(vars(replica.logins))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
        ("x\ny", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_what_counts_as_one_address(address: str, expected: str) -> None:
    """An IPv4 address, or the whole network that one IPv6 customer owns."""
    assert network(address) == expected


async def test_an_unknown_user_takes_as_long(replica: Replica) -> None:
    """Medians of known and unknown names are near each other: no list of users by stopwatch."""
    passwords = Passwords(memory_kib=4096, passes=2)
    stage = Replica(replica.db, passwords=passwords)
    for number in range(12):
        await stage.users.create(ADMIN, f"known{number}", PASSWORD)
    loop = asyncio.get_running_loop()
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    for number in range(12):
        for kind in times:
            begun = loop.time()
            assert await stage.logins.verify(f"{kind}{number}", "Wrong1password", HERE) is None
            times[kind].append(loop.time() - begun)
    known, unknown = (sorted(values)[len(values) // 2] for values in times.values())
    assert 0.4 < known / unknown < 2.5
    passwords.close()
