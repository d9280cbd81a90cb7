"""Pushes, deletes, mounts, collections and restores of the same content, two at a time.

Whatever the order, the answers and the rows are those of one operation after the other, and
nothing that was acknowledged is lost, counted wrongly or kept for ever.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select
from tests.support.content import ALICE, Content, body, image, sha256
from tests.support.invariants import violations
from tests.support.races import (
    EMPTY,
    REPOSITORY,
    RULES,
    Hold,
    begun,
    collected,
    locked,
    meet,
    mount,
    outcome,
    put,
    readable,
    tagged,
)

from moorage.blobstore.base import Writer
from moorage.db import tables
from moorage.db.types import now
from moorage.errors import (
    BlobUnknown,
    ManifestBlobUnknown,
    ManifestUnknown,
    QuotaExceeded,
    StorageUnavailable,
)
from moorage.gc import Sweeper
from moorage.oci.digest import Hasher

pytestmark = pytest.mark.anyio

KEPT = replace(RULES, lease=3600)


@pytest.fixture
def content(racing: Content) -> Content:
    """Leases are over at once, the trash keeps."""
    return racing


# --- a manifest's push and its delete


@pytest.mark.parametrize("point", ["manifest.checked", "manifest.inserting"])
async def test_a_manifest_pushed_again_while_it_is_deleted(
    content: Content, hold: Hold, point: str
) -> None:
    """The delete comes second: nothing of it is left."""
    payload = await content.push_image(REPOSITORY, "v1", EMPTY, [b"layer"])
    digest = sha256(payload)
    pushed, deleted = await meet(
        content,
        hold(point),
        put(content, "v2", payload),
        content.manifests.delete(ALICE, REPOSITORY, digest),
    )
    there = await tagged(content, "v2")
    if point == "manifest.inserting":
        assert (pushed, deleted, there) == (digest, None, None)
    elif there is None:
        assert deleted is None
    else:
        await readable(content, payload, EMPTY, b"layer")
    await collected(content)


async def test_a_manifest_deleted_while_it_is_pushed_again(content: Content, hold: Hold) -> None:
    """The push comes second: it is there with its tag, and its old tag is not."""
    payload = await content.push_image(REPOSITORY, "v1", EMPTY, [b"layer"])
    deleted, pushed = await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete(ALICE, REPOSITORY, sha256(payload)),
        put(content, "v2", payload),
    )
    assert (deleted, pushed) == (None, sha256(payload))
    assert await tagged(content, "v1") is None
    assert await tagged(content, "v2") == sha256(payload)
    await readable(content, payload, EMPTY, b"layer")
    await content.collect()
    await readable(content, payload, EMPTY, b"layer")


# --- references and the collector


@pytest.mark.parametrize("point", ["manifest.checked", "manifest.inserting"])
async def test_the_collector_comes_while_a_manifest_is_stored(
    content: Content, hold: Hold, point: str
) -> None:
    """It passes over what the push holds, and finds it needed afterwards."""
    for data in (EMPTY, b"layer"):
        await content.push_blob(REPOSITORY, data)
    payload = image(EMPTY, [b"layer"])
    pushed, _ = await meet(
        content,
        hold(point),
        put(content, "v1", payload),
        content.collector.run_once(ignore_review=True),
    )
    assert pushed == sha256(payload)
    await content.collect()
    await readable(content, payload, EMPTY, b"layer")


@pytest.mark.parametrize("point", ["gc.locked", "gc.unlinking"])
async def test_a_manifest_comes_while_its_blob_is_collected(
    content: Content, hold: Hold, point: str
) -> None:
    """After the lease it is too late: the push is refused, and works when the blob came again."""
    await content.push_blob(REPOSITORY, EMPTY)
    payload = image(EMPTY, [])
    run, refused = await meet(
        content,
        hold(point),
        content.collector.run_once(ignore_review=True),
        put(content, "v1", payload),
    )
    assert run.blobs == 1
    assert isinstance(refused, ManifestBlobUnknown)
    await content.push_blob(REPOSITORY, EMPTY)
    await put(content, "v1", payload)
    await content.collect()
    await readable(content, payload, EMPTY)


@pytest.mark.parametrize("point", ["gc.locked", "gc.unlinking"])
async def test_a_blob_is_pushed_again_while_it_is_collected(
    content: Content, hold: Hold, point: str
) -> None:
    """The new bytes stay, under a key of their own; the old key goes."""
    await content.push_blob(REPOSITORY, EMPTY)
    (old,) = await content.live_keys()
    content.uploads._rules = KEPT
    run, pushed = await meet(
        content,
        hold(point),
        content.collector.run_once(ignore_review=True),
        content.push_blob(REPOSITORY, EMPTY),
    )
    assert (run.blobs, pushed) == (1, sha256(EMPTY))
    await content.sweeper.empty()
    await content.collect()
    (new,) = await content.keys()
    assert new != old
    await put(content, "v1", image(EMPTY, []))
    assert await content.read_blob(REPOSITORY, sha256(EMPTY)) == EMPTY


async def test_the_collector_comes_while_a_blob_is_promised_again(
    content: Content, hold: Hold
) -> None:
    """HEAD before a push said yes: the blob stays."""
    await content.push_blob(REPOSITORY, EMPTY)
    content.uploads._rules = KEPT
    promised, _ = await meet(
        content,
        hold("lease.renewing"),
        content.uploads.renew(REPOSITORY, sha256(EMPTY)),
        content.collector.run_once(ignore_review=True),
    )
    assert promised is not None
    await content.collect()
    payload = image(EMPTY, [])
    await put(content, "v1", payload)
    await readable(content, payload, EMPTY)


@pytest.mark.parametrize("point", ["gc.locked", "gc.unlinking"])
async def test_a_blob_is_asked_for_while_it_is_collected(
    content: Content, hold: Hold, point: str
) -> None:
    """HEAD before a push says no: the client pushes it again."""
    await content.push_blob(REPOSITORY, EMPTY)
    content.uploads._rules = KEPT
    _, promised = await meet(
        content,
        hold(point),
        content.collector.run_once(ignore_review=True),
        content.uploads.renew(REPOSITORY, sha256(EMPTY)),
    )
    assert promised is None


async def test_what_was_needed_is_looked_at_again_when_it_no_longer_is(content: Content) -> None:
    """The collector forgets what a manifest names; the manifest's delete tells it."""
    payload = await content.push_image(REPOSITORY, "v1", EMPTY, [b"layer"])
    assert (await content.collector.run_once()).blobs == 0
    assert (await content.collector.run_once()).reviewed == 0
    await content.manifests.delete(ALICE, REPOSITORY, sha256(payload))
    assert (await content.collector.run_once()).blobs == 2


