"""Rules that keep tags beside pushes and deletes, two at a time.

A rule is in force when its creation is answered: a change of a tag that exists is committed before
that, or sees the rule.
"""

from typing import Any

import pytest
from tests.support.content import ALICE, Content, sha256
from tests.support.races import EMPTY, REPOSITORY, Hold, begun, meet, put, readable, tagged

from moorage.db.queries import Query
from moorage.db.transactions import Tx
from moorage.errors import Conflict, TagImmutable
from moorage.projects.immutability import ImmutableRules
from moorage.projects.projects import Projects
from moorage.projects.selectors import Selector

pytestmark = pytest.mark.anyio


@pytest.fixture
def content(racing: Content) -> Content:
    """Leases are over at once, the trash keeps."""
    return racing


PLACES = [Selector("doublestar", "repoMatches", "**")]
TAGS = [Selector("doublestar", "matches", "v*")]


async def keep(content: Content) -> int:
    """Make a rule; its id."""
    return await ImmutableRules(content.db).create(ALICE, 1, PLACES, TAGS)


async def making(tx: Tx, project: int = 1) -> None:
    """Make one that is not committed yet."""
    await ImmutableRules(_Within(tx)).create(ALICE, project, PLACES, TAGS)  # type: ignore[arg-type]


class _Within:
    """Runs steps on a transaction that is open."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def run(self, step: Any) -> Any:
        return await step(self._tx)


async def two_images(content: Content) -> tuple[bytes, bytes]:
    """One under `v1`, another one under `other`."""
    old = await content.push_image(REPOSITORY, "v1", EMPTY, [b"old"])
    return old, await content.push_image(REPOSITORY, "other", EMPTY, [b"new"])


async def test_a_rule_is_made_while_its_tag_moves(content: Content, hold: Hold) -> None:
    """The push was first: the rule waits for it, then keeps what it pushed."""
    old, new = await two_images(content)
    moved, rule = await meet(
        content, hold("manifest.inserting"), put(content, "v1", new), keep(content)
    )
    assert moved == sha256(new)
    assert isinstance(rule, int)
    assert await tagged(content, "v1") == sha256(new)
    with pytest.raises(TagImmutable):
        await put(content, "v1", old)


@pytest.mark.parametrize("how", ["move", "delete tag", "delete manifest", "delete repository"])
async def test_a_tag_changes_while_a_rule_is_made(content: Content, how: str) -> None:
    """The rule was first: the change waits for it, and is refused.

    CVE-2026-31801.
    """
    old, new = await two_images(content)
    change: dict[str, Any] = {
        "move": lambda: put(content, "v1", new),
        "delete tag": lambda: content.manifests.delete_tag(ALICE, REPOSITORY, "v1"),
        "delete manifest": lambda: content.manifests.delete(ALICE, REPOSITORY, sha256(old)),
        "delete repository": lambda: content.manifests.delete_repository(ALICE, REPOSITORY),
    }
    async with content.db.write() as tx:
        await making(tx)
        task = await begun(content.db, change[how]())
        assert not task.done()
    assert isinstance(await task, TagImmutable)
    assert await tagged(content, "v1") == sha256(old)
    await readable(content, old, b"old")


async def test_a_new_tag_does_not_wait_for_a_rule(content: Content) -> None:
    """Nothing is there yet that the rule could keep."""
    _, new = await two_images(content)
    async with content.db.write() as tx:
        await making(tx)
        task = await begun(content.db, put(content, "v2", new))
        assert task.done() == (content.db.dialect.name == "postgresql")  # SQLite has one writer
    assert await task == sha256(new)


async def test_a_rule_is_made_while_a_tag_is_deleted(content: Content, hold: Hold) -> None:
    """The delete was first: it stays, and the rule is made."""
    await two_images(content)
    deleted, rule = await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete_tag(ALICE, REPOSITORY, "v1"),
        keep(content),
    )
    assert deleted is None
    assert isinstance(rule, int)
    assert await tagged(content, "v1") is None


async def test_one_rule_is_made_twice(content: Content) -> None:
    """At the same moment: the second one is told of the first."""
    async with content.db.write() as tx:
        await making(tx)
        task = await begun(content.db, keep(content))
    assert isinstance(await task, Conflict)
    assert (await ImmutableRules(content.db).list(1, Query())).total == 1


async def test_a_project_is_deleted_while_a_rule_is_made(content: Content) -> None:
    """It takes the rule along."""
    project = await content.project("mine")
    async with content.db.write() as tx:
        await making(tx, project)
        task = await begun(content.db, Projects(content.db).delete(ALICE, project))
    assert await task is None
    assert (await ImmutableRules(content.db).list(project, Query())).total == 0
