"""The bell: tells workers that there may be something to do. One that is not heard costs a poll.

LocalBell   within a process
RedisBell   between replicas: a counter that workers look at four times a second
"""

import asyncio
import contextlib
from typing import Protocol

from moorage.cache.link import Line
from moorage.cache.wire import ErrorReply
from moorage.config.redis import RedisSettings

_KEY = "moorage:jobs:bell"
_LOOK = 0.25  # seconds


class Bell(Protocol):
    """Rings for every worker."""

    async def ring(self) -> None:
        """Something was enqueued, stopped or resumed; never raises."""

    def nudge(self) -> None:
        """The same for the worker of this process alone."""

    async def wait(self, seconds: float) -> None:
        """Until it rings, but not longer than this; one waiter a bell."""

    async def close(self) -> None: ...


class LocalBell:
    """For the workers of this process."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    async def ring(self) -> None:
        self._rung.set()

    def nudge(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()

    async def close(self) -> None:
        pass


class RedisBell:
    """For the workers of every process that shares a Redis.

    A counter and no subscription: a Redis that hung, was flushed or lost its memory needs no
    repair, and a worker that looks at another number than before has heard the bell.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._near = LocalBell()
        self._line = Line(settings, "bell")
        self._seen: bytes | None = None

    async def ring(self) -> None:
        self._near.nudge()
        with contextlib.suppress(OSError, ErrorReply):
            await self._line.call("INCR", _KEY)

    def nudge(self) -> None:
        self._near.nudge()

    async def wait(self, seconds: float) -> None:
        listening = asyncio.create_task(self._listen())
        near = asyncio.create_task(self._near.wait(seconds))
        try:
            await asyncio.wait([listening, near], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, near):
                task.cancel()
            await asyncio.gather(listening, near, return_exceptions=True)

    async def _listen(self) -> None:
        """Until the counter is another."""
        while True:
            try:
                now = await self._line.call("GET", _KEY)
            except (OSError, ErrorReply):
                now = self._seen
            if now != self._seen:
                self._seen = now
                return
            await asyncio.sleep(_LOOK)

    async def close(self) -> None:
        await self._line.close()


def open_bell(settings: RedisSettings | None) -> Bell:
    """The bell of an installation."""
    return RedisBell(settings) if settings is not None else LocalBell()
