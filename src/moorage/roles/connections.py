"""What one connection may cost, whoever is at its other end.

    the head of a request      HEAD_SECONDS, HEAD_BYTES, HEADERS      408, 431, closed
    the space between two      uvicorn's keep-alive
    a body                     the faces: seconds, size, least rate
    an answer nobody reads     STALL_SECONDS                          closed

The server's protocol has none of the bounds on the left: a client that sends a letter a minute
would keep its connection for ever, and one that never ends a header would fill the memory.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with bounds; one timer a connection, none a request."""

    HEAD_SECONDS = 30.0
    HEAD_BYTES = 64 << 10
    HEADERS = 256
    STALL_SECONDS = 300.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_since: float | None = None
        self._begun = False
        self._stalled_since: float | None = None
        self._idle_bytes = 0  # since the last piece of a body, or since the head began
        self._moved = False
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # A connection that says nothing at all counts as a head that does not come.
        self._head_since = self.loop.time()
        self._watch = self.loop.call_later(self.HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        counts = self._head_since is not None or not self._moved
        self._moved = False
        super().data_received(data)
        if self._moved:
            self._idle_bytes = 0
        elif counts:
            # All of it was a head, chunk framing or trailers: nothing that anybody asked for.
            self._idle_bytes += len(data)
        if self._idle_bytes > self.HEAD_BYTES or len(self.headers or ()) > self.HEADERS:
            self._refuse(431)
        elif self._head_since is None and not self._busy and self.timeout_keep_alive_task is None:
            # Neither a head nor a body that is wanted, and it ended the keep-alive's timer.
            self._head_since = self.loop.time()

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_since = self.loop.time()
        self._begun = True
        self._idle_bytes = 0

    def on_headers_complete(self) -> None:
        self._head_since = None
        self._begun = False
        self._moved = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def pause_writing(self) -> None:
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled_since = None
        super().resume_writing()

    def _look(self) -> None:
        """Close what is over its time, else look again when it could be."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        head, stall = self._head_since, self._stalled_since
        if stall is not None and now >= stall + self.STALL_SECONDS - 0.01:
            self.transport.abort()
            return
        if head is not None and self._busy:
            head = self._head_since = now  # the next of several in a row has to wait for its turn
        if head is not None and now >= head + self.HEAD_SECONDS - 0.01:
            self._refuse(408)
            return
        due = (now if head is None else head) + self.HEAD_SECONDS
        self._watch = self.loop.call_at(due, self._look)

    def _refuse(self, status: int) -> None:
        """Say why if a request was begun and no other answer is on its way, and close."""
        if self.transport.is_closing():
            return
        if self._busy:
            self.transport.abort()
            return
        if self._begun:
            ending = b"content-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + ending)
        self.transport.close()
