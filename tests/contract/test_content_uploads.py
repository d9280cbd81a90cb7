"""Pushing blobs, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import func, select
from tests.support.content import ALICE, Content, body, image, sha256

from moorage.access.principals import Principal
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.rules import Rules
from moorage.artifacts.uploads import Uploads
from moorage.blobstore.memory import MemoryStore
from moorage.config.configuration import Configuration
from moorage.db import tables
from moorage.db.engine import Database
from moorage.errors import (
    BlobUnknown,
    ClientGone,
    DigestInvalid,
    PreconditionFailed,
    ProjectUnknown,
    QuotaExceeded,
    RangeInvalid,
    SizeInvalid,
    TooLarge,
    UploadUnknown,
)
from moorage.oci import media_types
from moorage.settings import Fixed

pytestmark = pytest.mark.anyio

BOB = Principal("user", 2, "bob")
RULES = Rules(lease=3600, drain=0, trash=0)


@pytest.fixture
async def content(database: Database) -> Content:
    made = Content(database, MemoryStore(), RULES)
    await made.project("library")
    return made


async def test_a_blob_arrives_in_chunks_and_is_read_back(content: Content) -> None:
    """Three chunks, of which one has no bytes, are one blob."""
    data = b"hello registry"
    upload = await content.uploads.start(ALICE, "library/a")
    for start, end in ((0, 5), (5, 5), (5, len(data))):
        upload = await content.uploads.append(
            ALICE, "library/a", upload.id, body(data[start:end]), start=start, length=end - start
        )
    blob = await content.uploads.finish(ALICE, "library/a", upload.id, sha256(data), None)
    assert blob.size == len(data)
    assert await content.read_blob("library/a", sha256(data)) == data


async def test_the_closing_request_may_carry_the_last_bytes(content: Content) -> None:
    """PATCH then PUT with a body."""
    upload = await content.uploads.start(ALICE, "library/a")
    await content.uploads.append(
        ALICE, "library/a", upload.id, body(b"one"), start=None, length=None
    )
    await content.uploads.finish(
        ALICE, "library/a", upload.id, sha256(b"onetwo"), body(b"t", b"wo"), start=3, length=3
    )
    assert await content.read_blob("library/a", sha256(b"onetwo")) == b"onetwo"


async def test_an_empty_blob_is_a_blob(content: Content) -> None:
    """No byte has a digest too."""
    await content.push_blob("library/a", b"")
    assert await content.read_blob("library/a", sha256(b"")) == b""


async def test_a_session_hashed_one_way_can_be_closed_with_another_digest(
    content: Content,
) -> None:
    """The bytes are read again where the algorithm of the closing digest differs."""
    import hashlib

    digest = "sha512:" + hashlib.sha512(b"data").hexdigest()
    upload = await content.uploads.start(ALICE, "library/a")
    await content.uploads.append(ALICE, "library/a", upload.id, body(b"data"), start=0, length=4)
    await content.uploads.finish(ALICE, "library/a", upload.id, digest, None)
    assert await content.read_blob("library/a", digest) == b"data"


async def test_a_wrong_digest_keeps_nothing(content: Content) -> None:
    """The session is over and its bytes are in the trash."""
    upload = await content.uploads.start(ALICE, "library/a")
    await content.uploads.append(ALICE, "library/a", upload.id, body(b"data"), start=0, length=4)
    with pytest.raises(DigestInvalid):
        await content.uploads.finish(ALICE, "library/a", upload.id, sha256(b"other"), None)
    with pytest.raises(UploadUnknown):
        await content.uploads.status(ALICE, "library/a", upload.id)
    await content.collect()
    assert await content.keys() == set()


async def test_a_chunk_at_the_wrong_place_is_refused_with_the_right_one(content: Content) -> None:
    """The client learns where to go on, and nothing moved."""
    upload = await content.uploads.start(ALICE, "library/a")
    await content.uploads.append(ALICE, "library/a", upload.id, body(b"data"), start=0, length=4)
    with pytest.raises(RangeInvalid) as refused:
        await content.uploads.append(ALICE, "library/a", upload.id, body(b"x"), start=9, length=1)
    assert refused.value.detail == {"offset": 4}
    assert (await content.uploads.status(ALICE, "library/a", upload.id)).offset == 4


@pytest.mark.parametrize("length", [3, 5])
async def test_a_body_of_another_length_than_announced_is_refused(
    content: Content, length: int
) -> None:
    """Too short or too long: nothing is kept of that chunk."""
    upload = await content.uploads.start(ALICE, "library/a")
    with pytest.raises(SizeInvalid):
        await content.uploads.append(
            ALICE, "library/a", upload.id, body(b"data"), start=0, length=length
        )
    assert (await content.uploads.status(ALICE, "library/a", upload.id)).offset == 0
    await content.collect()
    assert await content.keys() == set()


async def test_a_client_that_breaks_off_keeps_what_arrived(content: Content) -> None:
    """It goes on from there."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"hello "
        raise ClientGone

    upload = await content.uploads.start(ALICE, "library/a")
    with pytest.raises(ClientGone):
        await content.uploads.append(ALICE, "library/a", upload.id, broken(), start=0, length=100)
    assert (await content.uploads.status(ALICE, "library/a", upload.id)).offset == 6
    await content.uploads.finish(
        ALICE, "library/a", upload.id, sha256(b"hello world"), body(b"world"), start=6, length=5
    )
    assert await content.read_blob("library/a", sha256(b"hello world")) == b"hello world"


