"""What the collector leaves because a lease holds it, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.content import ALICE, Content, sha256

from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.db.engine import Database
from moorage.gc import Held, held

pytestmark = pytest.mark.anyio


async def test_what_leases_hold_is_told(database: Database) -> None:
    """A deleted image's blobs count until their leases end; those of an image do not."""
    content = Content(database, MemoryStore(), Rules(lease=3600, drain=0, trash=0))
    await content.project("library")
    await content.push_image("library/a", "v1", config=b"{}", layers=[b"12345"])
    assert await held(database) == Held()
    gone = await content.push_image("library/a", "v2", config=b"{}", layers=[b"1234567"])
    await content.manifests.delete(ALICE, "library/a", sha256(gone))
    await content.collect()
    found = await held(database)
    assert (found.blobs, found.size) == (1, 7)
    assert found.until is not None
    left = found.until - datetime.now(UTC)
    assert timedelta(minutes=50) < left < timedelta(minutes=70)


async def test_nothing_is_held_without_leases(database: Database) -> None:
    """Then the collector takes all of it."""
    content = Content(database, MemoryStore(), Rules(lease=0, drain=0, trash=0))
    await content.project("library")
    await content.push_blob("library/a", b"12345")
    await content.collect()
    assert await held(database) == Held()
