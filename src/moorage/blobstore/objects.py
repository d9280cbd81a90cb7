"""Blobs in the bucket of an object store: S3, GCS and Azure through one client.

    size ≤ part     PUT                                         one request, whole or not at all
    larger          begin ─► part, part… ─► complete            several in flight, memory bounded
                      └───────── abort ◄──── any failure        no parts are left to be paid for

A lost answer to the last request says nothing, so the length of the object is asked for and
decides. Keys are used once: whatever is found there with the right length is ours.

    write ─► batch ─► hashed in a thread ─► mailbox (one batch) ─► parts in flight
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import obstore
import structlog
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from moorage.blobstore import keys as storage_keys
from moorage.blobstore.base import CHUNK, ObjectInfo
from moorage.errors import BlobUnknown, StorageUnavailable
from moorage.oci.digest import Hasher

RESUMES = 5
"""How many answers in a row may end without a byte; one that brought some is taken up again."""

DELETES = 16
"""Deletions in flight where the store cannot take many at once."""

PING_SECONDS = 10.0

ATTRIBUTES = {
    # A blob that a browser opens from the bucket's own address must not run there.
    "Content-Type": "application/octet-stream",
    "Content-Disposition": "attachment",
}

BATCH = 1 << 20
"""Bytes that are hashed and handed over at once."""

INLINE = 32 << 10
"""Bytes that are hashed faster than a thread is woken."""

ABORT_SECONDS = 30.0
"""How long an abort waits for the store before it leaves the rest to the collector."""

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


@contextlib.contextmanager
def storage_errors(key: str = "") -> Iterator[None]:
    """Raise our errors for the client's own; its text, which names hosts, goes to the log."""
    try:
        yield
    except FileNotFoundError as error:
        raise BlobUnknown(detail={"key": key}) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        _log.error("storage refuses", key=key, error=first_line(error))
        raise StorageUnavailable("the blob storage refuses the registry's credentials") from error
    except (BaseError, OSError, ValueError, TimeoutError) as error:
        _log.warning("storage failed", key=key, error=first_line(error))
        raise StorageUnavailable from error


def first_line(error: BaseException) -> str:
    """What went wrong, without the client's debug output."""
    return (str(error).splitlines() or [type(error).__name__])[0][:500]


class ObjectStore:
    """One bucket."""

    def __init__(self, store: S3Store | GCSStore | AzureStore, profile: Profile) -> None:
        self.driver = profile.driver
        self.profile = profile
        self._store = store

    def create(self, key: str, hasher: Hasher | None = None) -> "ObjectWriter":
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
        # Every byte has to pass the hasher anyway, so nothing is won by copying inside the store.
        writer = self.create(key, hasher)
        try:
            for part in keys:
                async for piece in self.read(part):
                    await writer.write(piece)
            await writer.commit()
        except BaseException:
            await writer.abort()
            raise
        return writer.size

    async def delete(self, keys: Sequence[str]) -> None:
        await self.remove([self._name(key) for key in keys])

    async def remove(self, names: Sequence[str]) -> None:
        """Delete objects by their full names."""
        if self.profile.bulk_delete:
            for first in range(0, len(names), 1000):
                with storage_errors():
                    await obstore.delete_async(self._store, names[first : first + 1000])
            return
        gate = asyncio.Semaphore(DELETES)

        async def remove(name: str) -> None:
            async with gate:
                with contextlib.suppress(BlobUnknown), storage_errors(name):
                    await obstore.delete_async(self._store, name)

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
        if not self.profile.redirect:
            return None
        try:
            with storage_errors(name):
                return await obstore.sign_async(
                    self._store, "GET", name, timedelta(seconds=seconds)
                )
        except StorageUnavailable:
            return None  # credentials that cannot sign: the bytes go through us instead

    def path(self, key: str) -> Path | None:
        return None

    async def ping(self) -> None:
        with storage_errors():
            async with asyncio.timeout(PING_SECONDS):
                # A listing, because a missing bucket and a missing object look alike to HEAD.
                async for _ in obstore.list(self._store, self._name("moorage-ping")):
                    break

    async def close(self) -> None:
        return

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


class _Aborted(Exception):
    """Tells the client to give up the parts that it sent."""