async def test_two_collectors_and_a_push_between(content: Content, hold: Hold) -> None:
    """The second one's list is old: what was pushed meanwhile is looked at when its lease ends."""
    async with content.db.write() as tx:  # what the first collector has left to the second
        row = insert(tables.gc_candidates).values(
            digest=sha256(EMPTY), review_after=now(), reason="lease"
        )
        await tx.execute(row)
    await meet(
        content,
        hold("blob.inserting"),
        content.push_blob(REPOSITORY, EMPTY),
        content.collector.run_once(),
    )
    await collected(content)


# --- one blob, several pushes


async def test_two_pushes_of_one_blob(content: Content, hold: Hold) -> None:
    """Both are told that it is there, and one copy of it stays."""
    one, two = await meet(
        content,
        hold("blob.inserting"),
        content.push_blob(REPOSITORY, b"layer"),
        content.push_blob("library/b", b"layer"),
    )
    assert one == two == sha256(b"layer")
    for place in (REPOSITORY, "library/b"):
        assert await content.read_blob(place, one) == b"layer"
    while (await content.sweeper.run_once()).objects:
        pass
    assert len(await content.keys()) == 1
    await collected(content)


async def test_the_first_of_two_pushes_fails(content: Content, hold: Hold) -> None:
    """The second one stands on its own."""
    held = hold("blob.inserting")
    first = asyncio.ensure_future(content.push_blob(REPOSITORY, b"layer"))
    await asyncio.wait_for(held.reached.wait(), 60)
    second = await begun(content.db, content.push_blob("library/b", b"layer"))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == sha256(b"layer")
    assert await content.read_blob("library/b", sha256(b"layer")) == b"layer"
    await collected(content)