async def test_the_newest_writer_wins(content: Content) -> None:
    """A request that hangs loses its turn to the client's next one, and does no harm later."""
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"old"
        waiting.set()
        await go_on.wait()

    upload = await content.uploads.start(ALICE, "library/a")
    old = asyncio.create_task(
        content.uploads.append(ALICE, "library/a", upload.id, slow(), start=0, length=None)
    )
    await waiting.wait()
    await content.uploads.append(ALICE, "library/a", upload.id, body(b"new"), start=0, length=3)
    go_on.set()
    with pytest.raises(RangeInvalid):
        await old
    await content.uploads.finish(ALICE, "library/a", upload.id, sha256(b"new"), None)
    assert await content.read_blob("library/a", sha256(b"new")) == b"new"
    await content.collect()
    assert await content.keys() == await content.live_keys()


async def test_an_older_writer_is_refused_also_when_it_ends_first(content: Content) -> None:
    """Its turn is over from the moment at which somebody else began."""
    gates = [asyncio.Event(), asyncio.Event()]
    begun: asyncio.Queue[bytes] = asyncio.Queue()

    async def slow(data: bytes, gate: asyncio.Event) -> AsyncIterator[bytes]:
        yield data
        begun.put_nowait(data)
        await gate.wait()

    upload = await content.uploads.start(ALICE, "library/a")
    writers = []
    for data, gate in zip((b"old", b"new"), gates, strict=True):
        work = content.uploads.append(
            ALICE, "library/a", upload.id, slow(data, gate), start=0, length=3
        )
        writers.append(asyncio.create_task(work))
        assert await begun.get() == data
    gates[0].set()
    with pytest.raises(RangeInvalid):
        await writers[0]
    gates[1].set()
    assert (await writers[1]).offset == 3
    await content.uploads.finish(ALICE, "library/a", upload.id, sha256(b"new"), None)
    assert await content.read_blob("library/a", sha256(b"new")) == b"new"


@pytest.mark.parametrize("data", [b"old", b"bad"])
async def test_an_older_closing_request_does_not_end_the_session(
    content: Content, data: bytes
) -> None:
    """Neither when its digest is right nor when it is wrong: somebody newer is writing."""
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield data
        waiting.set()
        await go_on.wait()

    upload = await content.uploads.start(ALICE, "library/a")
    closing = asyncio.create_task(
        content.uploads.finish(
            ALICE, "library/a", upload.id, sha256(b"old"), slow(), start=0, length=None
        )
    )
    await waiting.wait()
    await content.uploads.append(ALICE, "library/a", upload.id, body(b"new"), start=0, length=3)
    go_on.set()
    with pytest.raises((UploadUnknown, DigestInvalid)):
        await closing
    assert (await content.uploads.status(ALICE, "library/a", upload.id)).offset == 3
    await content.uploads.finish(ALICE, "library/a", upload.id, sha256(b"new"), None)
    assert await content.read_blob("library/a", sha256(b"new")) == b"new"


