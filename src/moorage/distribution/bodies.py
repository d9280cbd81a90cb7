"""Request bodies, piece by piece, from clients that may be slow, absent or lying."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Message, Receive

from moorage.distribution.options import Options
from moorage.errors import ClientGone, TooLarge


class Body:
    """The body of one request; read at most once.

    A piece is asked for only when the one before was dealt with, so a slow disk slows the client
    and not the memory.
    """

    def __init__(self, receive: Receive, length: int | None, chunked: bool, options: Options):
        self.length = length  # bytes that the client announced
        self.expected = chunked or bool(length)
        self._receive = receive
        self._options = options
        self._done = not self.expected
        self._count = 0
        self._waited = 0.0
        self._waiting_since: float | None = None
        self._task: asyncio.Task[object] | None = None
        self.stalled = False  # given up, because the client sent nothing for too long

    @property
    def pending(self) -> bool:
        """Whether some of it is still unread."""
        return not self._done

    async def pieces(self) -> AsyncIterator[bytes]:
        """Bytes as they come; raises ClientGone when the client leaves, stalls or crawls."""
        loop = asyncio.get_running_loop()
        self._count, self._waited = 0, 0.0
        watch = loop.call_later(self._options.patience, self._check, loop, 0)
        self._watch = watch
        try:
            while not self._done:
                message = await self._next(loop)
                if message["type"] == "http.disconnect":
                    self._done = True
                    raise ClientGone
                piece = message.get("body", b"")
                self._done = not message.get("more_body", False)
                if piece:
                    self._count += len(piece)
                    yield piece
        finally:
            self._watch.cancel()

    async def whole(self, most: int) -> bytes:
        """All of it; raises TooLarge before it holds more than `most` bytes."""
        if self.length is not None and self.length > most:
            raise TooLarge(f"the body has {self.length} bytes, {most} are allowed")
        pieces: list[bytes] = []
        size = 0
        async for piece in self.pieces():
            size += len(piece)
            if size > most:
                raise TooLarge(f"the body has more than the {most} bytes that are allowed")
            pieces.append(piece)
        return b"".join(pieces)

    async def drain(self) -> None:
        """Read and forget, within the bounds of the options; never raises."""
        size = 0
        try:
            async with asyncio.timeout(self._options.drain_seconds):
                while not self._done and size < self._options.drain_bytes:
                    message = await self._receive()
                    size += len(message.get("body", b""))
                    self._done = message["type"] == "http.disconnect" or not message.get(
                        "more_body", False
                    )
        except TimeoutError:
            pass

    # A timeout around every `receive` would cost more than the receive itself. One timer looks
    # from time to time at how much was waited and what that brought.

    async def _next(self, loop: asyncio.AbstractEventLoop) -> Message:
        self._task = asyncio.current_task()
        since = self._waiting_since = loop.time()
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if self.stalled and self._task is not None and self._task.uncancel() == 0:
                raise ClientGone("the client sent nothing for too long") from None
            raise
        finally:
            self._waited += loop.time() - max(since, self._waiting_since or since)
            self._waiting_since = None

    def _check(self, loop: asyncio.AbstractEventLoop, before: int) -> None:
        now = loop.time()
        patience = self._options.patience
        if self._waiting_since is not None:
            self._waited += now - self._waiting_since
            self._waiting_since = now
        # Only time that we spent waiting for the client counts against it.
        idle = self._waited >= patience * 0.9 and self._waiting_since is not None
        slow = self._count - before < self._options.min_rate * patience
        if idle and slow and self._task is not None:
            self.stalled = True
            self._task.cancel()
            return
        self._waited = 0.0
        self._watch = loop.call_later(patience, self._check, loop, self._count)
