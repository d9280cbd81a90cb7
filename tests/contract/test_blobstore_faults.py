"""Object stores that fail: lost answers, short answers, errors, a killed server."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.requirements import path_of
from tests.support.storeproxy import Hang, Length, Reply, Status, StoreProxy, Swallow, Truncate
from tests.support.stores import Bucket, SeaweedServer

import moorage.blobstore
from moorage.blobstore.base import BlobStore
from moorage.config.storage import StorageSettings
from moorage.errors import BlobUnknown, StorageFull, StorageUnavailable

pytestmark = pytest.mark.anyio

PART = 5 << 20


@pytest.fixture
def proxy(seaweed_server: SeaweedServer) -> Iterator[StoreProxy]:
    """A proxy in front of the S3 server; it keeps the host that requests are signed for."""
    proxy = StoreProxy(seaweed_server.endpoint)
    yield proxy
    proxy.close()


def opened(bucket: Bucket, endpoint: str, **more: Any) -> BlobStore:
    """A store that gives up soon."""
    section = {"chunksize": PART, "retries": 2, "retryseconds": 5, "timeout": 2, **more}
    section = bucket.section(**section, regionendpoint=endpoint)
    settings = StorageSettings.model_validate({"driver": "s3", "s3": section})
    return moorage.blobstore.open(settings, data_dir=Path("/nonexistent"))


@pytest.fixture
def store(seaweed: Bucket, proxy: StoreProxy) -> BlobStore:
    """A store behind the proxy."""
    return opened(seaweed, proxy.url)


async def put(store: BlobStore, key: str, content: bytes) -> None:
    """Write one object, or leave nothing."""
    hasher = hashlib.sha256()
    writer = store.create(key, hasher)
    try:
        for at in range(0, len(content), 1 << 20):
            await writer.write(content[at : at + (1 << 20)])
        await writer.commit()
    except BaseException:
        await writer.abort()
        raise
    assert hasher.hexdigest() == hashlib.sha256(content).hexdigest()


async def get(store: BlobStore, key: str) -> bytes:
    """Read one object."""
    return b"".join([piece async for piece in store.read(key)])


SMALL = os.urandom(100_000)
LARGE = os.urandom(3 * PART + 1234)


async def test_errors_of_the_store_are_retried(store: BlobStore, proxy: StoreProxy) -> None:
    """One 503 at each kind of request is not seen by anybody."""
    proxy.rule("PUT", "blobs/small", Status(503))
    await put(store, "blobs/small", SMALL)
    for fragment, method in (("uploads", "POST"), ("partNumber=2", "PUT"), ("uploadId", "POST")):
        proxy.rule(method, fragment, Status(500))
    await put(store, "blobs/large", LARGE)
    for method in ("GET", "HEAD"):
        proxy.rule(method, "blobs/", Status(503))
    assert await get(store, "blobs/large") == LARGE
    proxy.rule("POST", "delete", Status(503))
    await store.delete(["blobs/small", "blobs/large"])
    assert await store.size("blobs/small") is None


async def test_a_lost_answer_to_a_small_write(store: BlobStore, proxy: StoreProxy) -> None:
    """The store took the object and nobody was told: the write succeeds."""
    proxy.rule("PUT", "blobs/", Swallow(), times=9)
    await put(store, "blobs/small", SMALL)
    assert await get(store, "blobs/small") == SMALL


async def test_a_lost_answer_to_the_completion(
    store: BlobStore, proxy: StoreProxy, seaweed: Bucket, seaweed_server: SeaweedServer
) -> None:
    """The parts were put together and nobody was told: the write succeeds."""
    proxy.rule("POST", "uploadId", Swallow(), times=9)
    await put(store, "blobs/large", LARGE)
    assert await get(store, "blobs/large") == LARGE
    assert seaweed_server.pending(seaweed.bucket) == []


async def test_a_success_that_is_none(store: BlobStore, proxy: StoreProxy) -> None:
    """A status 200 with an error in its body does not count; what is there decides."""
    error = b"<Error><Code>InternalError</Code><Message>no</Message></Error>"
    proxy.rule("POST", "uploadId", Reply(error), times=9)
    proxy.rule("HEAD", "blobs/", Status(404), times=1)
    with pytest.raises(StorageUnavailable):
        await put(store, "blobs/large", LARGE)
    assert await store.size("blobs/large") is None


async def test_a_store_that_keeps_less(store: BlobStore, proxy: StoreProxy) -> None:
    """An acknowledged object of the wrong length is an error, and is taken away."""
    proxy.rule("HEAD", "blobs/x", Length(len(SMALL) - 1))
    with pytest.raises(StorageUnavailable):
        await put(store, "blobs/x", SMALL)
    assert await store.size("blobs/x") is None


async def test_a_store_that_is_full(store: BlobStore, proxy: StoreProxy) -> None:
    """A server without room is told apart from one that does not answer."""
    proxy.rule("PUT", "blobs/", Status(507), times=99)
    for content in (SMALL, LARGE):
        with pytest.raises(StorageFull):
            await put(store, "blobs/x", content)
        assert await store.size("blobs/x") is None


async def test_a_part_that_fails_leaves_no_parts(
    store: BlobStore, proxy: StoreProxy, seaweed: Bucket, seaweed_server: SeaweedServer
) -> None:
    """When a part cannot be sent, the write fails and the others are taken back."""
    proxy.rule("PUT", "partNumber=2", Status(500), times=99)
    with pytest.raises(StorageUnavailable):
        await put(store, "blobs/large", LARGE)
    assert await store.size("blobs/large") is None
    assert seaweed_server.pending(seaweed.bucket) == []


async def test_an_abort_leaves_no_parts(
    store: BlobStore, seaweed: Bucket, seaweed_server: SeaweedServer
) -> None:
    """A client that breaks off in the middle costs nothing afterwards."""
    writer = store.create("blobs/large")
    for at in range(0, len(LARGE), 1 << 20):
        await writer.write(LARGE[at : at + (1 << 20)])
    await writer.abort()
    assert await store.size("blobs/large") is None
    assert seaweed_server.pending(seaweed.bucket) == []


async def test_a_cancelled_write_leaves_nothing(
    store: BlobStore, seaweed: Bucket, seaweed_server: SeaweedServer
) -> None:
    """Cancelled anywhere, also in the middle of the commit: no object and no parts."""
    for delay in (0.01, 0.05, 0.1, 0.15, 0.2):
        task = asyncio.create_task(put(store, "blobs/large", LARGE))
        await asyncio.sleep(delay)
        if not task.cancel():
            await store.delete(["blobs/large"])
            continue
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await store.size("blobs/large") is None
        assert seaweed_server.pending(seaweed.bucket) == []


async def test_an_answer_cut_off_is_taken_up_again(store: BlobStore, proxy: StoreProxy) -> None:
    """A download that ends early goes on from where it was, byte for byte."""
    await put(store, "blobs/large", LARGE)
    proxy.rule("GET", "blobs/large", Truncate(3_000_000), times=3)
    assert await get(store, "blobs/large") == LARGE


async def test_an_answer_that_is_always_cut_off(store: BlobStore, proxy: StoreProxy) -> None:
    """A store that never sends a byte of what it announces is an error, not an endless loop."""
    await put(store, "blobs/large", LARGE)
    proxy.rule("GET", "blobs/large", Truncate(0), times=999)
    with pytest.raises(StorageUnavailable):
        await get(store, "blobs/large")


async def test_a_store_that_is_down_fails_soon(seaweed: Bucket) -> None:
    """Every call against a dead address fails in bounded time, and an abort never raises."""
    store = opened(seaweed, "http://127.0.0.1:9", retries=1)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable):
        await put(store, "blobs/x", SMALL)
    with pytest.raises(StorageUnavailable):
        await put(store, "blobs/x", LARGE)
    with pytest.raises(StorageUnavailable):
        await store.size("blobs/x")
    with pytest.raises(StorageUnavailable):
        await store.delete(["blobs/x"])
    with pytest.raises(StorageUnavailable):
        await store.ping()
    with pytest.raises(StorageUnavailable):
        await get(store, "blobs/x")
    assert time.monotonic() - began < 20


async def test_a_store_that_hangs(seaweed: Bucket, proxy: StoreProxy) -> None:
    """No byte for `timeout` seconds is a failure."""
    store = opened(seaweed, proxy.url, timeout=1, retries=0)
    proxy.rule("HEAD", "blobs/", Hang(60))
    began = time.monotonic()
    with pytest.raises(StorageUnavailable):
        await store.size("blobs/x")
    assert time.monotonic() - began < 30


async def test_a_missing_bucket_and_wrong_keys(seaweed: Bucket) -> None:
    """`ping` notices both, and the error names no key."""
    from dataclasses import replace

    for wrong in (replace(seaweed, bucket="none-such"), replace(seaweed, secret_key="wrong")):
        store = opened(wrong, wrong.endpoint)
        with pytest.raises(StorageUnavailable) as caught:
            await store.ping()
        assert "wrong" not in str(caught.value)
        with pytest.raises(StorageUnavailable):
            await anext(store.read("blobs/x", 0, 5))


async def test_what_was_acknowledged_survives_the_store(tmp_path: Path) -> None:
    """`kill -9` of the store in the middle of a write: acknowledged objects are whole."""
    server = SeaweedServer(tmp_path, path_of("weed"))
    server.start()
    try:
        bucket = server.bucket()
        store = opened(bucket, server.endpoint, retries=1)
        await put(store, "blobs/small", SMALL)
        await put(store, "blobs/large", LARGE)
        writer = store.create("blobs/lost")
        for at in range(0, 2 * PART, 1 << 20):
            await writer.write(LARGE[at : at + (1 << 20)])
        server.kill()
        await writer.write(LARGE)
        with pytest.raises(StorageUnavailable):
            await writer.commit()
        await writer.abort()
        server.start()
        assert await get(store, "blobs/small") == SMALL
        assert await get(store, "blobs/large") == LARGE
        with pytest.raises(BlobUnknown):
            await get(store, "blobs/lost")
        await put(store, "blobs/again", LARGE)
        assert await get(store, "blobs/again") == LARGE
    finally:
        server.kill()


LAST_WORDS = """
import asyncio, json, sys
from pathlib import Path
import moorage.blobstore
from moorage.config.storage import StorageSettings

async def main():
    settings = StorageSettings.model_validate(json.loads(sys.argv[1]))
    store = moorage.blobstore.open(settings, data_dir=Path("/nonexistent"))
    names = [f"blobs/{n:02x}/{n:032x}" for n in range(100)]
    assert set(await asyncio.gather(*map(store.size, names))) == {None}
    await store.close()

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_process_ends_well_behind_its_last_request(seaweed: Bucket) -> None:
    """The client's threads never meet an interpreter that is going, which would abort."""
    section = json.dumps({"driver": "s3", "s3": seaweed.section()})
    arguments = [sys.executable, "-c", LAST_WORDS, section]
    statuses = [subprocess.run(arguments, check=False).returncode for _ in range(25)]
    assert set(statuses) == {0}
