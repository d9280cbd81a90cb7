"""Labels that are made, put on, deleted and restored, two at a time.

What was acknowledged holds: no label is there twice, none hangs on what is gone, none is lost.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import event, select
from tests.support.content import ALICE, Content, sha256
from tests.support.races import EMPTY, REPOSITORY, Hold, begun, meet

from moorage.artifacts import labels as steps
from moorage.db import tables
from moorage.db.transactions import Tx
from moorage.errors import Conflict, ManifestUnknown, NotFound, ProjectUnknown
from moorage.projects import clearing
from moorage.projects.labels import Labels

pytestmark = pytest.mark.anyio

OTHER = "library/b"


@pytest.fixture
def content(racing: Content) -> Content:
    """Leases are over at once, the trash keeps."""
    return racing


@pytest.fixture
def labels(content: Content) -> Labels:
    """The labels of the same database."""
    return Labels(content.db)


async def pushed(content: Content, repository: str = REPOSITORY) -> str:
    """An image; its digest."""
    return sha256(await content.push_image(repository, "v1", EMPTY, [b"layer"]))


async def project_id(content: Content) -> int:
    """The id of the only project."""
    return int(await content.scalar(select(tables.projects.c.id)))


async def carried(content: Content) -> list[int]:
    """The labels that anything carries."""
    async with content.db.read() as tx:
        rows = await tx.execute(
            select(tables.manifest_labels.c.label_id).order_by(tables.manifest_labels.c.label_id)
        )
        return list(rows.scalars())


async def during(
    content: Content, first: Callable[[Tx], Awaitable[object]], second: Coroutine[Any, Any, Any]
) -> Any:
    """Outcome of `second`, which begins before the transaction of `first` commits."""
    async with content.db.write() as tx:
        await first(tx)
        task = await begun(content.db, second)
    return await task


async def delete_row(tx: Tx, label_id: int) -> None:
    """What the delete of a label does."""
    await tx.execute(tables.labels.delete().where(tables.labels.c.id == label_id))


@pytest.mark.parametrize("scoped", [True, False])
async def test_two_make_the_same_label(content: Content, labels: Labels, scoped: bool) -> None:
    """The second is refused, also by a rename."""
    scope = await project_id(content) if scoped else None

    async def first(name: str) -> Callable[[Tx], Awaitable[object]]:
        return lambda tx: tx.execute(tables.labels.insert().values(project_id=scope, name=name))

    made = await during(content, await first("x"), labels.create(ALICE, scope, "x"))
    assert isinstance(made, Conflict)
    old = await labels.create(ALICE, scope, "old")
    renamed = await during(content, await first("y"), labels.change(ALICE, old, "y"))
    assert isinstance(renamed, Conflict)
    assert (await labels.get(old)).name == "old"


async def test_two_put_the_same_label_on(content: Content, labels: Labels) -> None:
    """One of them does, the other one is told."""
    digest, label = await pushed(content), await labels.create(ALICE, None, "x")
    second = await during(
        content,
        lambda tx: steps.add(tx, REPOSITORY, digest, label, "alice"),
        content.manifests.add_label(ALICE, REPOSITORY, digest, label),
    )
    assert isinstance(second, Conflict)
    assert await carried(content) == [label]


async def test_two_take_the_same_label_off(content: Content, labels: Labels) -> None:
    """One of them does, the other one finds none."""
    digest, label = await pushed(content), await labels.create(ALICE, None, "x")
    await content.manifests.add_label(ALICE, REPOSITORY, digest, label)
    second = await during(
        content,
        lambda tx: steps.remove(tx, REPOSITORY, digest, label, "alice"),
        content.manifests.remove_label(ALICE, REPOSITORY, digest, label),
    )
    assert isinstance(second, NotFound)
    assert await carried(content) == []


async def test_a_label_is_deleted_while_it_is_put_on(content: Content, labels: Labels) -> None:
    """The delete was second: nothing carries it."""
    digest, label = await pushed(content), await labels.create(ALICE, None, "x")
    second = await during(
        content,
        lambda tx: steps.add(tx, REPOSITORY, digest, label, "alice"),
        labels.delete(ALICE, label),
    )
    assert second is None
    assert await carried(content) == []


async def test_a_label_is_put_on_while_it_is_deleted(content: Content, labels: Labels) -> None:
    """The delete was first: there is no such label."""
    digest, label = await pushed(content), await labels.create(ALICE, None, "x")
    second = await during(
        content,
        lambda tx: delete_row(tx, label),
        content.manifests.add_label(ALICE, REPOSITORY, digest, label),
    )
    assert isinstance(second, NotFound)
    assert await carried(content) == []


async def test_a_label_is_put_on_while_its_image_is_deleted(
    content: Content, labels: Labels, hold: Hold
) -> None:
    """The delete was first: there is no such image."""
    digest, label = await pushed(content), await labels.create(ALICE, None, "x")
    deleted, added = await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete(ALICE, REPOSITORY, digest),
        content.manifests.add_label(ALICE, REPOSITORY, digest, label),
    )
    assert deleted is None
    assert isinstance(added, ManifestUnknown)


@pytest.mark.parametrize("whole", [True, False])
async def test_an_image_is_deleted_while_a_label_is_put_on(
    content: Content, labels: Labels, whole: bool
) -> None:
    """The label was acknowledged, so it comes back with the image."""
    digest, label = await pushed(content), await labels.create(ALICE, None, "x")
    manifests = content.manifests
    second = await during(
        content,
        lambda tx: steps.add(tx, REPOSITORY, digest, label, "alice"),
        manifests.delete_repository(ALICE, REPOSITORY)
        if whole
        else manifests.delete(ALICE, REPOSITORY, digest),
    )
    assert second is None
    assert await carried(content) == []
    await manifests.restore(ALICE, REPOSITORY, digest)
    assert await carried(content) == [label]


async def test_a_label_is_deleted_while_its_image_is_restored(
    content: Content, labels: Labels, hold: Hold
) -> None:
    """Nothing carries it afterwards, and the image is there."""
    digest = await pushed(content)
    gone, kept = await labels.create(ALICE, None, "gone"), await labels.create(ALICE, None, "kept")
    for label in (gone, kept):
        await content.manifests.add_label(ALICE, REPOSITORY, digest, label)
    await content.manifests.delete(ALICE, REPOSITORY, digest)
    restored, deleted = await meet(
        content,
        hold("restore.restoring"),
        content.manifests.restore(ALICE, REPOSITORY, digest),
        labels.delete(ALICE, gone),
    )
    assert (restored.digest, deleted) == (digest, None)
    assert await carried(content) == [kept]


async def test_an_image_is_restored_while_a_label_of_it_is_deleted(
    content: Content, labels: Labels
) -> None:
    """It comes back without that label."""
    digest, label = await pushed(content), await labels.create(ALICE, None, "x")
    await content.manifests.add_label(ALICE, REPOSITORY, digest, label)
    await content.manifests.delete(ALICE, REPOSITORY, digest)
    restored = await during(
        content,
        lambda tx: delete_row(tx, label),
        content.manifests.restore(ALICE, REPOSITORY, digest),
    )
    assert restored.digest == digest
    assert await carried(content) == []


async def test_a_label_and_a_repository_are_deleted(
    content: Content, labels: Labels, hold: Hold
) -> None:
    """Neither gets in the other's way, whatever else carries the label."""
    digest = await pushed(content)
    elsewhere = await pushed(content, OTHER)
    label = await labels.create(ALICE, None, "x")
    for repository, image in ((REPOSITORY, digest), (OTHER, elsewhere)):
        await content.manifests.add_label(ALICE, repository, image, label)
    assert await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete_repository(ALICE, REPOSITORY),
        labels.delete(ALICE, label),
    ) == [None, None]
    assert await carried(content) == []
    await content.manifests.restore(ALICE, REPOSITORY, digest)
    assert await carried(content) == []


