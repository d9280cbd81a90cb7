"""What the filesystem driver owes to a disk: durability, no debris, and no way out of its root."""

import asyncio
import errno
import hashlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.crashfs import CrashFiles

from moorage.blobstore import keys as storage_keys
from moorage.blobstore.base import CHUNK
from moorage.blobstore.files import SystemFiles
from moorage.blobstore.filesystem import LEAST_FREE, FilesystemStore, FileWriter
from moorage.errors import StorageFull, StorageUnavailable

pytestmark = pytest.mark.anyio


def restarted(files: CrashFiles) -> FilesystemStore:
    """The store of a process that starts on what the disk holds."""
    return FilesystemStore(files.root, files=files)


async def fill(writer: FileWriter, size: int) -> None:
    """Write so many bytes and commit."""
    for at in range(0, size, CHUNK):
        await writer.write(b"x" * min(CHUNK, size - at))
    await writer.commit()


async def put(store: FilesystemStore, key: str, content: bytes) -> None:
    """Write one object."""
    writer = store.create(key)
    await writer.write(content)
    await writer.commit()


async def get(store: FilesystemStore, key: str) -> bytes:
    """Read one object."""
    return b"".join([piece async for piece in store.read(key)])


async def test_a_commit_survives_a_power_loss() -> None:
    """Content, name and every new directory above it are on the disk when `commit` returns."""
    files = CrashFiles()
    await put(restarted(files), "blobs/new/folders/x", b"durable")
    files.power_loss()
    assert await get(restarted(files), "blobs/new/folders/x") == b"durable"


async def test_a_second_commit_relies_on_directories_that_are_durable() -> None:
    """A replica whose directory another one just made does not trust it to be on the disk."""
    files = CrashFiles()
    other = files.root / "blobs"
    files.mkdir(str(other))  # made by somebody who has not waited for the disk yet
    await put(restarted(files), "blobs/x", b"durable")
    files.power_loss()
    assert await get(restarted(files), "blobs/x") == b"durable"


async def test_an_unfinished_object_never_appears() -> None:
    """Before the commit a power loss leaves nothing under the key, whatever the disk kept."""
    for keep in (False, True):
        files = CrashFiles()
        store = restarted(files)
        writer = store.create("blobs/x")
        await writer.write(os.urandom(3 * CHUNK))
        await writer.flush()
        files.power_loss(lambda path, keep=keep: keep)  # type: ignore[misc]
        store = restarted(files)
        assert await store.size("blobs/x") is None
        assert [found async for found in store.scan()] == []
        await store.delete(["blobs/x"])
        assert files.paths() == []
        await writer.abort()


async def test_a_deleted_object_does_not_come_back() -> None:
    """`delete` waits for the disk, so that a key that is reported gone stays gone."""
    files = CrashFiles()
    store = restarted(files)
    await put(store, "blobs/x", b"x")
    await store.delete(["blobs/x"])
    files.power_loss()
    assert files.paths() == []


@settings(max_examples=300, deadline=None)
@given(left=st.integers(0, 40), deletes=st.integers(0, 63), seed=st.integers(0, 1 << 16))
async def test_power_loss_at_any_call(left: int, deletes: int, seed: int) -> None:
    """Wherever the power goes, acknowledged objects are whole and others whole or absent."""
    files = CrashFiles()
    store = restarted(files)

    def lose(call: str, path: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.EIO, "power")

    acknowledged: dict[str, bytes] = {}
    content = {f"blobs/{number % 2}/{number}": bytes([number]) * 9 for number in range(6)}
    files.before = lose
    try:
        for key, value in content.items():
            await put(store, key, value)
            acknowledged[key] = value
            if deletes & 1 << value[0]:
                acknowledged.pop(key)
                await store.delete([key])
    except StorageUnavailable:
        pass
    files.before = None
    draw = random.Random(seed)
    files.power_loss(lambda path: draw.random() < 0.5)
    store = restarted(files)
    for key, value in content.items():
        size = await store.size(key)
        if key in acknowledged or size is not None:
            assert await get(store, key) == value


async def test_a_full_disk_leaves_no_debris() -> None:
    """ENOSPC, in the middle or at the end, is StorageFull, and an abort leaves nothing."""
    for size in (10, CHUNK, 3 * CHUNK + 5):
        for room in (0, 5, size - 1):
            files = CrashFiles(capacity=room)
            store = restarted(files)
            writer = store.create("blobs/x", hashlib.sha256())
            with pytest.raises(StorageFull):
                await fill(writer, size)
            await writer.abort()
            assert files.paths() == []


@pytest.mark.parametrize("call", ["mkdir", "create", "write", "fsync", "rename", "fsync_dir"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EDQUOT, StorageFull),
        (errno.ENOSPC, StorageFull),
        (errno.EIO, StorageUnavailable),
        (errno.EROFS, StorageUnavailable),
    ],
)
async def test_any_failing_call(
    call: str, number: int, expected: type[StorageFull] | type[StorageUnavailable]
) -> None:
    """Each system call may fail; the error is ours, and an abort leaves no file."""
    files = CrashFiles()
    store = restarted(files)

    def fail(name: str, path: str) -> None:
        if name == call:
            raise OSError(number, os.strerror(number))

    files.before = fail
    writer = store.create("blobs/x")
    with pytest.raises(expected):
        await fill(writer, 2 * CHUNK)
    files.before = None
    await writer.abort()
    assert files.paths() == []
    assert await store.size("blobs/x") is None


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    mounted = tmp_path / "tiny"
    mounted.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mounted)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


