"""Bytes counted three ways, and quotas counted anew, against what a model says."""

import random
from collections import Counter

import pytest
from sqlalchemy import delete, insert, select, update
from tests.support.content import ALICE, Content, index, sha256

from moorage.artifacts import ledger
from moorage.blobstore.memory import MemoryStore
from moorage.db import tables
from moorage.db.engine import Database
from moorage.oci import media_types
from moorage.projects.usage import Usage

pytestmark = pytest.mark.anyio

PROJECTS = ("one", "two")


@pytest.fixture
def content(database: Database) -> Content:
    """An empty registry."""
    return Content(database, MemoryStore())


async def ids(content: Content) -> dict[str, int]:
    """Fresh projects by name."""
    return {name: await content.project(name) for name in PROJECTS}


async def test_bytes_are_what_a_model_says(content: Content) -> None:
    """Layers that artifacts, repositories and projects share, indexes, and deletes."""
    chance = random.Random(7)
    known = await ids(content)
    layers = [bytes([65 + n]) * (10 + n) for n in range(6)]
    held: dict[str, dict[bytes, list[bytes]]] = {name: {} for name in PROJECTS}
    for number in range(24):
        project = chance.choice(PROJECTS)
        chosen = chance.sample(layers, 3)
        repository = f"{project}/{chance.choice('ab')}"
        config = b'{"n": %d}' % (number % 5)
        manifest = await content.push_image(repository, f"t{number}", config, chosen)
        held[project][repository.encode() + manifest] = [manifest, config, *chosen]
    for project in PROJECTS:
        repository = f"{project}/a"
        child = await content.push_image(repository, "child", b"{}", [b"x" * 99])
        parent = index([child])
        await content.manifests.put(ALICE, repository, "all", parent, media_types.OCI_INDEX)
        held[project][repository.encode() + child] = [child, b"{}", b"x" * 99]
        held[project][repository.encode() + parent] = [parent]
    usage = Usage(content.db)
    everywhere = Counter(
        blob
        for parts in held.values()
        for blob in {blob for part in parts.values() for blob in part[1:]}
    )
    for project, parts in held.items():
        found = await usage.of_project(known[project])
        objects = {blob for part in parts.values() for blob in part[1:]}
        distinct = objects | {part[0] for part in parts.values()}
        assert found.logical == sum(len(item) for part in parts.values() for item in part)
        assert found.unique == sum(map(len, distinct))
        assert found.physical == sum(len(blob) for blob in objects if everywhere[blob] == 1)
        assert found.shared == sum(len(blob) for blob in objects if everywhere[blob] > 1)
    total = await usage.total()
    each = [await usage.of_project(known[project]) for project in PROJECTS]
    assert total.logical == sum(usage.logical for usage in each)
    assert total.unique == sum(usage.unique for usage in each)
    assert total.physical == sum(map(len, everywhere))
    assert total.trash == 0


async def test_an_empty_project_takes_up_nothing(content: Content) -> None:
    """Nor does one that is not there."""
    known = await ids(content)
    for project in (known["one"], 4711):
        usage = await Usage(content.db).of_project(project)
        assert (usage.logical, usage.unique, usage.physical, usage.shared) == (0, 0, 0, 0)


async def test_a_recount_finds_what_a_quota_should_say(content: Content) -> None:
    """Rows that are missing, that should not be, and a sum that drifted; pending blobs count."""
    known = await ids(content)
    manifest = await content.push_image("one/a", "t", b"{}", [b"x" * 100])
    await content.push_image("two/a", "t", b"{}", [b"x" * 100, b"y" * 50])
    await content.push_blob("one/a", b"pending" * 10)
    right = len(manifest) + 2 + 100 + 70
    db = content.db
    assert await db.run(ledger.recount, known["one"]) == (right, right)
    mine = tables.project_content.c.project_id == known["one"]
    async with db.write() as tx:
        await tx.execute(
            delete(tables.project_content).where(
                mine, tables.project_content.c.digest == sha256(b"x" * 100)
            )
        )
        await tx.execute(
            insert(tables.project_content).values(
                project_id=known["one"], digest="sha256:" + "0" * 64, size=5000
            )
        )
        await tx.execute(
            update(tables.quotas).where(tables.quotas.c.project_id == known["one"]).values(used=9)
        )
    theirs = await Usage(db).of_project(known["two"])
    assert await db.run(ledger.recount, known["one"]) == (9, right)
    assert (await Usage(db).of_project(known["one"])).unique == right
    assert await Usage(db).of_project(known["two"]) == theirs
    async with db.read() as tx:
        sizes = (await tx.execute(select(tables.project_content.c.size).where(mine))).scalars()
        assert sum(sizes) == right
