"""Blobs as files under one directory.

    <root>/blobs/7f/3c9a…          an object: the key is the path
    <root>/blobs/7f/.3c9a….part    the same object while it is written

    write ─► fsync(file) ─► rename ─► fsync(directory)        once per new directory its parent

The name of the unfinished file follows from the key, so that deleting the key of an upload whose
process died also removes what it had begun; nothing has to be looked for. Directories are never
removed: a replica that knows a directory to be durable may go on relying on it.
"""

import asyncio
import contextlib
import errno
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from moorage.blobstore import keys as storage_keys
from moorage.blobstore.base import CHUNK, ObjectInfo, joined
from moorage.blobstore.files import Files, Piece, SystemFiles
from moorage.errors import BlobUnknown, StorageFull, StorageUnavailable
from moorage.oci.digest import Hasher

BATCH = CHUNK
"""Bytes that a writer gathers before it hands them to a thread."""

WRITEBACK = 8 << 20
"""Bytes after which the kernel is told to begin with the disk."""

SMALL = 32 << 10
"""Bytes that are hashed faster than a thread is woken."""

LEAST_FREE = 16 << 20
"""Bytes without which a disk is full: the next image will hardly fit."""

T = TypeVar("T")


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    """Tell a full disk from any other trouble."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull from error
        raise StorageUnavailable(
            f"the blob storage failed: {errno.errorcode.get(error.errno or 0, 'error')}"
        ) from error


class FilesystemStore:
    """A directory on a local or shared file system."""

    driver = "filesystem"

    def __init__(self, root: Path, *, threads: int = 8, files: Files | None = None) -> None:
        """Make `root` if it is missing.

        threads: how many calls may wait for the disk at once. Raises StorageUnavailable when the
        directory can be neither found nor made.
        """
        self.files: Files = files or SystemFiles()
        if files is None:
            try:
                root.mkdir(parents=True, exist_ok=True, mode=0o750)
                root = root.resolve(strict=True)
            except OSError as error:
                raise StorageUnavailable(
                    f"the directory {root} cannot be used: {error.strerror}"
                ) from error
        self.root = root
        self._prefix = str(root)
        self._durable: set[str] = {""}  # directories whose names are known to be on the disk
        self._threads = ThreadPoolExecutor(threads, "blobs") if self.files.blocking else None

    def create(self, key: str, hasher: Hasher | None = None) -> "FileWriter":
        return FileWriter(self, storage_keys.check(key), hasher)

    async def size(self, key: str) -> int | None:
        path = self._path(key)
        with _storage_errors():
            found = self.files.stat(path)
        return found[0] if found else None

    async def read(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        files = self.files
        path = self._path(key)
        with _storage_errors():
            try:
                fd = files.open(path)
            except FileNotFoundError:
                raise BlobUnknown from None
        try:
            with _storage_errors():
                size = files.size(fd)
                stop = size if end is None else end
                if max(start, stop) > size:
                    raise StorageUnavailable(f"the stored object ends after {size} bytes")
                at = start
                while at < stop:
                    length = min(CHUNK, stop - at)
                    if not files.blocking or files.cached(fd, length, at):
                        piece = files.read(fd, length, at)
                    else:
                        piece = await self.submit(partial(files.read, fd, length, at))
                    if not piece:
                        raise StorageUnavailable(f"the stored object ends after {at} bytes")
                    at += len(piece)
                    yield piece
        finally:
            files.close(fd)

    async def join(self, keys: Sequence[str], key: str, hasher: Hasher | None = None) -> int:
        return await joined(self, keys, key, hasher)

    async def delete(self, keys: Sequence[str]) -> None:
        paths = [self._path(key) for key in keys]
        with _storage_errors():
            await self.submit(partial(self._unlink, paths))

    def _unlink(self, paths: Sequence[str]) -> None:
        directories = set()
        for path in paths:
            directory = path.rpartition("/")[0]
            self.files.unlink(path)
            self.files.unlink(part_of(path))
            directories.add(directory)
        for directory in directories:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self.files.fsync_dir(directory)  # or the object is back after a power loss

    async def scan(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        storage_keys.check_prefix(prefix)
        base = self._prefix
        walk = self.files.walk(f"{base}/{prefix}".rstrip("/"))
        while True:
            with _storage_errors():
                try:
                    found = await self.submit(lambda: list(islice(walk, 1000)))
                except FileNotFoundError:
                    return
            for name, size, modified_at in found:
                if not name.rpartition("/")[2].startswith("."):
                    yield ObjectInfo(prefix + name, size, modified_at)
            if len(found) < 1000:
                return

    async def presign(self, key: str, *, seconds: int, filename: str) -> str | None:
        return None

    def path(self, key: str) -> Path | None:
        path = self._path(key)
        with _storage_errors():
            return Path(path) if self.files.stat(path) else None

    async def ping(self) -> None:
        with _storage_errors():
            await self.submit(partial(self.files.fsync_dir, self._prefix))
            if await self.submit(partial(self.files.free, self._prefix)) < LEAST_FREE:
                raise StorageFull("the disk of the blobs is full")

    async def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True)

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run blocking file calls in a thread, or right here where they cannot block."""
        loop = asyncio.get_running_loop()
        if self._threads is not None:
            return loop.run_in_executor(self._threads, job)
        done: asyncio.Future[T] = loop.create_future()
        try:
            done.set_result(job())
        except Exception as error:
            done.set_exception(error)
        return done

    def _path(self, key: str) -> str:
        storage_keys.check(key)
        with _storage_errors():
            if not self.files.plain(self._prefix, key):
                raise StorageUnavailable("a directory of the blob storage is a symbolic link")
        return f"{self._prefix}/{key}"

    def begin(self, key: str) -> tuple[int, str]:
        """A descriptor for the unfinished file of a key, and the path that it shall get."""
        path = self._path(key)
        self._ensure_directory(key.rpartition("/")[0])
        return self.files.create(part_of(path)), path

    def finish(self, fd: int, path: str) -> None:
        """Make the unfinished file durable under its final name; the descriptor stays open."""
        self.files.fsync(fd)
        self.files.rename(part_of(path), path)
        self.files.fsync_dir(path.rpartition("/")[0])

    def _ensure_directory(self, relative: str) -> None:
        """Make a directory durable, and every one above it."""
        if relative in self._durable:
            return
        above = relative.rpartition("/")[0]
        self._ensure_directory(above)
        self.files.mkdir(f"{self._prefix}/{relative}")
        # Also when it existed: whoever made it may not have reached this line yet.
        self.files.fsync_dir(f"{self._prefix}/{above}" if above else self._prefix)
        if len(self._durable) > 1 << 16:
            self._durable = {""}
        self._durable.add(relative)


