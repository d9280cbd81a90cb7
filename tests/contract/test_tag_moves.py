"""Every move of a tag is in its history, in the order of the moves, and no move that failed."""

import asyncio
import random

import pytest
from sqlalchemy import select, update
from tests.support.content import ALICE, Content, sha256

from moorage.access.principals import Principal
from moorage.artifacts.copying import Copies
from moorage.artifacts.tagmoves import Moved, TagMoves
from moorage.artifacts.usageaging import UsageAging
from moorage.blobstore.memory import MemoryStore
from moorage.config.usage import UsageSettings
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Exact, Query
from moorage.db.types import from_now
from moorage.errors import MoorageError, RepositoryUnknown
from moorage.oci import media_types

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_hour")]

BOB = Principal("user", 2, "bob")
LONG = Query(size=100)


@pytest.fixture
async def content(database: Database) -> Content:
    """A registry with one project."""
    found = Content(database, MemoryStore())
    await found.project("one")
    return found


async def history(content: Content, tag: str, repository: str = "one/a") -> list[Moved]:
    """Moves of a tag, the first first."""
    query = LONG.with_filter("tag", Exact(tag))
    return list(reversed((await TagMoves(content.db).list(repository, query)).items))


def told(moves: list[Moved]) -> list[tuple[str, str, str, str]]:
    """What happened, from where to where, by whom."""
    return [(each.kind, each.previous, each.digest, each.operator) for each in moves]


async def test_each_move_of_a_tag_is_noted(content: Content) -> None:
    """Made, pushed again, moved, removed, deleted with its artifact, restored."""
    one = await content.push_image("one/a", "v1", b'{"n": 1}')
    two = await content.push_image("one/a", "other", b'{"n": 2}')
    first, second = sha256(one), sha256(two)
    put = content.manifests.put
    await put(ALICE, "one/a", "v1", one, media_types.OCI_MANIFEST)  # moves nothing
    await put(BOB, "one/a", "v1", two, media_types.OCI_MANIFEST)
    await content.manifests.delete_tag(BOB, "one/a", "v1")
    await content.manifests.add_tag(ALICE, "one/a", first, "v1")
    await content.manifests.delete(BOB, "one/a", first)
    await content.manifests.restore(ALICE, "one/a", first)
    assert told(await history(content, "v1")) == [
        ("created", "", first, "alice"),
        ("moved", first, second, "bob"),
        ("deleted", second, "", "bob"),
        ("created", "", first, "alice"),
        ("deleted", first, "", "bob"),
        ("restored", "", first, "alice"),
    ]
    assert told(await history(content, "other")) == [("created", "", second, "alice")]


async def test_copies_and_deleted_repositories_are_noted(content: Content) -> None:
    """With the operator of each."""
    one = await content.push_image("one/a", "v1")
    await Copies(content.db, content.rules).copy(BOB, "one/a", "v1", "one/b")
    assert told(await history(content, "v1", "one/b")) == [("created", "", sha256(one), "bob")]
    await content.manifests.delete_repository(BOB, "one/a")
    with pytest.raises(RepositoryUnknown):
        await history(content, "v1")
    await content.push_image("one/a", "v2")
    assert [each.kind for each in await history(content, "v1")] == ["created", "deleted"]


async def test_a_push_that_is_refused_moves_nothing(content: Content) -> None:
    """The row is in the transaction of the move."""
    one = await content.push_image("one/a", "v1")
    async with content.db.write() as tx:
        await tx.execute(update(tables.quotas).values(hard=1))
    with pytest.raises(MoorageError):
        await content.push_image("one/a", "v1", b'{"large": 1}', [b"x" * 5000])
    assert told(await history(content, "v1")) == [("created", "", sha256(one), "alice")]


async def test_the_history_is_a_chain_whoever_pushes_at_once(content: Content) -> None:
    """Each move begins where the one before ended, and the last is where the tag points."""
    images = [await content.push_image("one/a", f"v{n}", b'{"n": %d}' % n) for n in range(4)]
    dice = random.Random(3)

    async def push() -> None:
        for _ in range(8):
            image = dice.choice(images)
            await content.manifests.put(ALICE, "one/a", "latest", image, media_types.OCI_MANIFEST)

    await asyncio.gather(*(push() for _ in range(4)))
    moves = await history(content, "latest")
    assert [each.previous for each in moves] == ["", *(each.digest for each in moves[:-1])]
    assert {each.kind for each in moves[1:]} <= {"moved"}
    assert all(each.previous != each.digest for each in moves)
    now = await content.pulls.resolve("one/a", "latest")
    assert moves[-1].digest == now.digest


async def test_old_moves_go(content: Content) -> None:
    """After `usage.tag_history_days`."""
    await content.push_image("one/a", "v1")
    await content.push_image("one/a", "v2")
    async with content.db.write() as tx:
        old = update(tables.tag_moves).where(tables.tag_moves.c.tag == "v1")
        await tx.execute(old.values(moved_at=from_now(-8 * 86400)))
    await UsageAging(content.db, UsageSettings(tag_history_days=7)).run_once()
    assert await content.scalar(select(tables.tag_moves.c.tag)) == "v2"
