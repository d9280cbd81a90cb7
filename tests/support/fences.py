"""The cache's fence without a database: what the real one promises, in memory."""

import asyncio
import secrets
import time

from moorage.cache.fence import FenceState
from moorage.errors import DatabaseUnavailable


class MemoryFence:
    """One fence for several caches in one process."""

    def __init__(self) -> None:
        self.generation = secrets.token_hex(4)
        self.server = ""
        self.until = time.monotonic()
        self.suspensions = 0
        self.broken = False
        self.stuck = asyncio.Event()  # the next read waits for it, unless it is set
        self.stuck.set()

    def _state(self) -> FenceState:
        now = time.monotonic()
        return FenceState(self.generation, self.server, self.until - now)

    async def read(self) -> FenceState:
        await asyncio.sleep(0)
        if not self.stuck.is_set():
            held, self.stuck = self.stuck, asyncio.Event()
            self.stuck.set()
            await held.wait()
        if self.broken:
            raise DatabaseUnavailable
        return self._state()

    async def choose(self, server: str) -> FenceState:
        await asyncio.sleep(0)
        self.server = self.server or server
        return self._state()

    async def suspend(self, seconds: float, server: str | None = None) -> FenceState:
        await asyncio.sleep(0)
        if self.broken:
            raise DatabaseUnavailable
        now = time.monotonic()
        self.generation = secrets.token_hex(4)
        self.suspensions += 1
        if server is not None:
            self.server = server
        self.until = max(self.until, now + seconds)
        return self._state()
