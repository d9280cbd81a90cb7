"""One pipelined connection to Redis, as cheap per command as asyncio allows.

    send(command) ─► written once per turn of the loop ─► Redis ─► replies in order ─► futures
                     └─ watched: a command unanswered for longer than the budget breaks the wire

A pooled client spends ten times as much on taking, locking and returning a connection as this
spends on the whole command. Replies are what the server said: bytes, int, list, None, or an
`ErrorReply`; a wire that breaks fails everything on it with `WireBroken`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis

# The watch looks this often within a budget; a command is late after the budget and at most one
# such step more.
STEPS = 4


class WireBroken(ConnectionError):
    """The connection is gone, or too slow to be of use."""


class ErrorReply(Exception):
    """Redis refused a command; the text starts with a code in capitals."""

    @property
    def code(self) -> str:
        """The first word: `READONLY`, `LOADING`, `MOVED`, `OOM`…"""
        return str(self).partition(" ")[0]


_NOTHING = object()


def encode(*parts: bytes | str | int) -> bytes:
    """A command as Redis reads it."""
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        out.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(out)


class Wire(asyncio.Protocol):
    """Made by `loop.create_connection`; `send` may be called once it is connected."""

    def __init__(self, budget: float, lost: Callable[["Wire"], None]) -> None:
        """Break after a command waits longer than `budget` seconds; tell `lost` once."""
        self._loop = asyncio.get_running_loop()
        self._lost = lost
        self._step = budget / STEPS
        self._reader = hiredis.Reader(replyError=ErrorReply, notEnoughData=_NOTHING)
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._out: list[bytes] = []
        self._done = 0
        self._issued: deque[int] = deque(maxlen=STEPS)
        self._watch: asyncio.TimerHandle | None = None
        self._looked = 0.0
        self._transport: asyncio.Transport | None = None
        self.broken = False
        self.error = ""  # why it broke

    # --- commands

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Queue one encoded command; the future gives the reply, or raises WireBroken."""
        future = self._loop.create_future()
        if self.broken:
            future.set_exception(WireBroken(self.error))
            return future
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command)
        self._pending.append(future)
        if self._watch is None:
            self._look_again()
        return future

    async def call(self, *parts: bytes | str | int) -> Any:
        """The reply to one command. Raises ErrorReply and WireBroken."""
        reply = await self.send(encode(*parts))
        if isinstance(reply, ErrorReply):
            raise reply
        return reply

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self.broken:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    # --- the watch

    def _look_again(self) -> None:
        self._looked = self._loop.time()
        self._watch = self._loop.call_later(self._step, self._look)

    def _look(self) -> None:
        self._watch = None
        if not self._pending:
            self._issued.clear()
            return
        if self._loop.time() - self._looked > 2 * self._step:
            # This process stood still, so the replies may lie in the socket: begin to count anew.
            self._issued.clear()
        elif len(self._issued) == STEPS and self._done < self._issued[0]:
            self.fail("no reply in time")
            return
        self._issued.append(self._done + len(self._pending))
        self._look_again()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream transport by contract

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        pending = self._pending
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                future = pending.popleft()
                self._done += 1
                if not future.done():  # its reader may have gone
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.fail(f"not the Redis protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(str(exc) if exc else "closed by the server")

    def fail(self, reason: str) -> None:
        """Break the wire: every reply that is still owed raises WireBroken."""
        if self.broken:
            return
        self.broken = True
        self.error = reason
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()
        while self._pending:
            future = self._pending.popleft()
            if not future.done():
                future.set_exception(WireBroken(reason))
                future.exception()  # whoever sent and forgot need not be told
        self._lost(self)