async def test_a_label_is_deleted_amid_the_delete_of_many_images(
    content: Content, labels: Labels
) -> None:
    """It waits before it touches anything, so that the two never block one another."""
    label = await labels.create(ALICE, None, "x")
    for repository in (OTHER, REPOSITORY):
        await content.manifests.add_label(
            ALICE, repository, await pushed(content, repository), label
        )
    async with content.db.read() as tx:
        rows = select(tables.manifests.c.id).order_by(tables.manifests.c.id.desc())
        ids = list((await tx.execute(rows)).scalars())
    tries: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        tries.extend([statement] * statement.startswith("DELETE FROM labels"))

    engine = content.db.engine.sync_engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        async with content.db.write() as tx:
            first = await steps.take_off(tx, ids[:1])
            task = await begun(content.db, labels.delete(ALICE, label))
            assert first + await steps.take_off(tx, ids[1:]) == [(n, label) for n in ids]
        assert await task is None
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert len(tries) == 1


async def test_a_label_is_made_while_its_project_is_deleted(
    content: Content, labels: Labels
) -> None:
    """There is no such project."""
    empty = await content.project("empty")
    second = await during(
        content,
        lambda tx: clearing.delete_project(tx, empty, "alice"),
        labels.create(ALICE, empty, "x"),
    )
    assert isinstance(second, ProjectUnknown)
