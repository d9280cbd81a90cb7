"""Rows and objects of a registry while none of its processes runs: counted, collected, compared."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import delete, text, update
from tests.support.content import Content
from tests.support.invariants import leftovers, violations
from tests.support.stores import Bucket

from moorage.artifacts.rules import Rules
from moorage.blobstore import open as open_store
from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.config.storage import StorageSettings
from moorage.db import connect, tables
from moorage.db.types import now
from moorage.gc import Sweeper

Check = Callable[[Content], Awaitable[list[str]]]


def offline(url: str | None, bucket: Bucket | None, folder: Path, check: Check) -> list[str]:
    """Do something with rows and objects while no replica runs.

    Without a URL and a bucket they are in `folder`, the data directory of a process alone.
    """

    async def go() -> list[str]:
        settings = DatabaseSettings.model_validate({"url": url})
        db = connect(settings, data_dir=folder, clock=SystemClock())
        stored = StorageSettings() if bucket is None else bucket.settings
        store = open_store(stored, data_dir=folder)
        rules = Rules(lease=0, drain=0, trash=0, upload_age=0)
        content = Content(db, store, rules)
        try:
            if url is not None:
                await alone(content)
            return await check(content)
        finally:
            await store.close()
            await db.close()

    return asyncio.run(go())


async def alone(content: Content) -> None:
    """Wait until the server has ended what the dead had begun."""
    others = text(
        "SELECT application_name, state, wait_event, xact_start, query FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    for _ in range(1200):
        async with content.db.read() as tx:
            connected = [*await tx.execute(others)]
        if not connected:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"somebody is still connected: {connected}")


async def everything_collected(content: Content) -> list[str]:
    """What a last collection leaves although nothing needs it."""
    content.sweeper = Sweeper(content.db, content.store, retry=0)
    async with content.db.write() as tx:
        await tx.execute(update(tables.repository_blobs).values(lease_until=now()))
        await tx.execute(delete(tables.artifact_trash))
    await content.janitor.run_once()
    async with content.db.write() as tx:
        await tx.execute(update(tables.blob_trash).values(not_before=now()))
    await content.collect()
    return await violations(content) + await leftovers(content)
