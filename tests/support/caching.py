"""What the tests of the cache share: a kind, a hasty pace, and a pump for a pipelined client."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from moorage.cache.base import Cache, Kind
from moorage.cache.fence import Fence
from moorage.cache.guard import Pace
from moorage.cache.redis import RedisCache
from moorage.clock import SystemClock
from moorage.config.redis import CacheSettings, RedisSettings

NUMBER: Kind[int] = Kind("number", lambda value: str(value).encode(), int)

# As in production, only shorter; the order of the times is what counts.
HASTY = Pace(
    poll=0.1, trust=0.5, wait=0.6, suspend=1.5, adopt=0.2, patience=0.1, settle=0.3, hold=3
)

# For tests in which nothing fails: however busy the machine is, Redis is used.
CALM = Pace(poll=0.1, trust=100, wait=120, suspend=300, adopt=0.2, patience=60, settle=0.3, hold=3)


def calm_cache(url: str, fence: Fence, **settings: object) -> RedisCache:
    """A started cache that takes no pause of the machine for an outage; the caller closes it."""
    return shared_cache(url, fence, CALM, **{"timeout_ms": 5000, **settings})


def shared_cache(url: str, fence: Fence, pace: Pace = HASTY, **settings: object) -> RedisCache:
    """A started cache on the Redis at `url`; the caller closes it."""
    redis = RedisSettings.model_validate({"url": url, "timeout_ms": 100, **settings})
    cache = RedisCache(CacheSettings(), redis, fence, SystemClock(), pace)
    cache.start()
    return cache


async def until_healthy(*caches: Cache, seconds: float = 60) -> None:
    """Wait until each says that it is healthy; fail with what it says instead."""
    deadline = time.monotonic() + seconds
    for cache in caches:
        while cache.health()["status"] != "healthy":
            assert time.monotonic() < deadline, cache.health()
            await asyncio.sleep(0.01)


async def look_up(
    cache: Cache, load: Callable[[], Awaitable[int | None]], key: str = "number:a"
) -> int | None:
    """What one reader gets."""
    return await cache.through(NUMBER, key, load)


async def pump(*caches: Cache) -> None:
    """Let everything happen that can happen without outside help."""
    for _ in range(5):
        for _ in range(5):
            await asyncio.sleep(0)
        for cache in caches:
            if isinstance(cache, RedisCache) and cache.wire is not None:
                await cache.wire.call("PING")


class Loads:
    """A database with one number in it, read by loads that wait for their test."""

    def __init__(self, value: int | None = 1) -> None:
        self.value = value
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> int | None:
        """Read at once, answer when the gate opens: as slow as a race needs."""
        self.count += 1
        value = self.value
        await self.gate.wait()
        return value
