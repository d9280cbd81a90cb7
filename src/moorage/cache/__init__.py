"""What the database said, kept near: in the process, or in a Redis that replicas share."""

from moorage.cache.base import Cache
from moorage.cache.fence import Fence
from moorage.cache.local import LocalCache, NoCache
from moorage.clock import Clock
from moorage.config.redis import CacheSettings, RedisSettings


async def open_cache(
    settings: CacheSettings,
    redis: RedisSettings | None = None,
    *,
    single_process: bool,
    clock: Clock,
    fence: Fence | None = None,
) -> Cache:
    """The cache that fits the installation; the caller closes it.

    single process        memory, Redis or not
    replicas with Redis   Redis, guarded by `fence`; opens also while Redis is away
    replicas without      nothing is kept that may change

    Raises ValueError when replicas share a Redis without a fence.
    """
    if not settings.enabled:
        return NoCache("switched off")
    if single_process:
        return LocalCache(
            clock,
            entries=settings.local_entries,
            size=settings.local_bytes,
            expire_seconds=settings.expire_hours * 3600,
        )
    if redis is None:
        return NoCache("replicas without Redis")
    if fence is None:
        raise ValueError("replicas that share a Redis need a fence in the database")
    from moorage.cache.redis import RedisCache  # only now: a single process needs no client

    cache = RedisCache(settings, redis, fence, clock)
    cache.start()
    return cache