@pytest.mark.parametrize("way", ["push", "append", "finish"])
async def test_the_answer_waits_for_the_disk(
    content: Content, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Nothing is acknowledged, and nobody reads a row, before the bytes behind it are durable."""
    disk, writing = asyncio.Event(), asyncio.Event()
    create = content.store.create

    def slow(key: str, hasher: Hasher | None = None) -> Writer:
        writer = create(key, hasher)
        commit = writer.commit

        async def wait() -> None:
            writing.set()
            await disk.wait()
            await commit()

        monkeypatch.setattr(writer, "commit", wait)
        return writer

    digest, uploads = sha256(b"layer"), content.uploads
    upload = await uploads.start(ALICE, REPOSITORY)
    monkeypatch.setattr(content.store, "create", slow)
    work: dict[str, Coroutine[Any, Any, Any]] = {
        "push": uploads.push(ALICE, REPOSITORY, digest, body(b"layer"), length=5),
        "append": uploads.append(ALICE, REPOSITORY, upload.id, body(b"layer"), start=0, length=5),
        "finish": uploads.finish(ALICE, REPOSITORY, upload.id, digest, body(b"layer"), length=5),
    }
    task = asyncio.ensure_future(work.pop(way))
    for other in work.values():
        other.close()
    await asyncio.wait_for(writing.wait(), 60)
    assert not (await asyncio.wait({task}, timeout=0.3))[0]
    assert (await uploads.status(ALICE, REPOSITORY, upload.id)).offset == 0
    with pytest.raises(BlobUnknown):
        await content.read_blob(REPOSITORY, digest)
    disk.set()
    await task
    if way != "append":
        assert await content.read_blob(REPOSITORY, digest) == b"layer"


# --- mounts


@pytest.mark.parametrize("last", [True, False])
async def test_the_source_is_deleted_while_it_is_mounted(
    content: Content, hold: Hold, last: bool
) -> None:
    """The mount was first: the target has the blob, whatever becomes of the source."""
    await content.push_blob(REPOSITORY, b"layer")
    content.uploads._rules = KEPT

    async def source_goes() -> Any:
        await content.uploads.delete_blob(ALICE, REPOSITORY, sha256(b"layer"))
        return await content.collector.run_once(ignore_review=True) if last else None

    mounted, _ = await meet(content, hold("mount.inserting"), mount(content), source_goes())
    assert mounted is not None
    await content.collect()
    assert await content.read_blob("library/b", sha256(b"layer")) == b"layer"
    with pytest.raises(BlobUnknown):
        await content.read_blob(REPOSITORY, sha256(b"layer"))


async def test_a_source_is_mounted_while_it_is_deleted(content: Content) -> None:
    """The delete was first: there is nothing to mount, and the target is promised nothing."""
    await content.push_blob(REPOSITORY, b"layer")
    async with locked(content, select(tables.quotas.c.id)):
        deleted = await begun(
            content.db, content.uploads.delete_blob(ALICE, REPOSITORY, sha256(b"layer"))
        )
        mounted = await begun(content.db, mount(content))
    assert await deleted is None
    assert await mounted is None
    await collected(content)


@pytest.mark.parametrize("point", ["gc.locked", "gc.unlinking"])
async def test_a_source_is_mounted_while_it_is_collected(
    content: Content, hold: Hold, point: str
) -> None:
    """There is nothing to mount any more."""
    await content.push_blob(REPOSITORY, b"layer")
    run, mounted = await meet(
        content, hold(point), content.collector.run_once(ignore_review=True), mount(content)
    )
    assert (run.blobs, mounted) == (1, None)


# --- the trash


async def test_the_sweeper_comes_while_an_image_is_restored(content: Content, hold: Hold) -> None:
    """Its bytes are wanted again: they stay."""
    payload = await content.push_image(REPOSITORY, "v1", EMPTY, [b"layer"])
    await content.manifests.delete(ALICE, REPOSITORY, sha256(payload))
    await content.collect()
    async with content.db.write() as tx:  # due at this very moment
        await tx.execute(tables.blob_trash.update().values(not_before=now()))
    restored, swept = await meet(
        content,
        hold("restore.restoring"),
        content.manifests.restore(ALICE, REPOSITORY, sha256(payload)),
        content.sweeper.run_once(),
    )
    assert restored.digest == sha256(payload)
    assert swept.objects == 0
    assert await tagged(content, "v1") == sha256(payload)
    await readable(content, payload, EMPTY, b"layer")


@pytest.mark.parametrize("point", ["sweep.claimed", "sweep.deleted"])
async def test_an_image_is_restored_while_the_sweeper_has_it(
    content: Content, hold: Hold, point: str
) -> None:
    """It is too late: nothing comes back by half."""
    payload = await content.push_image(REPOSITORY, "v1", EMPTY, [b"layer"])
    await content.manifests.delete(ALICE, REPOSITORY, sha256(payload))
    await content.collect()
    async with content.db.write() as tx:
        await tx.execute(tables.blob_trash.update().values(not_before=now()))
    swept, refused = await meet(
        content,
        hold(point),
        content.sweeper.run_once(),
        content.manifests.restore(ALICE, REPOSITORY, sha256(payload)),
    )
    assert swept.objects == 2
    assert isinstance(refused, ManifestBlobUnknown)
    with pytest.raises(ManifestUnknown):
        await content.pulls.manifest(REPOSITORY, sha256(payload))
    await collected(content)


async def test_a_key_in_use_is_never_swept(content: Content) -> None:
    """Whatever a row in the trash says."""
    await content.push_blob(REPOSITORY, b"layer")
    (key,) = await content.live_keys()
    async with content.db.write() as tx:
        row = insert(tables.blob_trash).values(storage_key=key, not_before=now())
        await tx.execute(row)
    assert (await content.sweeper.run_once()).objects == 0
    assert await content.read_blob(REPOSITORY, sha256(b"layer")) == b"layer"
    async with content.db.write() as tx:
        await tx.execute(tables.blob_trash.delete())


async def test_what_could_not_be_deleted_is_tried_again(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row goes after the bytes, so that a store that is away leaves nothing behind."""
    await content.push_blob(REPOSITORY, b"layer")
    await content.collector.run_once(ignore_review=True)
    await content.sweeper.empty()

    async def away(_: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(content.store, "delete", away)
        with pytest.raises(StorageUnavailable):
            await content.sweeper.run_once()
    assert len(await content.keys()) == 1
    assert (await Sweeper(content.db, content.store).run_once()).objects == 0  # not at once
    async with content.db.write() as tx:
        await tx.execute(tables.blob_trash.update().values(not_before=now()))
    assert (await content.sweeper.run_once()).objects == 1
    assert await content.keys() == set()


async def test_a_blob_is_pushed_while_its_image_is_restored(content: Content, hold: Hold) -> None:
    """Two copies for a moment: the one that is not used goes."""
    payload = await content.push_image(REPOSITORY, "v1", EMPTY, [])
    await content.manifests.delete(ALICE, REPOSITORY, sha256(payload))
    await content.collect()
    pushed, restored = await meet(
        content,
        hold("blob.inserting"),
        content.push_blob("library/b", EMPTY),
        content.manifests.restore(ALICE, REPOSITORY, sha256(payload)),
    )
    assert pushed == sha256(EMPTY)
    assert restored.digest == sha256(payload)
    assert await violations(content) == []
    await readable(content, payload, EMPTY)
    await content.sweeper.empty()
    await content.collect()
    assert len(await content.keys()) == 1
    await readable(content, payload, EMPTY)


async def test_one_image_is_restored_twice(content: Content, hold: Hold) -> None:
    """Once is enough."""
    payload = await content.push_image(REPOSITORY, "v1")
    await content.manifests.delete(ALICE, REPOSITORY, sha256(payload))
    first, second = await meet(
        content,
        hold("restore.restoring"),
        content.manifests.restore(ALICE, REPOSITORY, sha256(payload)),
        content.manifests.restore(ALICE, REPOSITORY, sha256(payload)),
    )
    assert first.tags == ("v1",)
    assert isinstance(second, ManifestUnknown)
    await readable(content, payload)


# --- the quota


async def test_parallel_pushes_fill_the_quota_to_the_byte(content: Content) -> None:
    """Exactly as many as fit are taken; the others are refused and leave nothing."""
    content.uploads._rules = KEPT
    project_id = await content.project("mine", hard=500)
    pushes = [outcome(content.push_blob(f"mine/r{n % 3}", b"%0100d" % n)) for n in range(12)]
    found = await asyncio.gather(*pushes)
    taken = [answer for answer in found if isinstance(answer, str)]
    assert len(taken) == 5
    assert all(isinstance(answer, str | QuotaExceeded) for answer in found)
    assert await content.used(project_id) == 500
    while (await content.sweeper.run_once()).objects:
        pass
    assert len(await content.keys()) == 5


async def test_parallel_pushes_of_one_layer_count_it_once(content: Content) -> None:
    """In a project that has room for one."""
    content.uploads._rules = KEPT
    project_id = await content.project("mine", hard=100)
    pushes = [content.push_blob(f"mine/r{n % 3}", b"%0100d" % 7) for n in range(8)]
    assert set(await asyncio.gather(*pushes)) == {sha256(b"%0100d" % 7)}
    assert await content.used(project_id) == 100


async def test_pushes_and_deletes_at_the_limit(content: Content) -> None:
    """Room that a delete made is given away once."""
    content.uploads._rules = KEPT
    project_id = await content.project("mine", hard=1000)
    names = [f"mine/r{n}" for n in range(4)]
    await asyncio.gather(*(content.push_blob(name, b"%0250d" % n) for n, name in enumerate(names)))

    async def goes(at: int) -> None:
        await content.uploads.delete_blob(ALICE, names[at], sha256(b"%0250d" % at))

    comes = [outcome(content.push_blob(f"mine/n{n}", b"%0200d" % n)) for n in range(10)]
    await asyncio.gather(*(goes(at) for at in range(4)), *comes)
    assert await content.used(project_id) <= 1000
    fits = [outcome(content.push_blob("mine/last", b"%0200d" % (50 + n))) for n in range(6)]
    await asyncio.gather(*fits)
    assert await content.used(project_id) == 1000


async def test_a_limit_is_set_while_something_is_pushed(content: Content, hold: Hold) -> None:
    """What was acknowledged counts; what comes after the new limit is refused."""
    content.uploads._rules = KEPT
    await content.project("mine", hard=1000)
    row = tables.quotas.update().where(tables.quotas.c.hard == 1000).values(hard=100)

    async def lower() -> None:
        async with content.db.write() as tx:
            await tx.execute(row)

    pushed, _ = await meet(
        content, hold("blob.inserting"), content.push_blob("mine/a", b"%0100d" % 1), lower()
    )
    assert pushed == sha256(b"%0100d" % 1)
    with pytest.raises(QuotaExceeded):
        await content.push_blob("mine/a", b"2")


async def test_deletes_of_two_images_that_share_a_layer(content: Content, hold: Hold) -> None:
    """The one that ends last frees it."""
    project_id = await content.project("mine")
    one, two = [
        await content.push_image(f"mine/r{n}", "v1", b"%d" % n, [b"shared"]) for n in range(2)
    ]
    assert await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete(ALICE, "mine/r0", sha256(one)),
        content.manifests.delete(ALICE, "mine/r1", sha256(two)),
    ) == [None, None]
    assert await content.used(project_id) == 0
    assert (await content.collector.run_once()).blobs == 3


@pytest.mark.parametrize("first", ["push", "delete"])
async def test_a_layer_is_named_again_while_its_only_image_is_deleted(
    content: Content, hold: Hold, first: str
) -> None:
    """It counts, whichever comes first."""
    project_id = await content.project("mine")
    old = await content.push_image("mine/a", "v1", b"1", [b"shared"])
    await content.push_blob("mine/a", b"2")
    new = image(b"2", [b"shared"])
    push = put(content, "v2", new, "mine/a")
    remove = content.manifests.delete(ALICE, "mine/a", sha256(old))
    if first == "push":
        await meet(content, hold("manifest.inserting"), push, remove)
    else:
        await meet(content, hold("delete.deleting"), remove, push)
    assert await content.used(project_id) == len(new) + len(b"2") + len(b"shared")