async def test_a_session_belongs_to_who_began_it(content: Content) -> None:
    """Others, and other repositories, learn nothing of it."""
    upload = await content.uploads.start(ALICE, "library/a")
    with pytest.raises(UploadUnknown):
        await content.uploads.status(BOB, "library/a", upload.id)
    with pytest.raises(UploadUnknown):
        await content.uploads.append(BOB, "library/a", upload.id, body(b"x"), start=0, length=1)
    with pytest.raises(UploadUnknown):
        await content.uploads.cancel(BOB, "library/a", upload.id)
    with pytest.raises(UploadUnknown):
        await content.uploads.status(ALICE, "library/b", upload.id)


async def test_a_cancelled_session_leaves_nothing(content: Content) -> None:
    """Neither a row nor an object."""
    upload = await content.uploads.start(ALICE, "library/a")
    await content.uploads.append(ALICE, "library/a", upload.id, body(b"data"), start=0, length=4)
    await content.uploads.cancel(ALICE, "library/a", upload.id)
    await content.collect()
    assert await content.keys() == set()
    assert await content.scalar(select(func.count()).select_from(tables.upload_segments)) == 0


async def test_two_pushes_of_one_digest_keep_one_object(content: Content) -> None:
    """Both are acknowledged, the second's object goes."""
    await asyncio.gather(*(content.push_blob(f"library/r{i}", b"same") for i in range(4)))
    await content.collect()
    assert len(await content.keys()) == 1
    for i in range(4):
        assert await content.read_blob(f"library/r{i}", sha256(b"same")) == b"same"


async def test_a_push_heals_a_blob_whose_object_is_gone(content: Content) -> None:
    """HEAD says 404, the client pushes again, every repository can read it."""
    digest = await content.push_blob("library/a", b"precious")
    await content.store.delete([(await content.pulls.blob("library/a", digest)).storage_key])
    content.uploads._seen.clear()
    assert await content.uploads.renew("library/a", digest) is None
    with pytest.raises(BlobUnknown):
        await content.pulls.blob("library/a", digest)
    await content.push_blob("library/b", b"precious")
    assert await content.read_blob("library/a", digest) == b"precious"


@pytest.mark.parametrize("lost", ["all", "some"])
async def test_a_push_heals_what_nobody_has_noticed(content: Content, lost: str) -> None:
    """A push without a HEAD looks for itself before it relies on the bytes of others."""
    digest = await content.push_blob("library/a", b"precious")
    key = (await content.pulls.blob("library/a", digest)).storage_key
    await content.store.delete([key])
    if lost == "some":
        writer = content.store.create(key)
        await writer.write(b"prec")
        await writer.commit()
    await content.push_blob("library/b", b"precious")
    for repository in ("library/a", "library/b"):
        assert await content.read_blob(repository, digest) == b"precious"


async def test_a_mount_needs_the_right_to_pull_from_the_source(content: Content) -> None:
    """Without it the answer is the same as for a blob that does not exist."""
    digest = await content.push_blob("library/a", b"data")

    async def nowhere(name: str) -> bool:
        return False

    async def anywhere(name: str) -> bool:
        return True

    mount = content.uploads.mount
    assert await mount(ALICE, "library/b", digest, nowhere, "library/a") is None
    assert await mount(ALICE, "library/b", sha256(b"none"), anywhere, "library/a") is None
    assert await mount(ALICE, "library/b", digest, anywhere, "library/other") is None
    with pytest.raises(BlobUnknown):
        await content.pulls.blob("library/b", digest)
    assert await mount(ALICE, "library/b", digest, anywhere, "library/a") is not None
    assert await mount(ALICE, "library/c", digest, anywhere, None) is not None
    assert await content.read_blob("library/c", digest) == b"data"


async def test_a_repository_reads_only_its_own_blobs(content: Content) -> None:
    """Content elsewhere is as unknown as content nowhere."""
    digest = await content.push_blob("library/a", b"secret")
    for unknown in (digest, sha256(b"nothing")):
        with pytest.raises(BlobUnknown):
            await content.pulls.blob("library/b", unknown)


