"""Fixtures of the API tests."""

from collections.abc import AsyncIterator

import pytest
from tests.api.world import World
from tests.support.content import Content

from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import LocalCache
from moorage.clock import SystemClock
from moorage.db.engine import Database


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The API with people and projects, and nothing pushed; once on each database."""
    cache = LocalCache(SystemClock(), entries=1000, size=1 << 20, expire_seconds=3600)
    made = await World(Content(database, MemoryStore(), Rules(), cache)).fill()
    yield made
    made.passwords.close()
    await cache.close()
