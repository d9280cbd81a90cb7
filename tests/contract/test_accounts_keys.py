"""Signing keys and the secret key, on both databases."""

import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, update
from tests.support.accounts import SECRET_KEY, Replica

from moorage.access.jwts import KeyRing, UnknownKey
from moorage.access.principals import ANONYMOUS
from moorage.access.secretbox import SecretBox
from moorage.accounts.bootstrap import secret_key_file
from moorage.accounts.keys import LOOK_EVERY, Keys, WrongSecretKey
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.types import from_now

pytestmark = pytest.mark.anyio

NEW_KEY = "another secret key for tests"


async def test_replicas_verify_what_others_signed(database: Database) -> None:
    """All load the same key, also when they start at the same moment."""
    replicas = [Replica(database, single=False) for _ in range(3)]
    await asyncio.gather(*(replica.keys.start() for replica in replicas))
    async with database.read() as tx:
        assert len((await tx.execute(select(tables.signing_keys))).all()) == 1
    token = replicas[0].tokens.issue(ANONYMOUS, {}).token
    for replica in replicas:
        replica.tokens.verify(token)


async def test_keys_are_not_in_the_clear_in_the_database(database: Database) -> None:
    """A dump of the database signs no tokens."""
    replica = Replica(database)
    await replica.keys.start()
    async with database.read() as tx:
        row = (await tx.execute(select(tables.signing_keys))).one()
    private = SecretBox(SECRET_KEY).open(row.private_key, f"signing key {row.kid}")
    assert b"PRIVATE KEY" in private
    assert b"PRIVATE KEY" not in row.private_key
    assert private[40:80] not in row.private_key


async def test_a_replica_with_another_secret_key_does_not_start(database: Database) -> None:
    """And writes nothing; the message says what to do and tells no key."""
    await Replica(database).keys.start()
    other = Keys(database, SecretBox(NEW_KEY), KeyRing(), token_lifetime=60)
    with pytest.raises(WrongSecretKey, match="secret_key") as caught:
        await other.start()
    assert NEW_KEY not in str(caught.value)
    async with database.read() as tx:
        assert len((await tx.execute(select(tables.signing_keys))).all()) == 1


async def test_the_secret_key_is_changed_with_the_former_one(database: Database) -> None:
    """What was encrypted is encrypted anew, so the former key is not needed at the next start."""
    first = Replica(database)
    await first.keys.start()
    token = first.tokens.issue(ANONYMOUS, {}).token
    for box in (SecretBox(NEW_KEY, [SECRET_KEY]), SecretBox(NEW_KEY)):
        second = Replica(database)
        await Keys(database, box, second.ring, token_lifetime=60).start()
        second.tokens.verify(token)
    with pytest.raises(WrongSecretKey):
        await Replica(database).keys.start()


async def test_a_new_key_signs_and_the_former_one_verifies(database: Database) -> None:
    """On the replica that rotates, and on others as soon as they meet the new key."""
    here, there = Replica(database, single=False), Replica(database, single=False)
    await here.keys.start()
    await there.keys.start()
    old = here.tokens.issue(ANONYMOUS, {}).token
    kid = await here.keys.rotate()
    new = here.tokens.issue(ANONYMOUS, {}).token
    assert here.ring.signer()[0].kid == kid
    here.tokens.verify(old)
    with pytest.raises(UnknownKey):
        there.tokens.verify(new)
    await there.callers.identify(b"Bearer " + new.encode(), "10.0.0.1")
    there.tokens.verify(old)


async def test_unknown_keys_do_not_keep_the_database_busy(database: Database) -> None:
    """Anybody can send any key id: the look for it is rare."""
    here, there = Replica(database, single=False), Replica(database, single=False)
    await here.keys.start()
    await there.keys.start()
    await there.keys.look_again()
    await here.keys.rotate()
    token = here.tokens.issue(ANONYMOUS, {}).token
    await there.keys.look_again()
    with pytest.raises(UnknownKey):
        there.tokens.verify(token)
    there.clock.advance(LOOK_EVERY)
    await there.keys.look_again()
    there.tokens.verify(token)


async def test_old_keys_are_replaced_and_retired_ones_deleted(database: Database) -> None:
    """By whoever looks after them, once, and not before their time."""
    replica = Replica(database)
    await replica.keys.start()
    first = replica.ring.signer()[0].kid
    await replica.keys.tend()
    assert replica.ring.signer()[0].kid == first
    async with database.write() as tx:
        await tx.execute(update(tables.signing_keys).values(created_at=from_now(-91 * 86400)))
    await asyncio.gather(*(Replica(database).keys.tend() for _ in range(3)))
    await replica.keys.load()
    assert replica.ring.signer()[0].kid != first
    assert await _kids(database) == {first, replica.ring.signer()[0].kid}
    async with database.write() as tx:
        retired = tables.signing_keys.c.retires_at.is_not(None)
        await tx.execute(update(tables.signing_keys).where(retired).values(retires_at=from_now(-1)))
    await replica.keys.tend()
    assert await _kids(database) == {replica.ring.signer()[0].kid}


async def _kids(database: Database) -> set[str]:
    async with database.read() as tx:
        return {row.kid for row in (await tx.execute(select(tables.signing_keys))).all()}


def test_a_secret_key_is_made_once(tmp_path: Path) -> None:
    """Only its owner can read the file, and processes that start together agree.

    GHSA-j7jh-fmcm-xxwv.
    """
    path = tmp_path / "data" / "secret_key"  # a folder that is not there either
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(secret_key_file, [path] * 8))
    assert len(set(keys)) == 1
    assert len(keys[0]) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["secret_key"]


def test_a_lost_secret_key_is_not_replaced(tmp_path: Path) -> None:
    """An empty file is an accident to be told of, not a reason for a new key."""
    path = tmp_path / "secret_key"
    path.write_text("\n")
    with pytest.raises(ValueError, match="backup"):
        secret_key_file(path)
