"""What the collector leaves because a lease holds it, on both databases."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from tests.support.content import ALICE, Content, sha256
from tests.support.races import RULES

from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.gc import Held, held
from moorage.gc import review as reviewing

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


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let all leases end in the middle of the next review, after its first look at them."""

    def arm() -> None:
        unlink = reviewing._unlink

        async def slowly(tx: Tx, links: list[reviewing._Link]) -> set[reviewing._Link]:
            assert any(link.leased for link in links)
            monkeypatch.setattr(reviewing, "_unlink", unlink)
            await tx.execute(update(tables.repository_blobs).values(lease_until=now()))
            return await unlink(tx, links)

        monkeypatch.setattr(reviewing, "_unlink", slowly)

    return arm


async def test_a_lease_that_ends_during_the_review(
    racing: Content, late: Callable[[], None]
) -> None:
    """What only it kept is looked at again, and not forgotten."""
    racing.uploads._rules = replace(RULES, lease=3600)
    digest = await racing.push_blob("library/a", b"12345")
    late()
    assert (await racing.collector.review([digest], racing.db.run)).blobs == 0
    assert (await racing.collector.run_once()).reviewed == 1


async def test_a_lease_elsewhere_that_ends_during_the_review(
    racing: Content, late: Callable[[], None]
) -> None:
    """Of two repositories that had a blob without need, neither has it, nor pays for it, later."""
    project_id = await racing.project("mine")
    digest = await racing.push_blob("library/a", b"12345")
    racing.uploads._rules = replace(RULES, lease=3600)
    await racing.push_blob("mine/a", b"12345")
    late()
    assert (await racing.collector.review([digest], racing.db.run)).blobs == 1
    assert await racing.used(project_id) == 0
