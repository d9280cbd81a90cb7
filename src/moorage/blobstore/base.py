"""What every blob store offers: objects under keys that are used once, ever.

A key is a relative path of hex, letters, digits, `_`, `-`, `.` and `/` that the database made; no
store ever sees a name that a user chose. Nothing is overwritten, renamed or listed to decide what
is alive.

    create(key, hasher) ─► write… ─► flush ─► (compare the digest) ─► commit ─► the object exists
                             │                       │
                             └───────── abort ◄──────┘                        nothing is left
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from moorage.oci.digest import Hasher

CHUNK = 1 << 20
"""Bytes in which contents are streamed out."""


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    size: int
    modified_at: float  # seconds since the epoch


class Writer(Protocol):
    """One new object, written from front to back by one task.

    The object exists under its key once `commit` returned, whole and durable, and not before.
    A writer that is not committed must be aborted.
    """

    @property
    def size(self) -> int:
        """Bytes written so far."""

    async def write(self, data: bytes | memoryview) -> None:
        """Append; raises StorageFull or StorageUnavailable.

        The writer keeps the buffer for a while: the caller must not change it afterwards.
        """

    async def flush(self) -> None:
        """Wait until the hasher has seen every byte; the digest can be read and compared now.

        Nothing is written afterwards. Says nothing about durability.
        Raises StorageFull or StorageUnavailable.
        """

    async def commit(self) -> None:
        """Make the object durable and visible; implies `flush`."""

    async def abort(self) -> None:
        """Leave nothing behind; never raises; also right after a failed write or commit."""


class BlobStore(Protocol):
    """A place for bytes. Errors: BlobUnknown (no such key), StorageUnavailable, StorageFull."""

    driver: str

    def create(self, key: str, hasher: Hasher | None = None) -> Writer:
        """A writer for a key that was never used.

        `hasher` is updated with every byte in order, in the thread that also writes, so that
        hashing never blocks the event loop. Read its digest only after `flush` or `commit`.
        """

    async def size(self, key: str) -> int | None:
        """Length in bytes, None when there is no such object."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes `[start, end)` in pieces of about `CHUNK`; end None is the object's end.

        Raises BlobUnknown at the first piece; StorageUnavailable where the store ends early.
        Whoever stops before the end closes the generator, or leaves it to be collected.
        """

    async def join(self, keys: Sequence[str], key: str, hasher: Hasher | None = None) -> int:
        """Make the new object `key` of the contents of `keys` in order, durable on return.

        `hasher` sees all bytes. Returns the length. After an error nothing is left under `key`.
        """

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; a key that does not exist is no error. All are gone on return.

        Also removes what a writer that died had begun under these keys, where the store tells:
        a folder does; unfinished parts in a bucket are for the bucket's lifecycle rule.
        """

    def scan(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Every object under `prefix`, in no order: for reports, never for liveness."""

    async def presign(self, key: str, *, seconds: int, filename: str) -> str | None:
        """A URL that serves GET of just this object for a while; None where there is no such."""

    def path(self, key: str) -> Path | None:
        """The object's file, for sendfile; None where there is none."""

    async def ping(self) -> None:
        """Raise StorageUnavailable unless the store answers, StorageFull when nothing fits in."""

    async def close(self) -> None: ...


async def joined(store: BlobStore, keys: Sequence[str], key: str, hasher: Hasher | None) -> int:
    """`BlobStore.join` by reading and writing.

    Every byte has to pass the hasher anyway, so nothing is won by copying inside a store.
    """
    writer = store.create(key, hasher)
    try:
        for part in keys:
            async for piece in store.read(part):
                await writer.write(piece)
        await writer.commit()
    except BaseException:
        await writer.abort()
        raise
    return writer.size
