"""What a writer knows of its suspension, whichever answer of the fence comes first."""

import asyncio
import time

import pytest
from tests.support.caching import HASTY
from tests.support.fences import MemoryFence

from moorage.cache.fence import FenceState
from moorage.cache.guard import Guard
from moorage.clock import SystemClock
from moorage.config.redis import RedisSettings
from moorage.errors import DatabaseUnavailable

pytestmark = pytest.mark.anyio


class SlowFence(MemoryFence):
    """Commits a suspension when it is told to; counts looks."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.asked = 0  # suspensions
        self.go = asyncio.Event()
        self.committed = 0.0

    async def read(self) -> FenceState:
        self.looks += 1
        return await super().read()

    async def suspend(self, seconds: float, server: str | None = None) -> FenceState:
        self.asked += 1
        await self.go.wait()
        self.committed = time.monotonic()
        return await super().suspend(seconds, server)


def guard_of(fence: MemoryFence) -> Guard:
    """One whose Redis is nowhere."""
    settings = RedisSettings.model_validate({"url": "unix:///nowhere/redis.sock"})
    return Guard(settings, fence, SystemClock(), HASTY)


async def test_a_slow_suspension_is_noticed_by_all_before_the_commit() -> None:
    """A look that began after it, and saw the fence as it was before, does not hide it."""
    fence = SlowFence()
    guard = guard_of(fence)
    guard.start()
    try:
        async with asyncio.timeout(60):
            while not fence.looks:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await asyncio.sleep(HASTY.poll / 4)  # the watch rests; its next look is a younger one
            leaving = asyncio.create_task(guard.leave())
            while fence.asked < 2:  # noqa: ASYNC110 - the watch asks as well, after a look
                await asyncio.sleep(0.01)
            fence.go.set()
            await leaving
        assert time.monotonic() - fence.committed >= HASTY.wait
    finally:
        await guard.close()


async def test_writers_do_not_fail_to_look_one_after_the_other() -> None:
    """One look that fails is the answer for all who waited for it."""
    fence = SlowFence()
    fence.broken = True
    guard = guard_of(fence)
    await asyncio.gather(*(guard._see_again() for _ in range(20)))
    assert fence.looks == 1
    assert guard.error == str(DatabaseUnavailable())
