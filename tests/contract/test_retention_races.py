"""Retention beside pushes, deletes and other workers: each meets it at a chosen place."""

import pytest
from sqlalchemy import select, update
from tests.support.content import ALICE, Content, sha256
from tests.support.races import begun
from tests.support.retention import (
    claimed,
    left,
    log_of,
    on_tags,
    policy,
    rule,
    run,
    start,
    table_of,
    tags_of,
)

from moorage.artifacts import tagging
from moorage.db import tables
from moorage.db.types import from_now
from moorage.jobs import Context, Lost, Stopping, queue
from moorage.jobs.records import Claim
from moorage.oci import media_types
from moorage.projects.immutability import ImmutableRules
from moorage.projects.selectors import Selector
from moorage.retention.rules import dump

pytestmark = pytest.mark.anyio

APP = "library/app"


@pytest.fixture
def content(racing: Content) -> Content:
    """Leases are over at once, the trash keeps."""
    return racing


async def three(content: Content) -> list[bytes]:
    """Images that all go, in the order in which they go."""
    payloads = [await content.push_image(APP, tag, tag.encode()) for tag in ("v1", "v2", "v3")]
    await start(content, await policy(content, rule("nothing")))
    return payloads


async def saved(content: Content, claim: Claim) -> int:
    """How many a later run takes for deleted."""
    query = select(tables.tasks.c.checkpoint).where(tables.tasks.c.id == claim.id)
    async with content.db.read() as tx:
        return int(((await tx.execute(query)).scalar_one() or {}).get("deleted", 0))


HOW = ["tag", "push", "move", "other", "untag", "immutable"]


@pytest.mark.parametrize("how", HOW)
async def test_what_changed_since_it_was_decided_about_stays(content: Content, how: str) -> None:
    """Somebody tagged it, pushed its tag again, moved a tag to it or from it, or made a rule."""
    payloads = await three(content)
    second = sha256(payloads[1])

    async def meddle(context: Context, number: int) -> None:
        if number != 2:
            return
        if how == "tag":
            await content.manifests.add_tag(ALICE, APP, second, "new")
        elif how == "push":
            await content.manifests.put(ALICE, APP, "v2", payloads[1], media_types.OCI_MANIFEST)
        elif how == "move":
            await content.manifests.put(ALICE, APP, "v3", payloads[1], media_types.OCI_MANIFEST)
        elif how == "other":
            await content.push_image(APP, "v2", b"other")
        elif how == "untag":
            await content.manifests.delete_tag(ALICE, APP, "v2")
        else:
            await ImmutableRules(content.db).create(
                ALICE,
                1,
                [Selector("doublestar", "repoMatches", "**")],
                [Selector("doublestar", "matches", "v2")],
            )

    claim = await claimed(content)
    context = await run(content, claim, meddle)
    stays = await left(content, APP)
    assert second in stays
    assert sha256(payloads[0]) not in stays
    assert (sha256(payloads[2]) in stays) == (how == "move")
    said = await table_of(content, claim.id)
    assert (said[sha256(payloads[0])], said[second]) == ("DEL", "RETAIN")
    assert f"{second} was to go, and stays: " in await log_of(content, claim.id)
    assert context.extra is not None
    kept = 2 if how == "move" else 1
    assert (context.extra["total"], context.extra["retained"]) == (3, kept)


async def test_a_tag_that_is_on_its_way_is_waited_for(content: Content) -> None:
    """Its transaction began before the delete, and is committed while that waits."""
    payloads = await three(content)
    claim = await claimed(content)

    async def nothing(context: Context, number: int) -> None:
        return

    async with content.db.write() as tx:
        await tagging.add(tx, APP, sha256(payloads[0]), "new", "alice")
        task = await begun(content.db, run(content, claim, nothing))
        assert not task.done()
    await task
    assert await left(content, APP) == {sha256(payloads[0])}
    assert await tags_of(content, APP) == {"new", "v1"}


async def test_what_somebody_else_deleted_counts_as_deleted(content: Content) -> None:
    payloads = await three(content)

    async def meddle(context: Context, number: int) -> None:
        if number == 2:
            await content.manifests.delete(ALICE, APP, sha256(payloads[1]))

    context = await run(content, await claimed(content), meddle)
    assert context.extra is not None
    assert (context.extra["total"], context.extra["retained"]) == (3, 0)


async def test_a_stop_comes_between_two_artifacts(content: Content) -> None:
    """What went stays so, the rest stays, and the figures are those of the truth."""
    payloads = await three(content)
    claim = await claimed(content)
    runs = []

    async def stop(context: Context, number: int) -> None:
        runs.append(context)
        if number == 2:
            context.ask_to_stop()

    with pytest.raises(Stopping):
        await run(content, claim, stop)
    context = runs[0]
    assert await left(content, APP) == {sha256(payloads[2])}
    assert context.extra is not None
    assert (context.extra["total"], context.extra["retained"]) == (3, 1)
    facts = select(tables.outbox.c.payload).where(tables.outbox.c.type == "TagRetentionFinished")
    async with content.db.read() as tx:
        (fact,) = (await tx.execute(facts)).scalars()
    assert (fact["status"], fact["total"], fact["retained"]) == ("Stopped", 3, 1)


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", [1, 2, 3, 4])
async def test_whoever_goes_on_after_a_crash_ends_with_the_figures_of_the_whole(
    content: Content, at: int
) -> None:
    """At each transaction; what is gone is told once, and nothing else goes."""
    payloads = await three(content)
    kept = await content.push_image(APP, "later", b"later")
    async with content.db.write() as tx:
        # As if the rule kept what is called later: the execution has rules of its own.
        query = update(tables.executions).values(
            extra={"dry_run": False, "rules": _keeping("later")}
        )
        await tx.execute(query)
    first = await claimed(content)

    async def crash(context: Context, number: int) -> None:
        if number == at:
            raise Crash

    with pytest.raises(Crash):
        await run(content, first, crash)
    assert await saved(content, first) == at - 1
    async with content.db.write() as tx:
        await tx.execute(update(tables.tasks).values(lease_until=from_now(-1)))
    second = await claimed(content)
    assert (second.fence, second.crashes) == (first.fence + 1, 1)

    async def nothing(context: Context, number: int) -> None:
        return

    context = await run(content, second, nothing)
    assert await left(content, APP) == {sha256(kept)}
    assert context.extra is not None
    assert (context.extra["total"], context.extra["retained"]) == (4, 1)
    async with content.db.read() as tx:
        kinds = list((await tx.execute(select(tables.outbox.c.type))).scalars())
    assert kinds.count("ArtifactDeleted") == len(payloads)
    assert kinds.count("TagRetentionFinished") == 1


def _keeping(tag: str) -> list[dict[str, object]]:
    return dump([rule("always", 0, on_tags(tag))])


async def test_a_run_that_lost_its_task_deletes_nothing_more(content: Content) -> None:
    payloads = await three(content)
    claim = await claimed(content)

    async def lose(context: Context, number: int) -> None:
        if number == 2:
            async with content.db.write() as tx:
                await tx.execute(update(tables.tasks).values(lease_until=from_now(-1)))
            await content.db.run(queue.claim, claim.kind, 1, "heir", 60.0)

    with pytest.raises(Lost):
        await run(content, claim, lose)
    assert await left(content, APP) == {sha256(each) for each in payloads[1:]}
