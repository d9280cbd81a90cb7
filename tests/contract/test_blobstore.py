"""One suite for every blob store: what the Protocol promises, each driver keeps."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

import moorage.blobstore
from moorage.blobstore.base import CHUNK, BlobStore
from moorage.config.storage import StorageSettings
from moorage.errors import BlobUnknown, StorageUnavailable

pytestmark = pytest.mark.anyio

PART = 5 << 20
SIZES = [0, 1, 10 << 10, CHUNK - 1, CHUNK, CHUNK + 1, PART, PART + 1, 2 * PART + 12345]


@pytest.fixture(params=["memory", "filesystem", "s3", "gcs", "azure"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    """An empty store of each driver."""
    settings = settings_of(request)
    opened = moorage.blobstore.open(settings, data_dir=tmp_path)
    yield opened
    await opened.close()


def settings_of(request: pytest.FixtureRequest) -> StorageSettings:
    """Settings of the driver that the test is for, with small parts and a root directory."""
    driver = request.param
    if driver in ("memory", "filesystem"):
        return StorageSettings(driver=driver)
    if driver == "s3":
        section = request.getfixturevalue("seaweed").section()
    else:
        settings = request.getfixturevalue(driver)
        section = getattr(settings, driver).model_dump()
    root = f"/{section.get('rootdirectory', '')}/team/registry"
    section = {**section, "chunksize": PART, "rootdirectory": root, "retries": 1}
    return StorageSettings.model_validate({"driver": driver, driver: section})


async def put(store: BlobStore, key: str, content: bytes, pieces: int = 65536) -> None:
    """Write one object."""
    writer = store.create(key)
    for at in range(0, len(content), pieces):
        await writer.write(content[at : at + pieces])
    await writer.commit()


async def get(store: BlobStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    """Read one object, or a range of it."""
    return b"".join([piece async for piece in store.read(key, start, end)])


async def keys(store: BlobStore, prefix: str = "") -> set[str]:
    """What a scan finds."""
    return {found.key async for found in store.scan(prefix)}


async def test_what_is_written_is_read(store: BlobStore) -> None:
    """Objects of every interesting length come back byte for byte, with their length."""
    for size in SIZES:
        content = os.urandom(size)
        await put(store, f"blobs/aa/{size}", content)
        assert await get(store, f"blobs/aa/{size}") == content
        assert await store.size(f"blobs/aa/{size}") == size


async def test_the_hasher_sees_every_byte_before_the_commit(store: BlobStore) -> None:
    """After `flush` the digest is final, although the object does not exist yet."""
    for size in SIZES:
        content = os.urandom(size)
        hasher = hashlib.sha256()
        writer = store.create(f"blobs/bb/{size}", hasher)
        for at in range(0, size, 300_000):
            await writer.write(memoryview(content)[at : at + 300_000])
        await writer.flush()
        assert hasher.hexdigest() == hashlib.sha256(content).hexdigest()
        assert writer.size == size
        assert await store.size(f"blobs/bb/{size}") is None
        await writer.commit()
        assert hasher.hexdigest() == hashlib.sha256(content).hexdigest()
        assert await get(store, f"blobs/bb/{size}") == content


async def test_ranges(store: BlobStore) -> None:
    """A range is half open; an empty one is empty; no end means the object's end."""
    content = os.urandom(3 * CHUNK + 17)
    await put(store, "blobs/cc/ranged", content)
    for start, end in [
        (0, 1),
        (0, CHUNK),
        (1, CHUNK + 1),
        (CHUNK - 1, 2 * CHUNK + 1),
        (len(content) - 1, len(content)),
        (5, 5),
        (len(content), len(content)),
    ]:
        assert await get(store, "blobs/cc/ranged", start, end) == content[start:end]
    assert await get(store, "blobs/cc/ranged", 2 * CHUNK) == content[2 * CHUNK :]
    assert await get(store, "blobs/cc/ranged", len(content)) == b""


async def test_an_object_that_is_too_short_is_noticed(store: BlobStore) -> None:
    """Bytes that the caller knows of and the store does not have are an error, never silence."""
    await put(store, "blobs/dd/short", b"0123456789")
    with pytest.raises(StorageUnavailable):
        await get(store, "blobs/dd/short", 0, 11)
    with pytest.raises(StorageUnavailable):
        await get(store, "blobs/dd/short", 11)


async def test_unknown_keys(store: BlobStore) -> None:
    """A key without an object has no length, cannot be read, and is deleted in peace."""
    assert await store.size("blobs/ee/none") is None
    for end in (None, 5):
        with pytest.raises(BlobUnknown):
            await get(store, "blobs/ee/none", 0, end)
    await store.delete(["blobs/ee/none"])
    assert store.path("blobs/ee/none") is None