async def test_a_full_disk_is_no_healthy_storage() -> None:
    """It is told before a push finds out."""
    files = CrashFiles(capacity=LEAST_FREE + CHUNK)
    store = restarted(files)
    await store.ping()
    await fill(store.create("blobs/x"), 2 * CHUNK)
    with pytest.raises(StorageFull):
        await store.ping()
    await store.delete(["blobs/x"])
    await store.ping()


async def test_a_disk_that_is_really_full(tiny: Path) -> None:
    """A real ENOSPC is StorageFull; after the abort there is room for others again."""
    store = FilesystemStore(tiny / "blobs")
    await put(store, "blobs/before", b"x" * CHUNK)
    writer = store.create("blobs/x", hashlib.sha256())
    with pytest.raises(StorageFull):
        await fill(writer, 6 * CHUNK)
    await writer.abort()
    assert [found.key async for found in store.scan()] == ["blobs/before"]
    await put(store, "blobs/after", b"y" * 2 * CHUNK)
    assert await get(store, "blobs/before") == b"x" * CHUNK
    await store.close()


class SlowFiles(SystemFiles):
    """Files on a disk that takes its time."""

    def write(self, fd: int, pieces: object) -> None:
        time.sleep(0.05)
        super().write(fd, pieces)  # type: ignore[arg-type]


async def test_a_cancelled_writer_leaves_nothing(tmp_path: Path) -> None:
    """A client that breaks off while a batch is in its thread: the abort waits for the thread."""
    for delay in (0.0, 0.01, 0.07, 0.12):
        store = FilesystemStore(tmp_path / "blobs")
        store.files = SlowFiles()
        writer = store.create("blobs/x")

        async def work(writer: object = writer) -> None:
            for _ in range(3):
                await writer.write(b"x" * CHUNK)  # type: ignore[attr-defined]
            await writer.commit()  # type: ignore[attr-defined]

        task = asyncio.create_task(work())
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await writer.abort()
        left = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
        assert left == []
        await store.close()


async def test_a_zombie_cannot_bring_a_deleted_key_back(tmp_path: Path) -> None:
    """A writer whose session was collected meanwhile fails at its commit."""
    store = FilesystemStore(tmp_path / "blobs")
    writer = store.create("blobs/x")
    await writer.write(b"x" * 2 * CHUNK)
    await writer.flush()
    await store.delete(["blobs/x"])
    with pytest.raises(StorageUnavailable):
        await writer.commit()
    await writer.abort()
    assert await store.size("blobs/x") is None
    await store.close()


async def test_two_writers_of_one_key(tmp_path: Path) -> None:
    """A key is for one writer; a second one fails and does not disturb the first."""
    store = FilesystemStore(tmp_path / "blobs")
    first, second = store.create("blobs/x"), store.create("blobs/x")
    await first.write(b"1" * CHUNK)
    await first.flush()
    await second.write(b"2" * CHUNK)
    with pytest.raises(StorageUnavailable):
        await second.commit()
    await second.abort()
    await first.commit()
    assert await get(store, "blobs/x") == b"1" * CHUNK
    await store.close()


async def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    """Neither a linked directory on the way nor a linked file leads out of the root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store = FilesystemStore(tmp_path / "blobs")
    await put(store, "real/x", b"x")
    (tmp_path / "blobs/linked").symlink_to(outside)
    (tmp_path / "blobs/real/file").symlink_to(outside / "secret")
    with pytest.raises(StorageUnavailable):
        await get(store, "linked/secret")
    with pytest.raises(StorageUnavailable):
        await get(store, "real/file")
    with pytest.raises(StorageUnavailable):
        await put(store, "linked/new", b"x")
    with pytest.raises(StorageUnavailable):
        await store.delete(["linked/secret"])
    with pytest.raises(StorageUnavailable):
        store.path("linked/secret")
    assert store.path("real/file") is None
    assert await store.size("real/file") is None
    assert [found.key async for found in store.scan()] == ["real/x"]
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    await store.close()


@settings(max_examples=500, deadline=None)
@given(
    key=st.one_of(
        st.text(max_size=300),
        st.text(alphabet="./ab%\\\0-_~", max_size=40),
        st.from_regex(r"(\.\.?/|[a-z.]{1,3}/){0,5}[a-z.]{0,3}", fullmatch=True),
    )
)
def test_every_accepted_key_stays_under_the_root(key: str) -> None:
    """Whatever text arrives, it is refused or names a path below the root."""
    try:
        storage_keys.check(key)
    except ValueError:
        return
    root = Path("/srv/blobs")
    path = Path(os.path.normpath(root / key))
    assert path == root / key
    assert root in path.parents
    assert not any(part.startswith(".") for part in path.parts)


def test_a_root_that_cannot_be(tmp_path: Path) -> None:
    """A root that cannot be made is an error that names it."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable, match="file/blobs cannot be used"):
        FilesystemStore(tmp_path / "file" / "blobs")


async def test_the_path_is_the_file(tmp_path: Path) -> None:
    """`path` names the object's own file, for a server that sends it by itself."""
    store = FilesystemStore(tmp_path / "blobs")
    await put(store, "blobs/x", b"content")
    path = store.path("blobs/x")
    assert path is not None
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o007 == 0
    await store.close()
