"""What only the cache of one process does, and the choice between the caches."""

import pytest
from tests.support.caching import NUMBER, Loads
from tests.support.clocks import TurnedClock

from moorage.cache import open_cache
from moorage.cache.local import LocalCache, NoCache
from moorage.cache.lru import OVERHEAD, BytesLRU
from moorage.config.redis import CacheSettings, RedisSettings

pytestmark = pytest.mark.anyio


async def test_peek_answers_without_waiting() -> None:
    """What was loaded can be had without a coroutine, until it expires."""
    clock = TurnedClock()
    cache = LocalCache(clock, entries=10, size=10_000, expire_seconds=60)
    loads = Loads(4)
    assert cache.peek(NUMBER, "number:a") is None
    await cache.through(NUMBER, "number:a", loads)
    assert cache.peek(NUMBER, "number:a") == 4
    clock.advance(59.9)
    assert cache.peek(NUMBER, "number:a") == 4
    clock.advance(0.1)
    assert cache.peek(NUMBER, "number:a") is None
    await cache.close()


@pytest.mark.parametrize(("entries", "size"), [(3, 10**6), (10**6, 3 * (OVERHEAD + 1))])
async def test_the_least_recently_used_goes_first(entries: int, size: int) -> None:
    """Entries and bytes are both bounded."""
    cache = LocalCache(TurnedClock(), entries=entries, size=size, expire_seconds=60)
    for name in "abc":
        await cache.through(NUMBER, name, Loads(1))
    assert cache.peek(NUMBER, "a") == 1
    await cache.through(NUMBER, "d", Loads(1))
    assert [cache.peek(NUMBER, name) for name in "abcd"] == [1, None, 1, 1]
    health = cache.health()
    assert health["entries"] == 3
    assert health["bytes"] == 3 * (OVERHEAD + 1)
    await cache.close()


async def test_content_by_digest_is_bounded_by_bytes() -> None:
    """Content that is larger than all the room is not kept; old content makes room."""
    contents = BytesLRU(2 * (OVERHEAD + 100))
    contents.put("large", bytes(1000))
    assert contents.get("large") is None
    for name in ("a", "b", "c"):
        contents.put(name, name.encode() * 100)
    assert contents.get("a") is None
    assert contents.get("b") == b"b" * 100
    contents.put("b", b"b" * 100)
    assert contents.used == 2 * (OVERHEAD + 100)


async def test_the_cache_fits_the_installation() -> None:
    """One process: memory. Replicas without Redis, or a cache that is off: nothing is kept."""
    clock = TurnedClock()
    redis = RedisSettings.model_validate({"url": "redis://127.0.0.1:1"})
    alone = await open_cache(CacheSettings(), redis, single_process=True, clock=clock)
    assert isinstance(alone, LocalCache)
    replica = await open_cache(CacheSettings(), single_process=False, clock=clock)
    assert isinstance(replica, NoCache)
    off = CacheSettings(enabled=False)
    switched_off = await open_cache(off, redis, single_process=False, clock=clock)
    assert isinstance(switched_off, NoCache)
    loads = Loads(1)
    for _ in range(2):
        await replica.through(NUMBER, "number:a", loads)
    assert loads.count == 2
    assert replica.peek(NUMBER, "number:a") is None
    assert replica.health()["status"] == "healthy"
