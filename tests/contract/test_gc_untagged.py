"""Artifacts that no tag keeps: what is being pushed or signed again is left alone."""

import asyncio
from collections.abc import Awaitable, Callable
from unittest.mock import patch

import pytest
from sqlalchemy import select
from tests.support.content import ALICE, Content, descriptor, image, index, sha256

from moorage import failpoints
from moorage.artifacts.copying import Copies
from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.types import from_now
from moorage.gc.untagged import Doomed, Untagged
from moorage.oci import media_types

pytestmark = pytest.mark.anyio

WINDOW = 7200.0
APP = "library/app"


@pytest.fixture
async def content(database: Database) -> Content:
    """A registry with one project."""
    made = Content(database, MemoryStore(), Rules())
    await made.project("library")
    return made


@pytest.fixture
async def old(content: Content) -> bytes:
    """An image that lost its tag long ago."""
    payload = await content.push_image(APP, "v1")
    await content.manifests.delete_tag(ALICE, APP, "v1")
    async with content.db.write() as tx:
        await tx.execute(tables.manifests.update().values(pushed_at=from_now(-2 * WINDOW)))
    return payload


async def doomed(content: Content) -> list[Doomed]:
    """What a collection would delete."""
    untagged = Untagged(content.db, content.rules, WINDOW)
    return [each async for page in untagged.doomed() for each in page]


async def push(content: Content, payload: bytes, *tags: str) -> None:
    await content.manifests.put(ALICE, APP, sha256(payload), payload, "", tags=tags)


async def sign(content: Content, subject: bytes) -> None:
    said = descriptor(subject, media_types.OCI_MANIFEST)
    await content.push_blob(APP, b"signature")
    await push(content, image(b"{}", [b"signature"], subject=said))


async def test_what_no_tag_keeps_goes(content: Content, old: bytes) -> None:
    """Once its time is over."""
    (found,) = await doomed(content)
    assert found == Doomed(APP, sha256(old))
    assert await content.db.run(Untagged(content.db, content.rules, WINDOW).delete, found)
    assert await doomed(content) == []


async def test_what_is_pushed_again_may_be_named_by_an_index(content: Content, old: bytes) -> None:
    """A client pushes the platforms first, and some of them have been there for long."""
    await push(content, old)
    assert await doomed(content) == []
    await push(content, index([old]), "multi")


@pytest.mark.parametrize("happens", [push, sign])
async def test_what_comes_back_while_others_are_deleted_stays(
    content: Content, old: bytes, happens: Callable[[Content, bytes], Awaitable[None]]
) -> None:
    """It was found to have no tag, and its turn came an hour later."""
    (found,) = await doomed(content)
    await happens(content, old)
    assert not await content.db.run(Untagged(content.db, content.rules, WINDOW).delete, found)
    await push(content, index([old]), "multi")


async def test_a_push_of_what_a_tag_keeps_changes_no_time(content: Content) -> None:
    """Of the artifact, that is; its tag has a time of its own."""
    payload = await content.push_image(APP, "v1")
    pushed = select(tables.manifests.c.pushed_at)
    before = await content.scalar(pushed)
    await push(content, payload, "v1")
    assert await content.scalar(pushed) == before


async def test_what_a_copy_finds_there_already_may_be_named_by_an_index(
    content: Content, old: bytes
) -> None:
    """Of an index too, the platforms come first."""
    await content.push_image("library/source", "v1")
    parent = index([old])
    await content.manifests.put(ALICE, "library/source", "multi", parent, "")
    await content.manifests.delete_tag(ALICE, "library/source", "v1")
    copies = Copies(content.db, content.rules)
    held = asyncio.Event()

    async def reach(name: str) -> None:
        if name == "manifest.committed" and not held.is_set():
            held.set()
            assert await doomed(content) == []

    with patch.object(failpoints, "reach", reach):
        await copies.copy(ALICE, "library/source", "multi", APP)
    assert held.is_set()