async def test_an_aborted_object_leaves_nothing(store: BlobStore) -> None:
    """Whatever was written before, nothing is found after an abort, also after a second one."""
    for size in SIZES:
        writer = store.create(f"blobs/ff/{size}")
        content = os.urandom(size)
        for at in range(0, size, 65536):
            await writer.write(content[at : at + 65536])
        await writer.abort()
        await writer.abort()
        assert await store.size(f"blobs/ff/{size}") is None
    assert await keys(store) == set()


async def test_an_abort_after_the_commit_does_nothing(store: BlobStore) -> None:
    """A `finally: abort()` does not undo a commit."""
    writer = store.create("blobs/ff/kept")
    await writer.write(b"kept")
    await writer.commit()
    await writer.abort()
    assert await get(store, "blobs/ff/kept") == b"kept"


async def test_join(store: BlobStore) -> None:
    """Several objects become one, in order, hashed on the way; the parts stay."""
    parts = [os.urandom(size) for size in (3, PART + 7, 0, 100_000)]
    names = [f"blobs/gg/part-{number}" for number in range(len(parts))]
    for name, content in zip(names, parts, strict=True):
        await put(store, name, content)
    hasher = hashlib.sha512()
    assert await store.join(names, "blobs/gg/whole", hasher) == sum(map(len, parts))
    assert await get(store, "blobs/gg/whole") == b"".join(parts)
    assert hasher.hexdigest() == hashlib.sha512(b"".join(parts)).hexdigest()
    assert await keys(store) == {*names, "blobs/gg/whole"}


async def test_a_join_of_something_missing_leaves_nothing(store: BlobStore) -> None:
    """A part that is not there ends the join, and no half object stays behind."""
    await put(store, "blobs/hh/there", os.urandom(PART + 1))
    with pytest.raises(BlobUnknown):
        await store.join(["blobs/hh/there", "blobs/hh/missing"], "blobs/hh/whole")
    assert await keys(store) == {"blobs/hh/there"}


async def test_delete_many(store: BlobStore) -> None:
    """All named objects are gone on return, others stay, missing ones do not matter."""
    names = [f"blobs/{number % 7}/{number}" for number in range(40)]
    for name in names:
        await put(store, name, name.encode())
    await store.delete([*names[:30], "blobs/none"])
    assert await keys(store) == set(names[30:])
    await store.delete(names)
    await store.delete([])
    assert await keys(store) == set()


async def test_scan(store: BlobStore) -> None:
    """A scan tells key, length and time of every object under a prefix of whole segments."""
    for name in ("blobs/a/1", "blobs/a/22", "blobs/ab/333", "logs/1"):
        await put(store, name, b"x" * len(name))
    found = [item async for item in store.scan("blobs/a/")]
    assert {(item.key, item.size) for item in found} == {("blobs/a/1", 9), ("blobs/a/22", 10)}
    assert all(item.modified_at > 1_700_000_000 for item in found)
    assert await keys(store) == {"blobs/a/1", "blobs/a/22", "blobs/ab/333", "logs/1"}
    assert await keys(store, "nothing/here/") == set()


async def test_adopted_keys(store: BlobStore) -> None:
    """Paths of another registry's storage are valid keys."""
    digest = "ab" * 32
    key = f"docker/registry/v2/blobs/sha256/ab/{digest}/data"
    await put(store, key, b"adopted")
    assert await get(store, key) == b"adopted"
    assert await keys(store, "docker/") == {key}


async def test_a_reader_may_stop_early(store: BlobStore) -> None:
    """Closing the generator after one piece frees what it held."""
    await put(store, "blobs/ii/long", os.urandom(4 * CHUNK))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        async with aclosing(store.read("blobs/ii/long")) as pieces:
            assert len(await anext(pieces)) >= 1
    if store.driver == "filesystem":
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "key",
    ["", "/", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a\0b", "ü", "a b"],
)
async def test_keys_that_no_database_made(store: BlobStore, key: str) -> None:
    """A key out of shape is a fault of the program and reaches no store."""
    with pytest.raises(ValueError, match="not a storage key"):
        store.create(key)
    with pytest.raises(ValueError, match="not a storage key"):
        await store.size(key)
    with pytest.raises(ValueError, match="not a storage key"):
        await store.delete([key])
    with pytest.raises(ValueError, match="not a storage key"):
        await get(store, key)


async def test_ping(store: BlobStore) -> None:
    """A store that answers says nothing."""
    await store.ping()
