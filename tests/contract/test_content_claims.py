"""Who writes to an upload session: the process that began it, another one, or nobody any more."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import func, select
from tests.support.content import ALICE, Content, body, sha256

from moorage.artifacts import claims, uploads
from moorage.artifacts.rules import Rules
from moorage.artifacts.uploads import Uploads
from moorage.blobstore.memory import MemoryStore
from moorage.db import tables
from moorage.db.engine import Database
from moorage.errors import Conflict, DigestInvalid, RangeInvalid, UploadUnknown

pytestmark = pytest.mark.anyio

REPOSITORY = "library/a"


@pytest.fixture
async def content(database: Database) -> Content:
    made = Content(database, MemoryStore(), Rules(lease=0, drain=0, trash=0))
    await made.project("library")
    return made


def replica(content: Content) -> Uploads:
    """Another process, which remembers nothing."""
    return Uploads(content.db, content.store, content.rules)


async def nothing_is_left(content: Content) -> None:
    """No object, and no row that would name one."""
    await content.collect()
    assert await content.keys() == set()
    for table in (tables.uploads, tables.upload_segments, tables.blob_trash):
        assert await content.scalar(select(func.count()).select_from(table)) == 0


@dataclass
class Slow:
    """A body that stops after its first bytes."""

    data: bytes
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> AsyncIterator[bytes]:
        yield self.data[:2]
        self.begun.set()
        await self.go_on.wait()
        yield self.data[2:]


async def write(
    content: Content, upload_id: str, data: bytes, sent: AsyncIterator[bytes], *, closing: bool
) -> None:
    """All of a blob, in a chunk or with the closing request."""
    here = ALICE, REPOSITORY, upload_id
    if closing:
        await content.uploads.finish(*here, sha256(data), sent, start=None, length=len(data))
    else:
        await content.uploads.append(*here, sent, start=None, length=len(data))


async def claimed(content: Content) -> int:
    """How often a session was claimed in the database."""
    return int(await content.scalar(select(func.max(tables.uploads.c.epoch))))


async def test_the_first_bytes_need_no_claim_of_their_own(content: Content) -> None:
    """Where the session began; whoever comes later asks the database."""
    upload = await content.uploads.start(ALICE, REPOSITORY)
    await content.uploads.append(ALICE, REPOSITORY, upload.id, body(b"a"), start=0, length=1)
    assert await claimed(content) == 0
    await content.uploads.append(ALICE, REPOSITORY, upload.id, body(b"b"), start=1, length=1)
    assert await claimed(content) == 1
    await content.uploads.finish(
        ALICE, REPOSITORY, upload.id, sha256(b"abc"), body(b"c"), start=None, length=1
    )
    assert await content.read_blob(REPOSITORY, sha256(b"abc")) == b"abc"


@pytest.mark.parametrize("limit", ["SECONDS", "MOST"])
async def test_what_was_forgotten_is_asked_for(
    content: Content, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """A session that began long ago, or before too many others."""
    monkeypatch.setattr(claims, limit, {"SECONDS": 0, "MOST": 1}[limit])
    begun = [await content.uploads.start(ALICE, REPOSITORY) for _ in range(3)]
    for number, upload in enumerate(begun[:2]):
        data = b"%d" % number
        await content.uploads.append(ALICE, REPOSITORY, upload.id, body(data), start=0, length=1)
        assert await claimed(content) == 1
        await content.uploads.finish(ALICE, REPOSITORY, upload.id, sha256(data), None)
        assert await content.read_blob(REPOSITORY, sha256(data)) == data


async def test_a_session_goes_on_elsewhere(content: Content) -> None:
    """Chunks alternate between two processes; each knows where it is."""
    data = b"abcdefgh"
    processes = [replica(content), content.uploads]
    upload = await content.uploads.start(ALICE, REPOSITORY)
    for offset in range(6):
        upload = await processes[offset % 2].append(
            ALICE, REPOSITORY, upload.id, body(data[offset:][:1]), start=offset, length=1
        )
    await content.uploads.finish(
        ALICE, REPOSITORY, upload.id, sha256(data), body(data[6:]), start=6, length=2
    )
    assert await content.read_blob(REPOSITORY, sha256(data)) == data


async def test_a_session_comes_back(content: Content) -> None:
    """The process that began it has its claim still, and knows that it is over."""
    upload = await content.uploads.start(ALICE, REPOSITORY)
    await replica(content).append(ALICE, REPOSITORY, upload.id, body(b"ab"), start=None, length=2)
    await content.uploads.finish(
        ALICE, REPOSITORY, upload.id, sha256(b"abc"), body(b"c"), start=None, length=1
    )
    assert await content.read_blob(REPOSITORY, sha256(b"abc")) == b"abc"


@pytest.mark.parametrize("closing", [False, True])
async def test_who_is_overtaken_elsewhere_is_refused(content: Content, closing: bool) -> None:
    """Its bytes go, the session lives."""
    upload = await content.uploads.start(ALICE, REPOSITORY)
    slow = Slow(b"old")
    writer = asyncio.create_task(write(content, upload.id, b"old", slow(), closing=closing))
    await slow.begun.wait()
    await replica(content).append(ALICE, REPOSITORY, upload.id, body(b"new"), start=0, length=3)
    slow.go_on.set()
    with pytest.raises((RangeInvalid, UploadUnknown)):
        await writer
    assert (await content.uploads.status(ALICE, REPOSITORY, upload.id)).offset == 3
    await content.uploads.finish(ALICE, REPOSITORY, upload.id, sha256(b"new"), None)
    assert await content.read_blob(REPOSITORY, sha256(b"new")) == b"new"
    await nothing_is_left(content)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("closing", [False, True])
async def test_a_session_is_cancelled_and_swept_while_it_is_written(
    content: Content, closing: bool, elsewhere: bool
) -> None:
    """The writer's object comes after the sweeper was there, and goes all the same."""
    upload = await content.uploads.start(ALICE, REPOSITORY)
    slow = Slow(b"bytes")
    writer = asyncio.create_task(write(content, upload.id, b"bytes", slow(), closing=closing))
    await slow.begun.wait()
    await (replica(content) if elsewhere else content.uploads).cancel(ALICE, REPOSITORY, upload.id)
    await content.collect()
    slow.go_on.set()
    with pytest.raises((Conflict, RangeInvalid, UploadUnknown)):
        await writer
    await nothing_is_left(content)


