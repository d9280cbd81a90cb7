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

    def _state(self) -> FenceState:
        now = time.monotonic()
        return FenceState(self.generation, self.server, self.until - now)

    async def read(self) -> FenceState:
        await asyncio.sleep(0)
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
