"""The comparison of rows and objects, as a job: damage is marked, what is put back is seen."""

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import select
from tests.support.content import Content, sha256
from tests.support.jobs import ask, row, tasks_of, worker, working

from moorage.blobstore.memory import MemoryStore
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.errors import BlobUnknown
from moorage.gc.verify import KIND, SETTLED, Options, VerifyJob
from moorage.jobs import Kind, NewTask
from moorage.jobs.history import History
from moorage.jobs.records import FINAL

pytestmark = pytest.mark.anyio

APP = "team/app"


class Shop:
    """Content over a store whose objects a test may spoil."""

    def __init__(self, db: Database) -> None:
        self.store = MemoryStore()
        self.content = Content(db, self.store)
        self.db = db

    async def key(self, digest: str) -> str:
        query = select(tables.blobs.c.storage_key).where(tables.blobs.c.digest == digest)
        return str(await self.content.scalar(query))

    async def verify(self, **options: Any) -> Any:
        """Run it to its end; its results."""
        made = await ask(self.db, NewTask(KIND, Options(**options).dump()), vendor=KIND)
        async with working(self.worker()):
            async with asyncio.timeout(120):
                while (await row(self.db, made)).status not in FINAL:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        (task,) = await tasks_of(self.db, made)
        assert task.status == "Success", task.status_message
        return task.extra

    def worker(self) -> Any:
        return worker(self.db, Kind(KIND, VerifyJob(self.db, self.store, SystemClock()), limit=1))

    def old(self, key: str, data: bytes) -> None:
        """An object that was written long ago."""
        self.store.objects[key] = data
        self.store._modified_at[key] = time.time() - SETTLED - 60


@pytest.fixture
async def shop(database: Database) -> Shop:
    made = Shop(database)
    await made.content.project("team")
    return made


async def test_damage_is_marked_and_the_next_push_heals_it(shop: Shop) -> None:
    """What is missing or short is seen at once, other bytes of the same length only by reading."""
    bodies = [b"missing", b"short", b"changed", b"whole"]
    missing, short, changed, whole = [await shop.content.push_blob(APP, data) for data in bodies]
    del shop.store.objects[await shop.key(missing)]
    shop.store.objects[await shop.key(short)] = b"sho"
    shop.store.objects[await shop.key(changed)] = b"CHANGED"
    found = await shop.verify()
    assert (found["checked"], found["damaged"]) == (4, 2)
    assert (await shop.verify(deep=True))["damaged"] == 3
    assert await shop.content.read_blob(APP, whole) == b"whole"
    for digest, data in zip((missing, short, changed), bodies, strict=False):
        with pytest.raises(BlobUnknown):
            await shop.content.read_blob(APP, digest)
        await shop.content.push_blob(APP, data)
        assert await shop.content.read_blob(APP, digest) == data
    assert (await shop.verify(deep=True))["damaged"] == 0


async def test_what_was_put_back_is_whole_again(shop: Shop) -> None:
    """By somebody who restored the bucket; only who has read it knows."""
    digest = await shop.content.push_blob(APP, b"restored")
    key = await shop.key(digest)
    kept = shop.store.objects.pop(key)
    assert (await shop.verify())["damaged"] == 1
    shop.old(key, kept)
    assert (await shop.verify())["healed"] == 0
    assert (await shop.verify(deep=True))["healed"] == 1
    assert await shop.content.read_blob(APP, digest) == b"restored"


async def test_orphans_are_told_and_deleted_only_when_asked(shop: Shop) -> None:
    """Those of ours that are old; what another registry left in the bucket is its own."""
    digest = await shop.content.push_blob(APP, b"known")
    known = await shop.key(digest)
    shop.old(known, b"known")
    shop.old("blobs/aa/lost", b"12345")
    shop.old("docker/registry/v2/repositories/app/_layers/sha256/aa/link", b"theirs")
    shop.store.objects["blobs/aa/young"] = b"its push may still run"
    shop.store._modified_at["blobs/aa/young"] = time.time()
    found = await shop.verify()
    assert (found["orphans"], found["orphan_bytes"], found["foreign"]) == (1, 5, 1)
    assert found["deleted"] == 0
    assert "blobs/aa/lost" in shop.store.objects
    assert (await shop.verify(delete_orphans=True))["deleted"] == 1
    assert "blobs/aa/lost" not in shop.store.objects
    assert {known, "blobs/aa/young"} < set(shop.store.objects)
    assert len(shop.store.objects) == 3


async def test_a_scrub_reads_no_faster_than_it_may(shop: Shop) -> None:
    """Six blobs of a tenth of a second each; the log names what is damaged."""
    digests = [await shop.content.push_blob(APP, bytes([n]) * 1000) for n in range(6)]
    shop.store.objects[await shop.key(digests[3])] = b"x" * 1000
    began = time.monotonic()
    found = await shop.verify(deep=True, orphans=False, bytes_per_second=10_000)
    assert time.monotonic() - began >= 0.5
    assert (found["checked"], found["size"], found["damaged"]) == (6, 6000, 1)
    page = await History(shop.db).log(1)
    assert f"damaged blob: {sha256(bytes([3]) * 1000)}: its bytes have another digest" in page
