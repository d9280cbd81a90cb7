"""Blobs in a dict: for tests and for looking around; gone when the process ends."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

from moorage.blobstore import keys as storage_keys
from moorage.blobstore.base import CHUNK, ObjectInfo, joined
from moorage.errors import BlobUnknown, StorageUnavailable
from moorage.oci.digest import Hasher


class MemoryStore:
    """Objects that live as long as this value."""

    driver = "memory"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._modified_at: dict[str, float] = {}

    def create(self, key: str, hasher: Hasher | None = None) -> "MemoryWriter":
        return MemoryWriter(self, storage_keys.check(key), hasher)

    async def size(self, key: str) -> int | None:
        content = self.objects.get(storage_keys.check(key))
        return None if content is None else len(content)

    async def read(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        content = self.objects.get(storage_keys.check(key))
        if content is None:
            raise BlobUnknown
        stop = len(content) if end is None else end
        for at in range(start, min(stop, len(content)), CHUNK):
            yield content[at : min(at + CHUNK, stop)]
        if max(stop, start) > len(content):
            raise StorageUnavailable(f"the stored object ends after {len(content)} bytes")

    async def join(self, keys: Sequence[str], key: str, hasher: Hasher | None = None) -> int:
        return await joined(self, keys, key, hasher)

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.objects.pop(storage_keys.check(key), None)
            self._modified_at.pop(key, None)

    async def scan(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        storage_keys.check_prefix(prefix)
        for key, content in list(self.objects.items()):
            if key.startswith(prefix):
                yield ObjectInfo(key, len(content), self._modified_at[key])

    async def presign(self, key: str, *, seconds: int, filename: str) -> str | None:
        return None

    def path(self, key: str) -> Path | None:
        return None

    async def ping(self) -> None:
        return

    async def close(self) -> None:
        self.objects.clear()

    def keep(self, key: str, content: bytes) -> None:
        """Let the object exist."""
        self.objects[key] = content
        self._modified_at[key] = time.time()


class MemoryWriter:
    """Collects pieces until the commit."""

    def __init__(self, store: MemoryStore, key: str, hasher: Hasher | None) -> None:
        self.size = 0
        self._store = store
        self._key = key
        self._hasher = hasher
        self._pieces: list[bytes] = []
        self._committed = False

    async def write(self, data: bytes | memoryview) -> None:
        piece = bytes(data)
        if self._hasher is not None:
            self._hasher.update(piece)
        self._pieces.append(piece)
        self.size += len(piece)

    async def flush(self) -> None:
        return

    async def commit(self) -> None:
        self._store.keep(self._key, b"".join(self._pieces))
        self._committed = True

    async def abort(self) -> None:
        self._pieces.clear()
