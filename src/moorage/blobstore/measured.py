"""The same store, with the seconds of every action told to somebody.

Harbor's dashboards show them as `registry_storage_action_seconds{driver, action}`.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path

from moorage.blobstore.base import BlobStore, ObjectInfo, Writer
from moorage.errors import BlobUnknown
from moorage.oci.digest import Hasher

Observe = Callable[[str, str, float], None]
"""Called with driver, action and seconds, after success and failure alike."""


class MeasuredStore:
    """Passes every call on to a driver."""

    def __init__(self, store: BlobStore, observe: Observe, missed: Callable[[], None]) -> None:
        """`missed` is called when an object that is to be read is not there."""
        self.driver = store.driver
        self._store = store
        self._observe = observe
        self._missed = missed

    @contextmanager
    def measure(self, action: str) -> Iterator[None]:
        """Time one action."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._observe(self.driver, action, time.perf_counter() - began)

    def create(self, key: str, hasher: Hasher | None = None) -> Writer:
        return MeasuredWriter(self._store.create(key, hasher), self)

    async def size(self, key: str) -> int | None:
        with self.measure("Stat"):
            return await self._store.size(key)

    async def read(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        # Until the first piece: how long the rest takes is up to the client that reads it.
        async with aclosing(self._store.read(key, start, end)) as pieces:
            with self.measure("Reader"):
                try:
                    first = await anext(pieces, None)
                except BlobUnknown:
                    self._missed()
                    raise
            if first is None:
                return
            yield first
            async for piece in pieces:
                yield piece

    async def join(self, keys: Sequence[str], key: str, hasher: Hasher | None = None) -> int:
        with self.measure("Join"):
            return await self._store.join(keys, key, hasher)

    async def delete(self, keys: Sequence[str]) -> None:
        with self.measure("Delete"):
            await self._store.delete(keys)

    def scan(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        return self._store.scan(prefix)

    async def presign(self, key: str, *, seconds: int, filename: str) -> str | None:
        with self.measure("RedirectURL"):
            return await self._store.presign(key, seconds=seconds, filename=filename)

    def path(self, key: str) -> Path | None:
        return self._store.path(key)

    async def ping(self) -> None:
        with self.measure("Ping"):
            await self._store.ping()

    async def close(self) -> None:
        await self._store.close()


class MeasuredWriter:
    """Passes every call on, and times the commit."""

    def __init__(self, writer: Writer, store: MeasuredStore) -> None:
        self._writer = writer
        self._store = store
        self.write = writer.write
        self.flush = writer.flush
        self.abort = writer.abort

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._writer.size

    async def commit(self) -> None:
        with self._store.measure("Commit"):
            await self._writer.commit()
