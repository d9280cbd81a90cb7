"""Who sends next, where many large answers are sent at once.

A client that reads as fast as this process writes never makes it wait: without turns such an
answer would be sent to its end before anybody else is heard, a client that only comes as well.

    pieces that are due ─► a queue ─► some each time round the event loop ─► new requests, others
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 4
"""Pieces that are sent before the event loop looks for what else there is."""


class Turns:
    """First come, first served; for the answers of one event loop."""

    def __init__(self) -> None:
        self._answers = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """While an answer of several pieces is sent."""
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1

    async def take(self) -> None:
        """Wait until it is time for the next piece; others always get a chance before."""
        if self._answers <= AT_ONCE:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_soon(self._pass, loop)
        await turn

    def _pass(self, loop: asyncio.AbstractEventLoop) -> None:
        left = AT_ONCE
        while self._waiting and left:
            turn = self._waiting.popleft()
            if not turn.done():  # who gave up meanwhile
                turn.set_result(None)
                left -= 1
        if self._waiting:
            loop.call_soon(self._pass, loop)