async def test_a_long_stream_learns_that_its_session_ended(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its end: what it wrote could be swept before it is there."""
    monkeypatch.setattr(uploads, "HEARTBEAT", -1.0)
    upload = await content.uploads.start(ALICE, REPOSITORY)
    slow = Slow(b"bytes")
    writer = asyncio.create_task(
        content.uploads.append(ALICE, REPOSITORY, upload.id, slow(), start=0, length=500)
    )
    await slow.begun.wait()
    await content.uploads.cancel(ALICE, REPOSITORY, upload.id)
    slow.go_on.set()
    with pytest.raises(UploadUnknown):  # not that the rest did not arrive
        await writer
    await nothing_is_left(content)


async def test_an_overtaken_writer_has_time_to_end(content: Content) -> None:
    """What it writes is not swept under its hands; what is done with goes at once."""
    patient = Content(content.db, content.store, Rules(lease=0, drain=3600, trash=0))
    upload = await patient.uploads.start(ALICE, REPOSITORY)
    await patient.uploads.append(ALICE, REPOSITORY, upload.id, body(b"a"), start=0, length=1)
    slow = Slow(b"bytes")
    writer = asyncio.create_task(
        patient.uploads.append(ALICE, REPOSITORY, upload.id, slow(), start=1, length=5)
    )
    await slow.begun.wait()
    with pytest.raises(DigestInvalid):
        await replica(patient).finish(
            ALICE, REPOSITORY, upload.id, sha256(b"a"), body(b"b"), start=1, length=1
        )
    keys = select(func.count()).select_from(tables.blob_trash)
    await patient.collect()
    assert await patient.keys() == set()
    assert await patient.scalar(keys) == 1  # the writer's
    slow.go_on.set()
    with pytest.raises((Conflict, RangeInvalid, UploadUnknown)):
        await writer
    await nothing_is_left(patient)
