"""What keeps state is opened in its order, and closed in reverse."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from moorage.blobstore import open as open_store
from moorage.cache import open_cache
from moorage.cache.base import Cache
from moorage.clock import Clock, SystemClock
from moorage.config.settings import Settings
from moorage.db import connect
from moorage.jobs.bell import open_bell
from moorage.roles.fence import DatabaseFence
from moorage.roles.resources import Ground, Resources
from moorage.telemetry.metrics import Metrics


@asynccontextmanager
async def opened(settings: Settings, metrics: Metrics) -> AsyncIterator[Resources]:
    """Everything, closed in reverse at the end; nothing asks the database yet."""
    clock = SystemClock()
    data_dir = settings.data_dir
    async with AsyncExitStack() as stack:
        db = connect(settings.database, data_dir=data_dir, clock=clock)
        stack.push_async_callback(db.close)
        store = open_store(
            settings.storage,
            data_dir=data_dir,
            observe=metrics.observe_storage,
            missed=metrics.missing_blobs.inc,
        )
        stack.push_async_callback(store.close)
        cache = await _cache(settings, data_dir, clock, stack)
        stack.push_async_callback(cache.close)
        db.notifier = cache
        bell = open_bell(settings.redis if settings.database.postgres else None)
        stack.push_async_callback(bell.close)
        resources = Resources(Ground(settings, db, store, cache, clock, metrics, bell))
        stack.push_async_callback(resources.close)
        yield resources


async def _cache(settings: Settings, data_dir: Path, clock: Clock, stack: AsyncExitStack) -> Cache:
    """A SQLite database belongs to one process; beside PostgreSQL there may always be others."""
    fence = None
    if settings.database.postgres and settings.redis is not None:
        # A pool of its own: a fence that waits behind requests would look lost.
        own = settings.database.model_copy(update={"pool_size": 1, "wait_seconds": 2.0})
        aside = connect(own, data_dir=data_dir, clock=clock)
        stack.push_async_callback(aside.close)
        fence = DatabaseFence(aside)
    return await open_cache(
        settings.cache,
        settings.redis,
        single_process=not settings.database.postgres,
        clock=clock,
        fence=fence,
    )
