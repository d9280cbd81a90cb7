"""Blobs in the bucket of an object store: S3, GCS and Azure through one client.

    size ≤ part     PUT                                         one request, whole or not at all
    larger          begin ─► part, part… ─► complete            several in flight, memory bounded
                      └───────── abort ◄──── any failure        no parts are left to be paid for

A lost answer to the last request says nothing, so the length of the object is asked for and
decides. Keys are used once: whatever is found there with the right length is ours.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from time import monotonic

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from moorage.blobstore import keys as storage_keys
from moorage.blobstore.base import CHUNK, ObjectInfo, joined
from moorage.blobstore.objecterrors import first_line, storage_errors
from moorage.blobstore.objectwriter import ObjectWriter
from moorage.errors import BlobUnknown, StorageUnavailable
from moorage.oci.digest import Hasher

RESUMES = 5
"""How many answers in a row may end without a byte; one that brought some is taken up again."""

DELETES = 16
"""Deletions in flight where the store cannot take many at once."""
BULKS, BULK = 8, 125
"""Requests in flight that each delete so many objects: a store works on each in turn."""

PING_SECONDS = 10.0

QUIET_SECONDS = 0.05
"""Between the last answer of a store and the end of the process."""

ATTRIBUTES = {
    # A blob that a browser opens from the bucket's own address must not run there.
    "Content-Type": "application/octet-stream",
    "Content-Disposition": "attachment",
}

PRESIGN_PAUSE = 60.0
"""Seconds in which no URL is signed after credentials turned out not to be able to."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Profile:
    """How one bucket is used; sizes in bytes."""

    driver: str
    root: str = ""
    part: int = 8 << 20
    concurrency: int = 3
    redirect: bool = True
    bulk_delete: bool = False
    attributes: dict[str, str] = field(default_factory=lambda: dict(ATTRIBUTES))


class ObjectStore:
    """One bucket."""

    def __init__(self, store: S3Store | GCSStore | AzureStore, profile: Profile) -> None:
        self.driver = profile.driver
        self.profile = profile
        self._store = store
        self._unsigned_until = 0.0

    def create(self, key: str, hasher: Hasher | None = None) -> ObjectWriter:
        return ObjectWriter(self, self._name(key), hasher)

    async def size(self, key: str) -> int | None:
        try:
            return await self.length(self._name(key))
        except BlobUnknown:
            return None

    async def length(self, name: str) -> int:
        """Length of the object with this full name; raises BlobUnknown."""
        with storage_errors(name):
            return (await obstore.head_async(self._store, name))["size"]

    async def read(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        name = self._name(key)
        if end is None or end <= start:
            size = await self.length(name)
            end = size if end is None else end
            if start > size:
                raise StorageUnavailable(f"the stored object ends after {size} bytes")
        at = start
        failures = 0
        while at < end:
            with storage_errors(name):
                found = await obstore.get_async(self._store, name, options={"range": (at, end)})
            before = at
            reason = "the answer was short"
            try:
                async for piece in found.stream(min_chunk_size=CHUNK):
                    at += len(piece)
                    yield piece
            except (BaseError, OSError, ValueError) as error:
                reason = first_line(error)
            if at < end:
                if at >= found.meta["size"]:
                    raise StorageUnavailable(f"the stored object ends after {at} bytes")
                failures = 0 if at > before else failures + 1
                _log.warning("storage answer cut off", key=name, offset=at, reason=reason)
                if failures > RESUMES:
                    raise StorageUnavailable("the blob storage ends its answers early")

    async def join(self, keys: Sequence[str], key: str, hasher: Hasher | None = None) -> int:
        return await joined(self, keys, key, hasher)

    async def delete(self, keys: Sequence[str]) -> None:
        await self.remove([self._name(key) for key in keys])

    async def remove(self, names: Sequence[str]) -> None:
        """Delete objects by their full names."""
        gate = asyncio.Semaphore(BULKS if self.profile.bulk_delete else DELETES)

        async def remove(name: str) -> None:
            async with gate:
                with contextlib.suppress(BlobUnknown), storage_errors(name):
                    await obstore.delete_async(self._store, name)

        async def remove_all(some: Sequence[str]) -> None:
            async with gate:
                with storage_errors():
                    await obstore.delete_async(self._store, some)

        if self.profile.bulk_delete:
            starts = range(0, len(names), BULK)
            await asyncio.gather(*(remove_all(names[first : first + BULK]) for first in starts))
        else:
            await asyncio.gather(*(remove(name) for name in names))

    async def scan(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        storage_keys.check_prefix(prefix)
        root = f"{self.profile.root}/" if self.profile.root else ""
        with storage_errors():
            async for batch in obstore.list(self._store, (root + prefix).rstrip("/") or None):
                for found in batch:
                    key = found["path"].removeprefix(root)
                    yield ObjectInfo(key, found["size"], found["last_modified"].timestamp())

    async def presign(self, key: str, *, seconds: int, filename: str) -> str | None:
        # The client signs no response headers; how a browser treats the object was fixed when it
        # was written.
        name = self._name(key)
        if not self.profile.redirect or monotonic() < self._unsigned_until:
            return None
        try:
            with storage_errors(name):
                return await obstore.sign_async(
                    self._store, "GET", name, timedelta(seconds=seconds)
                )
        except StorageUnavailable:
            # Credentials that cannot sign: the bytes go through us instead.
            self._unsigned_until = monotonic() + PRESIGN_PAUSE
            return None

    def path(self, key: str) -> Path | None:
        return None

    async def ping(self) -> None:
        try:
            with storage_errors():
                async with asyncio.timeout(PING_SECONDS):
                    # A listing, because a missing bucket and a missing object look alike to HEAD.
                    async for _ in obstore.list(self._store, self._name("moorage-ping")):
                        break
        except BlobUnknown as error:
            raise StorageUnavailable("the bucket does not exist") from error

    async def close(self) -> None:
        # The client's threads let go of their last results after we have them. When one of them
        # asks for the interpreter while it ends, Python 3.11 aborts.
        await asyncio.sleep(QUIET_SECONDS)

    def put(self, name: str, content: bytes) -> "asyncio.Future[object]":
        """Begin to write a small object with one request."""
        return asyncio.ensure_future(
            obstore.put_async(
                self._store,
                name,
                content,
                attributes=self.profile.attributes,
                use_multipart=False,
            )
        )

    def put_parts(self, name: str, pieces: AsyncIterator[bytes]) -> "asyncio.Future[object]":
        """Begin to write a large object in parts.

        When `pieces` raises, the client aborts the parts; a cancelled future would leave them.
        """
        return asyncio.ensure_future(
            obstore.put_async(
                self._store,
                name,
                pieces,
                attributes=self.profile.attributes,
                use_multipart=True,
                chunk_size=self.profile.part,
                max_concurrency=self.profile.concurrency,
            )
        )

    def _name(self, key: str) -> str:
        storage_keys.check(key)
        return f"{self.profile.root}/{key}" if self.profile.root else key
