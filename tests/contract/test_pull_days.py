"""Pulls by day: counted with the batch, bounded, told by name, and gone when they are old."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from unittest.mock import ANY, patch

import pytest
from sqlalchemy import func, insert, select, update
from tests.support.content import ALICE, Content, index, sha256
from tests.support.statements import statements

from moorage.access.principals import ANONYMOUS, Principal
from moorage.artifacts import pulldays
from moorage.artifacts.pullreports import Day, PullReports
from moorage.artifacts.statistics import PullCounts
from moorage.artifacts.usageaging import UsageAging
from moorage.blobstore.memory import MemoryStore
from moorage.config.usage import UsageSettings
from moorage.db import engine, failures, tables
from moorage.db.engine import Database
from moorage.db.queries import Query
from moorage.db.transactions import Notifier, Tx
from moorage.db.types import now
from moorage.errors import RepositoryUnknown
from moorage.oci import media_types

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_hour")]

PULLS = tables.repository_pulls
OF_PROJECT = tables.project_pulls


@pytest.fixture
def content(database: Database) -> Content:
    """An empty registry."""
    return Content(database, MemoryStore())


async def pull(
    content: Content, name: str, reference: str, by: Principal = ALICE, times: int = 1
) -> None:
    """So many pulls that wait for the next flush."""
    found = await content.pulls.manifest(name, reference)
    for _ in range(times):
        content.pulls.count(found.resolved, reference, by)


async def named(content: Content, subject: str, name: str = "one/a") -> dict[str, tuple[int, int]]:
    """Pulls and bytes by name."""
    page = await PullReports(content.db).within_repository(name, subject, 30, Query())
    assert page.total == len(page.items)
    return {each.name: (each.pulls, each.size) for each in page.items}


async def today(content: Content) -> date:
    """As the database says."""
    found: date = (await content.scalar(select(now()))).date()
    return found


async def test_pulls_are_counted_by_day_artifact_tag_and_caller(content: Content) -> None:
    """Each with the bytes of the manifest and its layers; by digest no tag is counted."""
    await content.project("one")
    image = await content.push_image("one/a", "v1", b"{}", [b"x" * 100])
    size, digest = len(image) + 2 + 100, sha256(image)
    await pull(content, "one/a", "v1", times=3)
    await pull(content, "one/a", digest, Principal("robot", 2, "robot$ci"))
    await pull(content, "one/a", "v1", ANONYMOUS)
    assert await content.counts.flush() == 5
    await pull(content, "one/a", "v1")
    await content.counts.flush()
    assert await named(content, pulldays.ARTIFACT) == {digest: (6, 6 * size)}
    assert await named(content, pulldays.TAG) == {"v1": (5, 5 * size)}
    assert await named(content, pulldays.CALLER) == {
        "alice": (4, 4 * size),
        "robot$ci": (1, size),
        "": (1, size),
    }
    reports, day = PullReports(content.db), await today(content)
    last = Day(day, 6, 6 * size)
    before = Day(day - timedelta(days=1))
    assert await reports.of_repository("one/a", 2) == [before, last]
    assert await reports.of_repository("one/a", 2, digest=digest) == [before, last]
    by_tag = await reports.of_repository("one/a", 1, tag="v1")
    assert by_tag == [Day(day, 5, 5 * size)]
    assert await reports.of_repository("one/a", 1, tag="v2") == [Day(day)]
    with pytest.raises(RepositoryUnknown):
        await reports.of_repository("one/none", 1)


async def test_an_index_weighs_itself_alone(content: Content) -> None:
    """The platform that a client wants of it is a pull of its own."""
    await content.project("one")
    child = await content.push_image("one/a", "child", b"{}", [b"x" * 1000])
    parent = index([child])
    await content.manifests.put(ALICE, "one/a", "all", parent, media_types.OCI_INDEX)
    await pull(content, "one/a", "all")
    await pull(content, "one/a", sha256(child))
    await content.counts.flush()
    found = await named(content, pulldays.ARTIFACT)
    assert found[sha256(parent)] == (1, len(parent))
    assert found[sha256(child)] == (1, len(child) + 1002)


async def test_a_project_has_the_pulls_of_its_repositories(content: Content) -> None:
    """Also of those that were deleted."""
    number = await content.project("one")
    images = {name: await content.push_image(name, "v1") for name in ("one/a", "one/b/c")}
    await pull(content, "one/a", "v1", times=2)
    await pull(content, "one/b/c", "v1", Principal("user", 2, "bob"))
    await content.counts.flush()
    await content.manifests.delete_repository(ALICE, "one/a")
    reports = PullReports(content.db)
    page = await reports.within_project(number, pulldays.REPOSITORY, 30, Query(size=1))
    assert (page.total, [(each.name, each.pulls) for each in page.items]) == (2, [("one/a", 2)])
    page = await reports.within_project(number, pulldays.CALLER, 30, Query())
    assert [(each.name, each.pulls) for each in page.items] == [("alice", 2), ("bob", 1)]
    (day,) = await reports.of_project(number, 1)
    size = sum(len(image) + 7 for image in images.values()) + len(images["one/a"]) + 7
    assert (day.pulls, day.size) == (3, size)


async def test_replicas_add_to_the_same_rows_at_once(content: Content) -> None:
    """Nothing of it is lost."""
    number = await content.project("one")
    for name in ("one/a", "one/b"):
        await content.push_image(name, "v1")
    replicas = [PullCounts(content.db) for _ in range(4)]
    for _ in range(5):
        for replica in replicas:
            for name in ("one/a", "one/b"):
                found = await content.pulls.manifest(name, "v1")
                replica.add(found.resolved, "v1", "alice")
        await asyncio.gather(*(replica.flush() for replica in replicas))
    (day,) = await PullReports(content.db).of_project(number, 1)
    assert day.pulls == 40
    assert (await named(content, pulldays.CALLER))["alice"][0] == 20
    assert await content.scalar(select(func.sum(tables.repositories.c.pull_count))) == 40


async def test_names_are_bounded_and_the_whole_is_not(content: Content) -> None:
    """Who comes late gets no row; who has one goes on to be counted, also by another replica."""
    await content.project("one")
    await content.push_image("one/a", "v1")
    found = await content.pulls.manifest("one/a", "v1")
    other = PullCounts(content.db)
    with patch.object(pulldays, "MOST_NAMES", 3):
        for number in range(3):
            content.counts.add(found.resolved, "v1", f"u{number}")
        await content.counts.flush()
        for name in ("u0", "late"):
            other.add(found.resolved, "v1", name)
            content.counts.add(found.resolved, "v1", name)
        await other.flush()
        await content.counts.flush()
    callers = await named(content, pulldays.CALLER)
    assert {name: pulls for name, (pulls, _) in callers.items()} == {"u0": 3, "u1": 1, "u2": 1}
    (day,) = await PullReports(content.db).of_repository("one/a", 1)
    assert day.pulls == 7


async def test_a_bot_costs_no_more_than_a_person(content: Content) -> None:
    """One batch of the same pulls is the same few statements; none is on the way of the pull."""
    await content.project("one")
    await content.push_image("one/a", "v1")
    await pull(content, "one/a", "v1")
    await content.counts.flush()
    with statements() as one:
        await pull(content, "one/a", "v1")
        await content.counts.flush()
    found = await content.pulls.manifest("one/a", "v1")
    with statements() as many:
        for _ in range(10_000):
            content.pulls.count(found.resolved, "v1", ALICE)
        assert many == []
        assert await content.counts.flush() == 10_000
    assert len(many) <= 10
    assert len(many) <= len(one)
    rows = await content.scalar(select(func.count()).select_from(PULLS))
    assert rows == 4


async def test_callers_are_not_counted_where_nobody_wants_it(content: Content) -> None:
    """No name is written."""
    await content.project("one")
    await content.push_image("one/a", "v1")
    content.counts = PullCounts(content.db, callers=False)
    found = await content.pulls.manifest("one/a", "v1")
    content.counts.add(found.resolved, "v1", "alice")
    await content.counts.flush()
    for table in (PULLS, OF_PROJECT):
        names = select(func.count()).where(table.c.name == "alice")
        assert await content.scalar(names) == 0
    assert (await named(content, pulldays.TAG))["v1"][0] == 1


async def test_old_rows_go_by_their_kind(content: Content) -> None:
    """Names before the whole; what is left is younger than the settings say."""
    number = await content.project("one")
    await content.push_image("one/a", "v1")
    await pull(content, "one/a", "v1")
    await content.counts.flush()
    day = await today(content)
    for table, owner in ((PULLS, "repository_id"), (OF_PROJECT, "project_id")):
        async with content.db.write() as tx:
            rows = (await tx.execute(select(table))).mappings().all()
            for ago in (1, 5, 9, 10, 11, 30):
                older = [{**row, "day": day - timedelta(days=ago)} for row in rows]
                await tx.execute(insert(table), older)
        assert rows
        assert {row[owner] for row in rows} == {rows[0][owner]}
    aging = UsageAging(content.db, UsageSettings(days=10, detail_days=5))
    with patch("moorage.artifacts.usageaging._BATCH", 2):
        while await aging.run_once():
            pass
    for table in (PULLS, OF_PROJECT):
        for subject, oldest in ((pulldays.ALL, 9), (pulldays.CALLER, 1)):
            first = select(func.min(table.c.day)).where(table.c.subject == subject)
            assert await content.scalar(first) == day - timedelta(days=oldest), subject
    assert len(await PullReports(content.db).of_project(number, 400)) == 400


async def test_a_project_takes_its_figures_along(content: Content) -> None:
    """No row outlives what it belongs to."""
    number = await content.project("one")
    image = await content.push_image("one/a", "v1")
    await pull(content, "one/a", "v1")
    await content.counts.flush()
    await content.manifests.delete(ALICE, "one/a", sha256(image))
    async with content.db.write() as tx:
        await tx.execute(tables.artifact_trash.delete())
        await tx.execute(tables.repository_blobs.delete())
        await tx.execute(update(tables.quotas).values(used=0))
        await tx.execute(tables.project_content.delete())
        await tx.execute(tables.repositories.delete())
        await tx.execute(tables.quotas.delete())
        await tx.execute(tables.projects.delete().where(tables.projects.c.id == number))
    for table in (PULLS, OF_PROJECT, tables.tag_moves):
        assert await content.scalar(select(func.count()).select_from(table)) == 0


async def test_a_process_that_ends_while_it_writes_counts_no_pull_twice(content: Content) -> None:
    """It is cancelled during the commit, and writes what is left a moment later."""
    await content.project("one")
    await content.push_image("one/a", "v1")
    await pull(content, "one/a", "v1", times=3)
    counts = content.pulls._counts
    begin = content.db._transactions.begin

    @asynccontextmanager
    async def ending(notifier: Notifier | None) -> AsyncIterator[Tx]:
        async with begin(notifier) as tx:
            yield tx
            flushing.cancel()

    with patch.object(content.db._transactions, "begin", ending):
        flushing = asyncio.create_task(counts.flush())
        assert isinstance(*await asyncio.gather(flushing, return_exceptions=True), BaseException)
    assert await named(content, pulldays.TAG) == {"v1": (3, ANY)}
    await counts.flush()
    assert await named(content, pulldays.TAG) == {"v1": (3, ANY)}
    assert await content.scalar(select(tables.repositories.c.pull_count)) == 3


async def test_a_push_and_the_pulls_of_its_tag_never_wait_for_each_other(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a circle, that is, which a database ends only after a second: their order is one."""
    await content.project("one")
    payloads = [await content.push_image("one/a", "v1", b"{}", [layer]) for layer in (b"1", b"2")]
    found = [await content.pulls.manifest("one/a", sha256(payload)) for payload in payloads]
    lost: list[BaseException] = []

    def contended(error: BaseException) -> bool:
        if failures.contended(error):
            lost.append(error)
        return failures.contended(error)

    monkeypatch.setattr(engine, "contended", contended)

    async def push() -> None:
        for payload in payloads * 20:
            await content.manifests.put(ALICE, "one/a", "v1", payload, "", tags=("v1", "v2"))

    async def flush() -> None:
        counts = PullCounts(content.db)
        while not pushing.done():
            for tag in ("v1", "v2"):
                counts.add(found[0].resolved, tag, "alice")
                counts.add(found[1].resolved, tag, "bob")
            await counts.flush()

    pushing = asyncio.create_task(push())
    await asyncio.gather(pushing, flush(), flush())
    assert lost == []


async def test_rows_that_go_are_found_one_by_one(database: Database) -> None:
    """Neither database reads all rows of a repository of which some are too old."""
    with statements() as seen:
        await UsageAging(database, UsageSettings()).run_once()
    ends = [each for each in seen if each.startswith("DELETE")]
    assert len(ends) > 8
    whole = "rowid IN" if database.dialect.name == "sqlite" else ", "
    for each in ends:
        key, _, _ = each.partition("WHERE ")[2].partition("(SELECT")
        assert whole in key or "tag_moves" in each, each
