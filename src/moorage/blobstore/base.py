"""What every blob store offers: objects under keys that are used once, ever.

A key is a relative path of hex, letters, digits, `_`, `-`, `.` and `/` that the database made; no
store ever sees a name that a user chose. Nothing is overwritten, renamed or listed to decide what
is alive.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
    """

    size: int
    """Bytes written so far."""

    async def write(self, data: bytes | memoryview) -> None:
        """Append; raises StorageFull or StorageUnavailable."""

    async def commit(self) -> None:
        """Make the object durable and visible."""

    async def abort(self) -> None:
        """Leave nothing behind; never raises; also right after a failed write or commit."""


class BlobStore(Protocol):
    """A place for bytes. Errors: BlobUnknown (no such key), StorageUnavailable, StorageFull."""

    driver: str

    def create(self, key: str) -> Writer:
        """A writer for a key that was never used."""

    async def size(self, key: str) -> int | None:
        """Length in bytes, None when there is no such object."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes `[start, end)` in pieces of about `CHUNK`; end None is the object's end.

        Raises BlobUnknown at the first piece; StorageUnavailable where the store ends early.
        """

    async def join(self, keys: Sequence[str], key: str) -> None:
        """Make the new object `key` of the contents of `keys` in order, durable on return."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; a key that does not exist is no error. All are gone on return."""

    def scan(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Every object under `prefix`, in no order: for reports, never for liveness."""

    async def presign(self, key: str, *, seconds: int, filename: str) -> str | None:
        """A URL that serves GET of just this object for a while; None where there is no such."""

    def path(self, key: str) -> Path | None:
        """The object's file, for sendfile; None where there is none."""

    async def ping(self) -> None:
        """Raise StorageUnavailable unless the store answers."""

    async def close(self) -> None: ...
