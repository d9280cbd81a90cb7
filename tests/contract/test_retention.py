"""Policies of tag retention and what applying them does, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import func, select, update
from tests.support.content import ALICE, Content, image, index, sha256
from tests.support.databases import count
from tests.support.invariants import violations
from tests.support.jobs import ended, row, tasks_of, worker, working
from tests.support.retention import (
    age,
    apply,
    kind,
    left,
    log_of,
    on_tags,
    policy,
    rule,
    start,
    table_of,
    tags_of,
)
from tests.support.statements import statements

from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import LocalCache
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Query
from moorage.db.types import from_now
from moorage.errors import Conflict, Invalid, NotFound, ProjectUnknown
from moorage.events.facts import TYPES
from moorage.jobs import LocalBell
from moorage.jobs.history import History
from moorage.jobs.schedules import Schedules, Ticker
from moorage.oci import media_types
from moorage.projects.immutability import ImmutableRules
from moorage.projects.labels import Labels
from moorage.projects.metadata import Metadata
from moorage.projects.projects import Projects
from moorage.projects.selectors import Selector
from moorage.retention import Policies, Preview, Previewed
from moorage.retention.executions import KIND, firing

pytestmark = pytest.mark.anyio

APP = "library/app"


@pytest.fixture
async def content(database: Database) -> AsyncIterator[Content]:
    cache = LocalCache(SystemClock(), entries=1000, size=1 << 20, expire_seconds=3600)
    made = Content(database, MemoryStore(), Rules(lease=0, drain=0, trash=3600), cache)
    await made.project("library")
    yield made
    assert await violations(made) == []
    await cache.close()


def policies(content: Content) -> Policies:
    return Policies(content.db, LocalBell())


async def images(content: Content, *tags: str, place: str = APP) -> list[str]:
    """One image a tag, the first one a day older than the next; their digests."""
    found = [sha256(await content.push_image(place, tag, tag.encode())) for tag in tags]
    for number, digest in enumerate(found):
        await age(content, digest, pushed=len(found) - number)
    return found


async def facts(content: Content, name: str) -> list[Any]:
    """What the outbox holds of one sort."""
    query = select(tables.outbox.c.payload).where(tables.outbox.c.type == name)
    async with content.db.read() as tx:
        return [TYPES[name](**each) for each in (await tx.execute(query)).scalars()]


# --- policies


async def test_a_policy_comes_with_its_metadata_and_its_schedule(content: Content) -> None:
    made = await policy(content, rule("latestPushedK", 3), cron="0 0 2 * * *")
    found = await policies(content).get(made)
    assert (found.id, found.project_id, found.cron) == (made, 1, "0 0 2 * * *")
    assert found.rules == (rule("latestPushedK", 3),)
    assert (await Metadata(content.db).all(1))["retention_id"] == str(made)
    schedule = await Schedules(content.db).find(KIND, made)
    assert schedule is not None
    assert (schedule.cron, schedule.type) == ("0 0 2 * * *", "Custom")
    await policies(content).update(ALICE, made, [], "0 0 0 * * *")
    schedule = await Schedules(content.db).find(KIND, made)
    assert schedule is not None
    assert schedule.type == "Daily"
    assert (await policies(content).get(made)).rules == ()
    await policies(content).update(ALICE, made, [], "")
    assert await Schedules(content.db).find(KIND, made) is None
    assert (await policies(content).get(made)).cron == ""
    await policies(content).delete(ALICE, made)
    assert "retention_id" not in await Metadata(content.db).all(1)
    for name in ("Created", "Updated", "Deleted"):
        told = await facts(content, f"RetentionPolicy{name}")
        assert {(each.operator, each.project_id, each.policy) for each in told} == {
            ("alice", 1, made)
        }


async def test_what_fails_leaves_no_part_of_a_policy(content: Content) -> None:
    with pytest.raises(Invalid):
        await policy(content, rule(), cron="every day")
    with pytest.raises(ProjectUnknown):
        await policy(content, rule(), project=99)
    assert "retention_id" not in await Metadata(content.db).all(1)
    assert await count(content.db, "retention_policies") == 0
    made = await policy(content, rule(), cron="0 0 2 * * *")
    with pytest.raises(Invalid):
        await policies(content).update(ALICE, made, [], "0 0 99 * * *")
    found = await policies(content).get(made)
    assert (found.rules, found.cron) == ((rule(),), "0 0 2 * * *")
    for call in (
        policies(content).get(99),
        policies(content).update(ALICE, 99, [], "0 0 2 * * *"),
        policies(content).delete(ALICE, 99),
        policies(content).start(ALICE, 99, dry_run=True),
    ):
        with pytest.raises(NotFound):
            await call
    assert await count(content.db, "schedules") == 1


async def test_a_project_has_one_policy_also_when_two_are_made_at_once(content: Content) -> None:
    made = await asyncio.gather(
        policy(content, rule()), policy(content, rule()), return_exceptions=True
    )
    (refused,) = (each for each in made if isinstance(each, Invalid))
    assert "already has retention policy" in refused.message
    assert await count(content.db, "retention_policies") == 1


async def test_nobody_sets_or_removes_the_metadata_by_hand(content: Content) -> None:
    await policy(content)
    with pytest.raises(Invalid):
        await Metadata(content.db).change(ALICE, 1, "retention_id", {"retention_id": "7"})
    with pytest.raises(Invalid):
        await Metadata(content.db).remove(ALICE, 1, "retention_id")


async def test_a_project_takes_its_policy_along_and_the_schedule_goes_when_it_is_due(
    content: Content,
) -> None:
    project = await content.project("mine")
    await policy(content, rule(), project=project, cron="0 0 2 * * *")
    await Projects(content.db).delete(ALICE, project)
    assert await count(content.db, "retention_policies") == 0
    assert await fire(content) == 1
    assert await count(content.db, "schedules") == 0
    assert await count(content.db, "executions") == 0


async def fire(content: Content) -> int:
    """Let every schedule be due now; how many fired."""
    async with content.db.write() as tx:
        await tx.execute(update(tables.schedules).values(next_at=from_now(-1)))
    return await Ticker(content.db, {KIND: firing(0)}).tick()


# --- executions


async def test_an_execution_has_a_task_for_each_repository_that_a_rule_is_about(
    content: Content,
) -> None:
    await content.project("other")
    for place in ("library/app", "library/team/app", "library/base", "other/app"):
        await content.push_image(place, "v1")
    made = await policy(
        content,
        rule(places="app"),
        rule(places="team/**"),
        rule(places="**", disabled=True),
    )
    execution = await start(content, made)
    tasks = await tasks_of(content.db, execution)
    assert [task.extra["repository"] for task in tasks] == ["library/app", "library/team/app"]
    assert {task.kind for task in tasks} == {KIND}
    found = await row(content.db, execution)
    assert (found.vendor_type, found.vendor_id, found.trigger) == (KIND, made, "MANUAL")


async def test_an_execution_without_repositories_has_succeeded(content: Content) -> None:
    made = await policy(content, rule("nothing"))
    assert (await row(content.db, await start(content, made))).status == "Success"


async def test_one_run_and_one_dry_run_of_a_policy_at_a_time(content: Content) -> None:
    await images(content, "v1")
    made = await policy(content, rule(), cron="0 0 2 * * *")
    await start(content, made)
    await start(content, made, dry_run=True)
    for dry_run in (False, True):
        with pytest.raises(Conflict):
            await start(content, made, dry_run=dry_run)
    await fire(content)
    assert await count(content.db, "executions") == 2


async def test_two_that_ask_at_once_get_one_run(content: Content) -> None:
    await images(content, "v1")
    made = await policy(content, rule())
    outcomes = await asyncio.gather(
        start(content, made), start(content, made), return_exceptions=True
    )
    assert [type(each) for each in outcomes if not isinstance(each, int)] == [Conflict]


async def test_a_schedule_fires_a_run_that_deletes(content: Content) -> None:
    one, two = await images(content, "v1", "v2")
    await policy(content, rule("latestPushedK", 1), cron="0 0 2 * * *")
    assert await fire(content) == 1
    async with content.db.read() as tx:
        (execution,) = (await tx.execute(select(tables.executions.c.id))).scalars()
    async with working(worker(content.db, kind(content))):
        found = await ended(content.db, execution)
    assert (found.status, found.trigger, found.extra["dry_run"]) == ("Success", "SCHEDULE", False)
    assert await left(content, APP) == {two}
    assert one != two


async def test_deleting_a_policy_stops_what_runs_of_it(content: Content) -> None:
    (one,) = await images(content, "v1")
    made = await policy(content, rule("nothing"))
    execution = await start(content, made)
    await policies(content).delete(ALICE, made)
    assert (await row(content.db, execution)).status == "Stopped"
    assert await left(content, APP) == {one}


async def test_an_execution_goes_on_with_the_rules_that_it_began_with(content: Content) -> None:
    found = await images(content, "v1", "v2")
    made = await policy(content, rule())
    execution = await start(content, made)
    await policies(content).update(ALICE, made, [rule("nothing")], "")
    async with working(worker(content.db, kind(content))):
        await ended(content.db, execution)
    assert await left(content, APP) == set(found)


# --- what a run does


async def test_a_run_deletes_what_a_dry_run_names_and_tells_of_it(content: Content) -> None:
    found = await images(content, "v1", "v2", "v3", "v4")
    await age(content, found[0], pulled=0)
    made = await policy(content, rule("latestPushedK", 1), rule("latestPulledN", 1))
    (dry,) = await apply(content, made, dry_run=True)
    assert await left(content, APP) == set(found)
    assert await facts(content, "TagRetentionFinished") == []
    assert "a dry run" in await log_of(content, dry.id)
    (task,) = await apply(content, made)
    assert await left(content, APP) == {found[0], found[3]}
    assert await tags_of(content, APP) == {"v1", "v4"}
    expected = {"repository": APP, "total": 4, "retained": 2}
    assert dry.extra == {**expected, "dry_run": True}
    assert task.extra == {**expected, "dry_run": False}
    said = await table_of(content, task.id)
    assert said == await table_of(content, dry.id)
    assert said == dict(zip(found, ("RETAIN", "DEL", "DEL", "RETAIN"), strict=True))
    (fact,) = await facts(content, "TagRetentionFinished")
    assert (fact.repository, fact.project_id, fact.status) == (APP, 1, "Success")
    assert (fact.policy, fact.execution, fact.task) == (made, task.execution_id, task.id)
    assert (fact.total, fact.retained) == (4, 2)
    gone = await facts(content, "ArtifactDeleted")
    assert {each.digest for each in gone} == set(found[1:3])
    assert {each.operator for each in gone} == {"moorage-retention"}


async def test_what_went_can_be_restored_with_its_tags(content: Content) -> None:
    (one,) = await images(content, "v1")
    await apply(content, await policy(content, rule("nothing")))
    assert await left(content, APP) == set()
    await content.manifests.restore(ALICE, APP, one)
    assert await tags_of(content, APP) == {"v1"}


async def test_the_log_is_a_table_of_what_an_artifact_is(content: Content) -> None:
    (one,) = await images(content, "v1")
    await content.manifests.add_tag(ALICE, APP, one, "latest")
    label = await Labels(content.db).create(ALICE, 1, "stable")
    await content.manifests.add_label(ALICE, APP, one, label)
    await age(content, one, pushed=3, pulled=2)
    (task,) = await apply(content, await policy(content, rule()), dry_run=True)
    header, line = (
        [cell.strip() for cell in each.partition("| ")[2].split("|")][:8]
        for each in (await log_of(content, task.id)).splitlines()
        if "| " in each
    )
    assert header == [
        "Digest",
        "Tag",
        "Kind",
        "Labels",
        "PushedTime",
        "PulledTime",
        "CreatedTime",
        "Retention",
    ]
    assert (line[:4], line[7]) == ([one, "latest,v1", "IMAGE", "stable"], "RETAIN")
    assert len({*line[4:7]}) == 2  # pushed when it was made, and pulled later


async def test_tags_that_share_an_artifact_share_its_fate(content: Content) -> None:
    """One that a rule selects is enough."""
    one, two = await images(content, "v1", "dev")
    await content.manifests.add_tag(ALICE, APP, two, "v2")
    await apply(content, await policy(content, rule("latestPushedK", 1, on_tags("v*"))))
    assert one not in await left(content, APP)
    assert await tags_of(content, APP) == {"dev", "v2"}


async def test_a_tag_that_is_pushed_again_makes_its_artifact_new(content: Content) -> None:
    payload = await content.push_image(APP, "v1", b"1")
    other = sha256(await content.push_image(APP, "v2", b"2"))
    await age(content, sha256(payload), pushed=9)
    await age(content, other, pushed=5)
    await content.manifests.put(ALICE, APP, "v1", payload, media_types.OCI_MANIFEST)
    await apply(content, await policy(content, rule("latestPushedK", 1)))
    assert await left(content, APP) == {sha256(payload)}


async def test_untagged_artifacts_go_where_a_rule_leaves_them_out(content: Content) -> None:
    one, two = await images(content, "v1", "v2")
    await content.manifests.delete_tag(ALICE, APP, "v1")
    made = await policy(content, rule("always", 0, on_tags()))
    await apply(content, made)
    assert await left(content, APP) == {one, two}
    await policies(content).update(ALICE, made, [rule("always", 0, on_tags("**", False))], "")
    await apply(content, made)
    assert await left(content, APP) == {two}


async def test_an_immutable_tag_keeps_its_artifact(content: Content) -> None:
    found = await images(content, "v1", "release-1")
    await ImmutableRules(content.db).create(
        ALICE,
        1,
        [Selector("doublestar", "repoMatches", "**")],
        [Selector("doublestar", "matches", "release-*")],
    )
    (task,) = await apply(content, await policy(content, rule("nothing")))
    assert await left(content, APP) == {found[1]}
    assert (task.extra["total"], task.extra["retained"]) == (2, 1)


async def test_children_and_accessories_are_no_candidates_and_go_with_what_they_belong_to(
    content: Content,
) -> None:
    children = [await content.push_image(APP, tag, tag.encode()) for tag in ("c1", "c2")]
    both = index(children)
    await content.manifests.put(ALICE, APP, "multi", both, media_types.OCI_INDEX)
    for tag in ("c1", "c2"):
        await content.manifests.delete_tag(ALICE, APP, tag)
    subject = {
        "mediaType": media_types.OCI_INDEX,
        "digest": sha256(both),
        "size": len(both),
    }
    signature = image(b"{}", [b"layer"], subject=subject)
    await content.push_blob(APP, b"{}")
    await content.manifests.put(ALICE, APP, sha256(signature), signature, "")
    everything = await left(content, APP)
    made = await policy(content, rule("latestPushedK", 1))
    (task,) = await apply(content, made)
    assert (task.extra["total"], task.extra["retained"]) == (1, 1)
    assert await left(content, APP) == everything
    await policies(content).update(ALICE, made, [rule("nothing")], "")
    await apply(content, made)
    assert await left(content, APP) == {sha256(each) for each in children}
    await apply(content, made)  # now they belong to nothing
    assert await left(content, APP) == set()


async def test_a_tagged_child_stays_while_its_index_does_and_goes_with_it(
    content: Content,
) -> None:
    child = await content.push_image(APP, "amd64", b"1")
    both = index([child])
    await content.manifests.put(ALICE, APP, "multi", both, media_types.OCI_INDEX)
    made = await policy(content, rule("always", 0, on_tags("multi", False)))
    (task,) = await apply(content, made)
    assert await left(content, APP) == {sha256(child), sha256(both)}
    assert task.extra["retained"] == 2
    await policies(content).update(ALICE, made, [rule("nothing")], "")
    (task,) = await apply(content, made)
    assert await left(content, APP) == set()
    assert (task.extra["total"], task.extra["retained"]) == (2, 0)


async def test_a_signature_by_its_tag_stays_as_long_as_what_it_signs(content: Content) -> None:
    one, two = await images(content, "v1", "v2")
    tie = one.replace(":", "-") + ".sig"
    signature = sha256(await content.push_image(APP, tie, b"signature"))
    made = await policy(content, rule("latestPushedK", 2))
    (task,) = await apply(content, made)
    assert await left(content, APP) == {one, two, signature}
    assert task.extra["total"] == 2
    await policies(content).update(ALICE, made, [rule("latestPushedK", 1, on_tags("v*"))], "")
    await apply(content, made)
    assert await left(content, APP) == {two, signature}
    await apply(content, made)
    assert await left(content, APP) == {two}


async def test_a_repository_that_is_gone_is_no_failure(content: Content) -> None:
    await images(content, "v1")
    made = await policy(content, rule("nothing"))
    execution = await start(content, made)
    async with content.db.write() as tx:
        name = tables.repositories.c.name
        await tx.execute(update(tables.repositories).where(name == APP).values(name="library/new"))
    async with working(worker(content.db, kind(content))):
        assert (await ended(content.db, execution)).status == "Success"
    assert len(await left(content, "library/new")) == 1


# --- previews


async def test_a_preview_says_what_a_run_does(content: Content) -> None:
    """By repository and age, in pages, with the rules that keep; nothing changes."""
    await images(content, "v1", "v2", "v3")
    await images(content, "w1", "w2", place="library/base")
    await images(content, "x1", place="library/other")
    rules = [rule("latestPushedK", 2, places="{app,base}"), rule("always", 0, on_tags("v3", False))]
    whole = await Preview(content.db).page(1, rules, Query(size=100))
    shown = [
        (each.repository, each.decision.candidate.tags, each.decision.reason, each.decision.rules)
        for each in whole.items
    ]
    assert (whole.total, shown) == (
        6,
        [
            (APP, ("v1",), "", ()),
            (APP, ("v2",), "rule", (0,)),
            (APP, ("v3",), "rule", (0, 1)),
            ("library/base", ("w1",), "rule", (0,)),
            ("library/base", ("w2",), "rule", (0,)),
            ("library/other", ("x1",), "", ()),
        ],
    )
    for size in (1, 2, 4):
        pages: list[Previewed] = []
        for number in range(1, 8):
            page = await Preview(content.db).page(1, rules, Query(page=number, size=size))
            assert page.total == 6
            pages += page.items
        assert pages == list(whole.items)
    stay = {each.decision.candidate.digest for each in whole.items if each.decision.retained}
    await apply(content, await policy(content, *rules))
    after = [await left(content, place) for place in (APP, "library/base", "library/other")]
    assert set().union(*after) == stay


async def test_reading_takes_as_many_statements_for_many_artifacts_as_for_few(
    content: Content,
) -> None:
    seen = []
    made = await policy(content, rule())
    for tags in (("v1",), tuple(f"w{number}" for number in range(20))):
        for tag in tags:
            digest = sha256(await content.push_image(APP, tag, tag.encode()))
            await content.manifests.add_tag(ALICE, APP, digest, f"also-{tag}")
        with statements() as found:
            await Preview(content.db).page(1, [rule()], Query(size=100))
        seen.append(len(found))
    assert seen[0] == seen[1] <= 9
    (task,) = await apply(content, made)
    assert task.extra["total"] == 21
    history = History(content.db)
    assert (await history.list((KIND,), Query(), vendor_id=made)).total == 1
    async with content.db.read() as tx:
        pieces = select(func.count()).select_from(tables.task_logs)
        assert (await tx.execute(pieces)).scalar_one() < 5