async def test_a_blob_that_a_manifest_needs_cannot_be_deleted(content: Content) -> None:
    """An unreferenced one can."""
    await content.push_image("library/a", "v1", layers=[b"layer"])
    with pytest.raises(PreconditionFailed):
        await content.uploads.delete_blob(ALICE, "library/a", sha256(b"layer"))
    lonely = await content.push_blob("library/a", b"lonely")
    await content.uploads.delete_blob(ALICE, "library/a", lonely)
    with pytest.raises(BlobUnknown):
        await content.pulls.blob("library/a", lonely)


async def test_pushes_into_no_project_are_refused(content: Content) -> None:
    """Nothing is made."""
    with pytest.raises(ProjectUnknown):
        await content.uploads.start(ALICE, "nowhere/a")


async def test_the_quota_counts_bytes_that_came_not_those_announced(content: Content) -> None:
    """Chunks without a length stop at the limit, and leave nothing."""
    project_id = await content.project("small", hard=10)
    upload = await content.uploads.start(ALICE, "small/a")
    with pytest.raises(QuotaExceeded):
        await content.uploads.append(
            ALICE, "small/a", upload.id, body(b"12345", b"678901"), start=0, length=None
        )
    await content.uploads.cancel(ALICE, "small/a", upload.id)
    assert await content.used(project_id) == 0
    await content.collect()
    assert await content.keys() == set()


async def test_parallel_pushes_never_pass_the_quota(content: Content) -> None:
    """Eight pushes of 4 bytes into 10: two fit."""
    project_id = await content.project("small", hard=10)
    results = await asyncio.gather(
        *(content.push_blob(f"small/r{i}", b"abc%d" % i) for i in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, str) for result in results) == 2
    assert all(isinstance(result, str | QuotaExceeded) for result in results)
    assert await content.used(project_id) == 8


async def test_quotas_that_are_switched_off_go_on_counting(content: Content) -> None:
    """Nothing is refused; with quotas on again, what adds to them is."""
    project_id = await content.project("small", hard=10)
    free = Fixed(Configuration(quota_per_project_enable=False))
    uploads = Uploads(content.db, content.store, content.rules, free)
    manifests = Manifests(content.db, content.rules, free)
    layer = b"twelve bytes"
    upload = await uploads.start(ALICE, "small/a")
    await uploads.append(ALICE, "small/a", upload.id, body(layer), start=0, length=None)
    await uploads.finish(ALICE, "small/a", upload.id, sha256(layer), None)
    await uploads.push(ALICE, "small/a", sha256(b"{}"), body(b"{}"), length=2)

    async def anywhere(_: str) -> bool:
        return True

    assert await uploads.mount(ALICE, "small/b", sha256(layer), anywhere, "small/a") is not None
    manifest = image(b"{}", [layer])
    await manifests.put(ALICE, "small/a", "v1", manifest, media_types.OCI_MANIFEST)
    assert await content.used(project_id) == len(layer) + 2 + len(manifest)
    with pytest.raises(QuotaExceeded):
        await content.push_blob("small/a", b"more")
    await content.push_blob("small/c", b"{}")


async def test_the_same_layer_counts_once_a_project(content: Content) -> None:
    """However many repositories hold it."""
    project_id = await content.project("mine", hard=-1)
    for name in ("mine/a", "mine/b"):
        await content.push_blob(name, b"12345")
    assert await content.used(project_id) == 5


async def test_a_blob_over_the_largest_size_is_refused(content: Content) -> None:
    """The setting is held against counted bytes."""
    content.uploads._rules = replace(RULES, max_blob=4)
    with pytest.raises(TooLarge):
        await content.push_blob("library/a", b"12345")
    await content.push_blob("library/a", b"1234")


async def test_two_closing_requests_make_one_blob(content: Content) -> None:
    """A retry that overlaps its original is told that the session is over, or succeeds."""
    upload = await content.uploads.start(ALICE, "library/a")
    for start in (0, 3):
        await content.uploads.append(
            ALICE, "library/a", upload.id, body(b"abc"), start=start, length=3
        )
    digest = sha256(b"abcabc")
    results = await asyncio.gather(
        *(content.uploads.finish(ALICE, "library/a", upload.id, digest, None) for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    refused = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(result, UploadUnknown | BlobUnknown) for result in refused), refused
    assert await content.read_blob("library/a", digest) == b"abcabc"
    await content.collect()
    assert await content.keys() == await content.live_keys()
