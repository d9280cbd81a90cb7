"""Writing one object: hashed in a thread, sent in parts, never more than a few of them in memory.

write ─► batch ─► hashed in a thread ─► mailbox (one batch) ─► parts in flight
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

from moorage.blobstore.objecterrors import failure
from moorage.errors import BlobUnknown, StorageUnavailable
from moorage.oci.digest import Hasher

if TYPE_CHECKING:
    from moorage.blobstore.objects import ObjectStore

BATCH = 1 << 20
"""Bytes that are hashed and handed over at once."""

INLINE = 32 << 10
"""Bytes that are hashed faster than a thread is woken."""

ABORT_SECONDS = 30.0
"""How long an abort waits for the store before it leaves the rest to the collector."""


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
            raise failure(trouble, self._name) from (trouble or error)
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
            raise failure(self._upload.exception(), self._name) from self._upload.exception()
        self._mailbox.put_nowait(piece)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._mailbox.get()) is not None:
            if isinstance(piece, _Aborted):
                raise piece
            yield piece