def part_of(path: str) -> str:
    """The path of the unfinished file beside the finished one."""
    directory, _, name = path.rpartition("/")
    return f"{directory}/.{name}.part"


class FileWriter:
    """Gathers a batch, then hashes and writes it in a thread while the next one arrives."""

    def __init__(self, store: FilesystemStore, key: str, hasher: Hasher | None) -> None:
        self.size = 0
        self._store = store
        self._files = store.files
        self._key = key
        self._hasher = hasher
        self._batch: list[Piece] = []
        self._gathered = 0
        self._running: asyncio.Future[None] | None = None
        self._fd = -1
        self._path = ""
        self._written = 0
        self._hinted = 0
        self._committed = False

    async def write(self, data: bytes | memoryview) -> None:
        if not data:
            return
        self._batch.append(data)
        self._gathered += len(data)
        self.size += len(data)
        if self._gathered >= BATCH:
            await self._settle()
            self._running = self._store.submit(partial(self._put, self._take()))

    async def flush(self) -> None:
        await self._settle()
        if self._hasher is not None and self.size <= SMALL:
            for piece in self._batch:
                self._hasher.update(piece)
            self._hasher = None
        elif self._gathered:
            self._running = self._store.submit(partial(self._put, self._take()))
            await self._settle()

    async def commit(self) -> None:
        await self._settle()
        self._running = self._store.submit(partial(self._finish, self._take()))
        await self._settle()
        self._committed = True

    async def abort(self) -> None:
        if self._committed:
            return
        self._batch.clear()
        # A cancelled task left its batch in the thread, which would bring the file back.
        with contextlib.suppress(Exception):
            await self._settle()
        with contextlib.suppress(OSError, RuntimeError):
            await self._store.submit(self._drop)

    def _take(self) -> list[Piece]:
        batch, self._batch, self._gathered = self._batch, [], 0
        return batch

    async def _settle(self) -> None:
        """Wait for the batch that is under way; it stays under way when this is cancelled."""
        if self._running is not None:
            with _storage_errors():
                await asyncio.shield(self._running)
            self._running = None

    def _put(self, batch: list[Piece]) -> None:
        if self._hasher is not None:
            for piece in batch:
                self._hasher.update(piece)
        if self._fd < 0:
            self._fd, self._path = self._store.begin(self._key)
        self._files.write(self._fd, batch)
        self._written += sum(map(len, batch))
        if self._written - self._hinted >= WRITEBACK:
            self._files.writeback(self._fd, self._hinted, self._written - self._hinted)
            self._hinted = self._written

    def _finish(self, batch: list[Piece]) -> None:
        self._put(batch)
        self._store.finish(self._fd, self._path)
        self._close()

    def _drop(self) -> None:
        if self._path:
            self._files.unlink(part_of(self._path))
            self._files.unlink(self._path)
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._files.close(fd)
