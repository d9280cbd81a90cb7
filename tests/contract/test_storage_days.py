"""Bytes noted day by day: what `usage` says of that day, once, for projects and repositories."""

import asyncio
from datetime import timedelta
from unittest.mock import patch

import pytest
from sqlalchemy import delete, func, select, update
from tests.support.content import ALICE, Content, sha256

from moorage.artifacts.usageaging import UsageAging
from moorage.blobstore.memory import MemoryStore
from moorage.config.usage import UsageSettings
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Query
from moorage.db.types import now
from moorage.errors import RepositoryUnknown
from moorage.projects import storagedays
from moorage.projects.storagedays import Held, StorageDays
from moorage.projects.usage import Usage

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_hour")]


@pytest.fixture
def content(database: Database) -> Content:
    """An empty registry."""
    return Content(database, MemoryStore())


async def test_bytes_are_noted_once_a_day(content: Content) -> None:
    """As they were then; the next day's row is another, and old ones go."""
    number = await content.project("one")
    await content.push_image("one/a", "v1", b"{}", [b"x" * 100])
    days = StorageDays(content.db)
    await days.note()
    first = await Usage(content.db).of_project(number)
    await content.push_image("one/a", "v2", b"{}", [b"y" * 50])
    await days.note()
    today = (await content.scalar(select(now()))).date()
    (noted,) = await days.of_project(number, 30)
    assert (noted.day, noted.usage) == (today, first)
    for table in (tables.project_storage, tables.repository_storage):
        async with content.db.write() as tx:
            await tx.execute(update(table).values(day=today - timedelta(days=9)))
    await days.note()
    older, newer = await days.of_project(number, 10)
    assert (older.usage, newer.usage) == (first, await Usage(content.db).of_project(number))
    assert [each.held for each in await days.of_repository("one/a", 10)] == [
        Held(102, 0),
        Held(152, 0),
    ]
    assert [each.day for each in await days.of_project(number, 9)] == [today]
    await UsageAging(content.db, UsageSettings(days=9)).run_once()
    assert len(await days.of_project(number, 30)) == len(await days.of_repository("one/a", 30)) == 1


async def test_repositories_share_what_others_hold(content: Content) -> None:
    """In the same project and in others; the largest first."""
    number = await content.project("one")
    await content.project("two")
    await content.push_image("one/a", "v1", b"{}", [b"x" * 100, b"y" * 10])
    await content.push_image("one/b", "v1", b"{}", [b"x" * 100, b"z" * 500])
    await content.push_image("two/c", "v1", b"{}", [b"y" * 10])
    days = StorageDays(content.db)
    await days.note()
    page = await days.repositories(number, Query())
    assert [(each.repository, each.held) for each in page.items] == [
        ("one/b", Held(500, 102)),
        ("one/a", Held(0, 112)),
    ]
    assert (page.total, len((await days.repositories(number, Query(size=1))).items)) == (2, 1)
    with pytest.raises(RepositoryUnknown):
        await days.of_repository("one/none", 3)


async def test_replicas_note_together(content: Content) -> None:
    """Each project once, however many processes, and batch after batch."""
    for number in range(5):
        await content.project(f"p{number}")
        await content.push_image(f"p{number}/a", "v1")
    replicas = [StorageDays(content.db) for _ in range(3)]
    with patch.object(storagedays, "_BATCH", 2):
        while any(await asyncio.gather(*(each.note() for each in replicas))):
            pass
    for table in (tables.project_storage, tables.repository_storage):
        assert await content.scalar(select(func.count()).select_from(table)) == 5


async def test_what_is_deleted_while_it_is_counted_is_left_out(content: Content) -> None:
    """A project or a repository that went between the count and the note."""
    number = await content.project("one")
    await content.project("two")
    image = await content.push_image("one/a", "v1")
    held = storagedays._held

    async def then_gone(tx: object, project_id: int) -> object:
        found = await held(tx, project_id)  # type: ignore[arg-type]
        async with content.db.write() as gone:
            if project_id == number:
                await gone.execute(delete(tables.artifact_trash))
                await gone.execute(delete(tables.repository_blobs))
                await gone.execute(delete(tables.repositories))
            else:
                await gone.execute(delete(tables.quotas))
                await gone.execute(
                    delete(tables.projects).where(tables.projects.c.id == project_id)
                )
        return found

    await content.manifests.delete(ALICE, "one/a", sha256(image))
    with patch.object(storagedays, "_held", then_gone):
        await StorageDays(content.db).note()
    assert await content.scalar(select(tables.project_storage.c.project_id)) == number
    rows = select(func.count()).select_from(tables.repository_storage)
    assert await content.scalar(rows) == 0