class ObjectWriter:
    """Hashes a batch in a thread while the one before it is sent."""

    def __init__(self, store: ObjectStore, name: str, hasher: Hasher | None) -> None:
        self.size = 0
        self._store = store
        self._name = name
        self._hasher = hasher
        self._batch: list[bytes | memoryview] = []
        self._gathered = 0
        self._hashing: asyncio.Future[bytes] | None = None
        self._held: list[bytes] = []  # until it is known whether one request is enough
        self._held_size = 0
        self._mailbox: asyncio.Queue[bytes | _Aborted | None] = asyncio.Queue(1)
        self._upload: asyncio.Future[object] | None = None
        self._in_parts = False
        self._closing = False
        self._committed = False

    async def write(self, data: bytes | memoryview) -> None:
        if not data:
            return
        self._batch.append(data)
        self._gathered += len(data)
        self.size += len(data)
        if self._gathered >= BATCH:
            await self._settle()
            batch, self._batch, self._gathered = self._batch, [], 0
            self._hashing = asyncio.get_running_loop().run_in_executor(
                None, partial(self._digest, batch)
            )

    async def flush(self) -> None:
        await self._settle()
        batch, self._batch, self._gathered = self._batch, [], 0
        if sum(map(len, batch)) <= INLINE:
            await self._deliver(self._digest(batch))
        else:
            self._hashing = asyncio.get_running_loop().run_in_executor(
                None, partial(self._digest, batch)
            )
            await self._settle()

    async def commit(self) -> None:
        await self.flush()
        self._closing = True
        if self._upload is None:
            self._upload = self._store.put(self._name, b"".join(self._held))
            self._held.clear()
        else:
            await self._feed(None)
        trouble: Exception | None = None
        try:
            await asyncio.shield(self._upload)
        except Exception as error:
            trouble = error
        # Also after a success: servers have been seen to acknowledge less than they were sent.
        try:
            kept = await self._store.length(self._name)
        except BlobUnknown as error:
            raise _failure(trouble) from (trouble or error)
        if kept != self.size:
            raise StorageUnavailable(
                f"the blob storage kept {kept} of {self.size} bytes"
            ) from trouble
        self._committed = True

    async def abort(self) -> None:
        if self._committed:
            return
        self._batch.clear()
        self._held.clear()
        with contextlib.suppress(Exception):
            if self._hashing is not None:
                await self._hashing
        upload = self._upload
        if upload is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(ABORT_SECONDS):
                if self._in_parts and not self._closing and not upload.done():
                    while not self._mailbox.empty():
                        self._mailbox.get_nowait()
                    self._mailbox.put_nowait(_Aborted())
                with contextlib.suppress(Exception):
                    await asyncio.shield(upload)
                if self._closing:  # it may be there although we were not told
                    await self._store.remove([self._name])

    def _digest(self, batch: list[bytes | memoryview]) -> bytes:
        piece = b"".join(batch)
        if self._hasher is not None:
            self._hasher.update(piece)
        return piece

    async def _settle(self) -> None:
        """Send on the batch that is being hashed."""
        if self._hashing is not None:
            piece = await asyncio.shield(self._hashing)
            self._hashing = None
            await self._deliver(piece)

    async def _deliver(self, piece: bytes) -> None:
        if self._upload is not None:
            await self._feed(piece)
            return
        self._held.append(piece)
        self._held_size += len(piece)
        if self._held_size > self._store.profile.part:
            self._in_parts = True
            self._upload = self._store.put_parts(self._name, self._pieces())
            # Its failure is met at the next piece; nobody may be waiting for it before.
            self._upload.add_done_callback(lambda done: done.cancelled() or done.exception())
            held, self._held = self._held[::-1], []
            while held:
                await self._feed(held.pop())

    async def _feed(self, piece: bytes | None) -> None:
        """Hand over to the client, as soon as it has room."""
        assert self._upload is not None
        if self._mailbox.full() and not self._upload.done():
            room = asyncio.ensure_future(self._mailbox.put(piece))
            try:
                either: set[asyncio.Future[Any]] = {room, self._upload}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                room.cancel()
            if room.done() and not room.cancelled():
                return
        if self._upload.done():
            raise _failure(self._upload.exception()) from self._upload.exception()
        self._mailbox.put_nowait(piece)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._mailbox.get()) is not None:
            if isinstance(piece, _Aborted):
                raise piece
            yield piece


def _failure(error: BaseException | None) -> StorageUnavailable:
    if error is not None:
        _log.warning("storage failed", error=first_line(error))
    return StorageUnavailable()
