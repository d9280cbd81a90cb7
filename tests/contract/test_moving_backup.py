"""Backups and restores, from each database into each, and what they refuse."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from tests.support.content import ALICE, Content, sha256
from tests.support.invariants import violations
from tests.support.moving import EVERY, quiet

from moorage import failpoints
from moorage.blobstore.filesystem import FilesystemStore
from moorage.clock import SystemClock
from moorage.db import migrator, tables
from moorage.errors import Conflict, ManifestUnknown, NotFound
from moorage.moving import rows
from moorage.moving.backup import LAST, Backups
from moorage.moving.restore import LEAP, Restore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backups(tmp_path: Path) -> AsyncIterator[Backups]:
    """An empty place."""
    store = FilesystemStore(tmp_path / "backups")
    yield Backups(store, SystemClock())
    await store.close()


async def restored(backups: Backups, vacant: Content, **more: Any) -> dict[str, Any]:
    """Restore the newest backup."""
    run = Restore(backups.place, await backups.find())
    return await run.run(vacant.db, vacant.store, quiet, **more)


async def pulled(inhabited: Content, repository: str, reference: str, layer: bytes) -> bytes:
    """The manifest of a reference; its layer is there, byte for byte."""
    manifest = await inhabited.pulls.manifest(repository, reference)
    assert await inhabited.read_blob(repository, sha256(layer)) == layer
    return manifest.payload


@pytest.mark.parametrize("kinds", ["sqlite-sqlite", "postgresql-postgresql"], indirect=True)
async def test_a_backup_during_pushes_holds_what_was_acknowledged(
    inhabited: Content, vacant: Content, backups: Backups
) -> None:
    """Pushes go on while rows and objects are copied; nothing acknowledged before is lacking."""
    acknowledged: dict[str, bytes] = {}
    enough, stop = asyncio.Event(), asyncio.Event()

    async def push(worker: int) -> None:
        number = 0
        while not stop.is_set():
            tag = f"w{worker}-{number}"
            acknowledged[tag] = await inhabited.push_image(
                "library/app", tag, tag.encode(), [tag.encode() * 100]
            )
            number += 1
            if len(acknowledged) >= 10:
                enough.set()

    async with asyncio.TaskGroup() as group:
        for worker in range(3):
            group.create_task(push(worker))
        await enough.wait()
        before = dict(acknowledged)
        made = await backups.create(inhabited.db, inhabited.store, quiet)
        stop.set()
    assert made.facts["failed"] == {}
    assert await backups.verify(made, quiet, deep=True) == []
    done = await restored(backups, vacant)
    assert done["missing"] == 0
    for tag, payload in before.items():
        assert await pulled(vacant, "library/app", tag, tag.encode() * 100) == payload
    assert await violations(vacant) == []
    assert (await migrator.status(vacant.db)).ready


@pytest.mark.parametrize("kinds", EVERY, indirect=True)
async def test_every_value_comes_back(
    inhabited: Content, vacant: Content, backups: Backups
) -> None:
    """Times, bytes, JSON with and without a value, and the ids that are given out next."""
    await inhabited.push_image("library/a", "v1", annotations={"k": "ü 😀"})
    async with inhabited.db.write() as tx:
        for payload in ({"a": [1, None, "x"]}, None):
            await tx.execute(insert(tables.outbox).values(type="t", payload=payload))
        await tx.execute(insert(tables.users).values(username="gone"))
        await tx.execute(tables.users.delete().where(tables.users.c.username == "gone"))
    await backups.create(inhabited.db, inhabited.store, quiet)
    await restored(backups, vacant)
    for form in rows.forms(without=rows.LEFT_OUT_OF_BACKUPS):
        async with inhabited.db.snapshot() as ours, vacant.db.snapshot() as theirs:
            one = [row async for batch in rows.read(ours, form) for row in batch]
            other = [row async for batch in rows.read(theirs, form) for row in batch]
        if form.name == "properties":
            one = [row for row in one if row[0] != LAST]
        assert one == other, form.name
    async with vacant.db.write() as tx:
        user = insert(tables.users).values(username="next").returning(tables.users.c.id)
        assert (await tx.execute(user)).scalar_one() == 3 + LEAP
        entry = insert(tables.outbox).values(type="t", payload={})
        assert (await tx.execute(entry.returning(tables.outbox.c.id))).scalar_one() > 2


async def test_a_second_backup_copies_what_is_new(inhabited: Content, backups: Backups) -> None:
    """Objects are shared, and the list tells both, the newest first."""
    await inhabited.push_image("library/a", "v1", b"{}", [b"one"])
    first = await backups.create(inhabited.db, inhabited.store, quiet)
    await inhabited.push_image("library/a", "v2", b"{}", [b"two!"])
    second = await backups.create(inhabited.db, inhabited.store, quiet)
    assert (first.summary["copied"], second.summary["copied"]) == (2, 1)
    assert second.summary["objects"] == 3
    assert {one.id for one in await backups.every()} == {first.id, second.id}
    noted = select(tables.properties.c.value).where(tables.properties.c.name == LAST)
    assert json.loads(await inhabited.scalar(noted))["interval"] >= 0
    with pytest.raises(NotFound, match="no complete backup"):
        await backups.find("20000101T000000Z-000000")


async def test_what_is_damaged_is_told(
    inhabited: Content, vacant: Content, backups: Backups, tmp_path: Path
) -> None:
    """In the store, and at the place; a restore marks what is lacking, and a push heals it."""
    await inhabited.push_image("library/a", "v1", b"{}", [b"first", b"other"])
    keys = {
        digest: await inhabited.scalar(
            select(tables.blobs.c.storage_key).where(tables.blobs.c.digest == digest)
        )
        for digest in (sha256(b"first"), sha256(b"other"))
    }
    (tmp_path / "blobs" / keys[sha256(b"first")]).write_bytes(b"FIRST")
    made = await backups.create(inhabited.db, inhabited.store, quiet)
    assert list(made.facts["failed"].values()) == ["its bytes have another digest"]
    copy = tmp_path / "backups" / "objects" / keys[sha256(b"other")]
    copy.write_bytes(b"OTHER")
    wrong = await backups.verify(made, quiet, deep=True)
    assert len(wrong) == 2, wrong
    copy.unlink()
    assert len(await backups.verify(made, quiet, deep=False)) == 2
    assert (await restored(backups, vacant))["missing"] == 2
    states = select(tables.blobs.c.state).order_by(tables.blobs.c.state)
    async with vacant.db.read() as tx:
        assert (await tx.execute(states)).scalars().all() == ["live", "suspect", "suspect"]
    await vacant.push_blob("library/a", b"first")
    assert await vacant.read_blob("library/a", sha256(b"first")) == b"first"


async def test_a_damaged_dump_is_refused(
    inhabited: Content, vacant: Content, backups: Backups, tmp_path: Path
) -> None:
    """Before anything is written."""
    await inhabited.push_image("library/a", "v1")
    made = await backups.create(inhabited.db, inhabited.store, quiet)
    part = tmp_path / "backups" / f"backups/{made.id}/rows/tags-0001.jsonl.gz"
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    assert await backups.verify(made, quiet, deep=False) == [
        f"backups/{made.id}/rows/tags-0001.jsonl.gz is damaged"
    ]
    with pytest.raises(Conflict, match="is damaged"):
        await restored(backups, vacant)
    async with vacant.db.read() as tx:
        assert await rows.used(tx) == []
    (tmp_path / "backups" / f"backups/{made.id}/backup.json").write_bytes(b"{}\n00\n")
    with pytest.raises(Conflict, match=r"backup\.json of .* is damaged"):
        await backups.find(made.id)


async def test_only_an_empty_target_is_filled(
    inhabited: Content, vacant: Content, backups: Backups, tmp_path: Path
) -> None:
    """One in use is left as it is; rows alone may come back onto objects that are there."""
    await inhabited.push_image("library/a", "v1", b"{}", [b"layer"])
    await backups.create(inhabited.db, inhabited.store, quiet)
    with pytest.raises(Conflict, match="in use"):
        await Restore(backups.place, await backups.find()).run(inhabited.db, inhabited.store, quiet)
    shutil.copytree(tmp_path / "blobs", tmp_path / "target" / "blobs", dirs_exist_ok=True)
    stray = tmp_path / "target" / "blobs" / "blobs" / "stray"
    stray.write_bytes(b"of somebody else")
    with pytest.raises(Conflict, match=r"not empty \(it holds blobs/stray\)"):
        await restored(backups, vacant)
    stray.unlink()
    assert (await restored(backups, vacant, objects=False))["missing"] == 0
    assert await violations(vacant) == []
    with pytest.raises(Conflict, match="in use"):
        await restored(backups, vacant)


@pytest.mark.parametrize("step", ["copy.written", "refill.objects", "refill.rows"])
async def test_a_restore_that_ended_early_is_begun_again(
    inhabited: Content, vacant: Content, backups: Backups, step: str
) -> None:
    """Nothing is in the database until everything is."""
    for number in range(3):
        await inhabited.push_image("library/a", f"v{number}", b"{}", [b"layer %d" % number])
    await backups.create(inhabited.db, inhabited.store, quiet)
    failpoints.arm(f"{step}=error")
    try:
        with pytest.raises(BaseException):  # noqa: B017, PT011 - alone, or in a group
            await restored(backups, vacant)
    finally:
        failpoints.arm("")
    async with vacant.db.read() as tx:
        assert await rows.used(tx) == []
    await restored(backups, vacant)
    assert await violations(vacant) == []


async def test_an_older_backup_is_restored_into_its_schema_first(
    inhabited: Content, vacant: Content, backups: Backups, tmp_path: Path
) -> None:
    """And migrated then; one of a later version is refused."""
    await inhabited.push_image("library/a", "v1")
    made = await backups.create(inhabited.db, inhabited.store, quiet)
    path = tmp_path / "backups" / f"backups/{made.id}/backup.json"
    await asyncio.to_thread(_rewrite, path, "9999")
    with pytest.raises(Conflict, match="schema 9999, which this version does not know"):
        await restored(backups, vacant)
    async with vacant.db.read() as tx:
        with pytest.raises(Exception, match="alembic_version"):
            await tx.execute(text("SELECT 1 FROM alembic_version"))


def _rewrite(path: Path, revision: str) -> None:
    import hashlib

    facts = json.loads(path.read_bytes().split(b"\n")[0])
    text = json.dumps({**facts, "revision": revision}, sort_keys=True).encode()
    path.write_bytes(text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n")


async def test_deleted_artifacts_can_be_undeleted_from_a_backup(
    inhabited: Content, vacant: Content, backups: Backups
) -> None:
    """What waits in the trash is in the backup too."""
    payload = await inhabited.push_image("library/a", "v1", b"{}", [b"layer"])
    await inhabited.manifests.delete(ALICE, "library/a", sha256(payload))
    await backups.create(inhabited.db, inhabited.store, quiet)
    await restored(backups, vacant)
    with pytest.raises(ManifestUnknown):
        await vacant.pulls.manifest("library/a", "v1")
    await vacant.manifests.restore(ALICE, "library/a", sha256(payload))
    assert await pulled(vacant, "library/a", "v1", b"layer") == payload
