"""Immutable tags: what the rules of a project keep, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event, select
from tests.support.content import ALICE, Content, image, sha256
from tests.support.invariants import violations
from tests.support.statements import statements

from moorage.artifacts.catalogue import Catalogue
from moorage.artifacts.details import Wanted
from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import LocalCache
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Exact, Query
from moorage.errors import Conflict, Invalid, MoorageError, NotFound, ProjectUnknown, TagImmutable
from moorage.projects.immutability import MAX_RULES, Covering, ImmutableRules
from moorage.projects.projects import Projects
from moorage.projects.selectors import MAX_SELECTORS, Selector

pytestmark = pytest.mark.anyio

REPOSITORY = "library/team/a"


@pytest.fixture
async def content(database: Database) -> AsyncIterator[Content]:
    cache = LocalCache(SystemClock(), entries=1000, size=1 << 20, expire_seconds=3600)
    made = Content(database, MemoryStore(), Rules(lease=0, drain=0, trash=3600), cache)
    await made.project("library")
    yield made
    assert await violations(made) == []
    await cache.close()


def repositories(pattern: str, decoration: str = "repoMatches", kind: str = "doublestar") -> Any:
    """One selector of repositories."""
    return [Selector(kind, decoration, pattern)]


def tags(pattern: str, decoration: str = "matches", kind: str = "doublestar") -> Any:
    """One selector of tags."""
    return [Selector(kind, decoration, pattern)]


async def keep(content: Content, pattern: str = "v*", project: int = 1, **more: Any) -> int:
    """Make a rule for these tags of all repositories; its id."""
    rules = ImmutableRules(content.db)
    return await rules.create(ALICE, project, repositories("**"), tags(pattern), **more)


async def move(content: Content, tag: str, config: bytes, place: str = REPOSITORY) -> str | None:
    """Push another image under a tag; why it is refused."""
    try:
        await content.push_image(place, tag, config)
    except TagImmutable as error:
        return error.message
    return None


async def names(content: Content, place: str = REPOSITORY) -> list[str]:
    """The tags that there are."""
    return await content.listing.tags(place, last=None, limit=None)


# --- what a rule keeps


async def test_a_covered_tag_does_not_move(content: Content) -> None:
    """The refused push leaves nothing behind; the message is the one that clients look for."""
    old = await content.push_image(REPOSITORY, "v1", b"old")
    await keep(content)
    before = await content.used(1)
    refused = await move(content, "v1", b"new")
    assert refused is not None
    assert "due to 'team/a:v1' configured as immutable." in refused
    assert (await content.pulls.resolve(REPOSITORY, "v1")).digest == sha256(old)
    with pytest.raises(MoorageError):
        await content.pulls.resolve(REPOSITORY, sha256(image(b"new", [b"layer"])))
    assert await content.used(1) == before + len(b"new")  # the pushed blob, until it is collected


async def test_new_and_other_tags_are_free(content: Content) -> None:
    """A rule keeps what is there; what it does not cover moves as ever."""
    await keep(content)
    for config in (b"1", b"2"):
        assert await move(content, "latest", config) is None
    assert await move(content, "v1", b"1") is None
    await content.manifests.delete_tag(ALICE, REPOSITORY, "latest")


async def test_the_same_digest_may_be_pushed_again(content: Content) -> None:
    """A pipeline that runs twice changes nothing."""
    payload = await content.push_image(REPOSITORY, "v1")
    await keep(content)
    pushed = await content.manifests.put(ALICE, REPOSITORY, "v1", payload, "")
    assert pushed.tags == ("v1",)
    again = await content.manifests.put(
        ALICE, REPOSITORY, sha256(payload), payload, "", tags=["v1", "v2"]
    )
    assert again.tags == ("v1", "v2")


async def test_one_covered_tag_refuses_the_whole_push(content: Content) -> None:
    """Of several tags in one push, none is set."""
    await content.push_image(REPOSITORY, "v1", b"old")
    other = await content.push_image(REPOSITORY, "other", b"new")
    await keep(content)
    with pytest.raises(TagImmutable):
        await content.manifests.put(
            ALICE, REPOSITORY, sha256(other), other, "", tags=["a", "v1", "z"]
        )
    assert await names(content) == ["other", "v1"]


async def test_a_covered_tag_is_not_deleted(content: Content) -> None:
    """Neither by itself nor with its manifest, nor with its repository."""
    payload = await content.push_image(REPOSITORY, "v1")
    await content.push_image(REPOSITORY, "latest")
    await keep(content)
    for refused in (
        content.manifests.delete_tag(ALICE, REPOSITORY, "v1"),
        content.manifests.delete(ALICE, REPOSITORY, sha256(payload)),
        content.manifests.delete_repository(ALICE, REPOSITORY),
    ):
        with pytest.raises(TagImmutable):
            await refused
    assert await names(content) == ["latest", "v1"]
    assert (await content.pulls.manifest(REPOSITORY, "v1")).payload == payload


async def test_what_carries_no_covered_tag_is_deleted(content: Content) -> None:
    """A rule of the project is no obstacle to the rest."""
    payload = await content.push_image(REPOSITORY, "latest")
    kept = await content.push_image(REPOSITORY, "v1", b"kept")
    await keep(content)
    await content.manifests.delete(ALICE, REPOSITORY, sha256(payload))
    assert await names(content) == ["v1"]
    assert (await content.pulls.manifest(REPOSITORY, "v1")).payload == kept


async def test_a_deleted_manifest_comes_back_beside_a_rule(content: Content) -> None:
    """Its tags are made anew; one that was made meanwhile stays where it is."""
    old = await content.push_image(REPOSITORY, "v1", b"old")
    await content.manifests.delete(ALICE, REPOSITORY, sha256(old))
    new = await content.push_image(REPOSITORY, "v1", b"new")
    await keep(content)
    restored = await content.manifests.restore(ALICE, REPOSITORY, sha256(old))
    assert restored.tags == ()
    assert (await content.pulls.resolve(REPOSITORY, "v1")).digest == sha256(new)


async def test_a_tag_that_is_added_onto_another_is_a_conflict(content: Content) -> None:
    """Whether a rule covers it or not: that way never moves a tag."""
    await content.push_image(REPOSITORY, "v1", b"old")
    other = await content.push_image(REPOSITORY, "other", b"new")
    await keep(content)
    with pytest.raises(Conflict):
        await content.manifests.add_tag(ALICE, REPOSITORY, sha256(other), "v1")
    await content.manifests.add_tag(ALICE, REPOSITORY, sha256(other), "v2")
    with pytest.raises(TagImmutable):
        await content.manifests.delete_tag(ALICE, REPOSITORY, "v2")


async def test_a_rule_ends_with_its_switch_and_its_delete(content: Content) -> None:
    """And is back when it is enabled again."""
    await content.push_image(REPOSITORY, "v1", b"0")
    rule = await keep(content)
    rules = ImmutableRules(content.db)
    assert await move(content, "v1", b"1")
    await rules.switch(ALICE, 1, rule, disabled=True)
    assert await move(content, "v1", b"2") is None
    await rules.switch(ALICE, 1, rule, disabled=False)
    assert await move(content, "v1", b"3")
    await rules.delete(ALICE, 1, rule)
    assert await move(content, "v1", b"4") is None


async def test_rules_are_those_of_the_project(content: Content) -> None:
    """What another project keeps is its own business."""
    other = await content.project("other")
    await keep(content, "**", other)
    for config in (b"1", b"2"):
        assert await move(content, "v1", config) is None
    await content.push_image("other/a", "v1", b"1")
    assert await move(content, "v1", b"2", "other/a")


# (selectors of repositories, selectors of tags, what they keep of team/a, team/b, c x v1, latest)
SELECTED: list[tuple[Any, Any, set[str]]] = [
    (repositories("**"), tags("**"), {"team/a:v1", "team/a:latest", "c:v1", "c:latest"}),
    (repositories("*"), tags("v*"), {"c:v1"}),
    (repositories("team/*"), tags("v*"), {"team/a:v1"}),
    (repositories("{c,team/**}"), tags("{v1,v2}"), {"team/a:v1", "c:v1"}),
    (repositories("team/**", "repoExcludes"), tags("v*"), {"c:v1"}),
    (repositories("**"), tags("latest", "excludes"), {"team/a:v1", "c:v1"}),
    (repositories("library/**"), tags("**"), set()),
    (repositories("team/[ab]", kind="regex"), tags(r"v\d+", kind="regex"), {"team/a:v1"}),
    (
        repositories("**"),
        [*tags("**"), *tags("latest", "excludes")],
        {"team/a:v1", "c:v1"},
    ),
    (repositories("**"), tags(">=1", kind="semver"), set()),
]


@pytest.mark.parametrize(("places", "of_tags", "kept"), SELECTED)
async def test_selectors_say_what_is_kept(
    content: Content, places: Any, of_tags: Any, kept: set[str]
) -> None:
    """Of repositories by their name within the project; all of a rule's have to accept."""
    here = [(place, tag) for place in ("team/a", "c") for tag in ("v1", "latest")]
    for place, tag in here:
        await content.push_image(f"library/{place}", tag, b"0")
    await ImmutableRules(content.db).create(ALICE, 1, places, of_tags)
    shown = set()
    for place in ("team/a", "c"):
        (artifact,) = (
            await Catalogue(content.db).artifacts(
                Query(), repository=f"library/{place}", wanted=Wanted(immutable=True)
            )
        ).items
        shown |= {f"{place}:{tag.name}" for tag in artifact.tags if tag.immutable}
    refused = {
        f"{place}:{tag}"
        for place, tag in here
        if await move(content, tag, b"1", f"library/{place}")
    }
    assert (shown, refused) == (kept, kept)


async def test_one_of_several_rules_is_enough(content: Content) -> None:
    """Whatever their priorities say."""
    await content.push_image(REPOSITORY, "v1", b"0")
    await keep(content, "nothing", priority=9)
    await keep(content, "**", disabled=True)
    assert await move(content, "v1", b"1") is None
    await keep(content, "v[0-9]")
    assert await move(content, "v1", b"2")


# --- the rules themselves


async def test_a_rule_is_read_back(content: Content) -> None:
    """With its selectors as they were written."""
    rules = ImmutableRules(content.db)
    two = [*tags("b*"), *tags("a*", "excludes")]
    first = await rules.create(ALICE, 1, repositories("**"), two, disabled=True, priority=7)
    second = await keep(content)
    page = await rules.list(1, Query())
    assert [rule.id for rule in page.items] == [first, second]
    rule = page.items[0]
    assert (rule.project_id, rule.disabled, rule.priority) == (1, True, 7)
    assert rule.repositories == tuple(repositories("**"))
    assert rule.tags == tuple(two)
    off = await rules.list(1, Query({"disabled": Exact("true")}))
    assert [rule.id for rule in off.items] == [first]
    assert (await rules.list(1, Query(sort=(("id", True),), size=1))).items[0].id == second


async def test_no_rule_comes_twice(content: Content) -> None:
    """The same selectors, in whatever order; another project may have them too."""
    rules = ImmutableRules(content.db)
    a, b = tags("a*")[0], tags("b*")[0]
    first = await rules.create(ALICE, 1, repositories("**"), [a, b])
    with pytest.raises(Conflict):
        await rules.create(ALICE, 1, repositories("**"), [b, a, b], disabled=True)
    other = await keep(content)
    with pytest.raises(Conflict):
        await rules.change(ALICE, 1, other, repositories("**"), [b, a], disabled=False, priority=0)
    await rules.change(ALICE, 1, first, repositories("**"), [b, a], disabled=True, priority=3)
    assert (await rules.list(1, Query())).items[0].priority == 3
    await rules.create(ALICE, await content.project("other"), repositories("**"), [a, b])


async def test_a_rule_of_another_project_is_not_there(content: Content) -> None:
    """It can be neither changed nor switched nor deleted from here."""
    rules = ImmutableRules(content.db)
    rule = await keep(content, project=await content.project("other"))
    for refused in (
        rules.change(ALICE, 1, rule, repositories("**"), tags("x"), disabled=True, priority=0),
        rules.switch(ALICE, 1, rule, disabled=True),
        rules.delete(ALICE, 1, rule),
    ):
        with pytest.raises(NotFound):
            await refused
    assert (await rules.list(1, Query())).total == 0


async def test_a_rule_needs_its_project(content: Content) -> None:
    """It goes with it."""
    project = await content.project("mine")
    await keep(content, project=project)
    await Projects(content.db).delete(ALICE, project)
    with pytest.raises(ProjectUnknown):
        await keep(content, project=project)
    assert (await ImmutableRules(content.db).list(project, Query())).total == 0


WRONG: list[tuple[Any, Any, str]] = [
    ([], tags("a"), "scope_selectors needs a selector"),
    (repositories("a"), [], "tag_selectors needs a selector"),
    (repositories("a", "matches"), tags("a"), "repoMatches, repoExcludes"),
    (repositories("a"), tags("a", "repoMatches"), "matches, excludes"),
    (repositories("a["), tags("a"), "no ]"),
    (repositories("a"), tags("a", kind="glob"), "unknown kind"),
    (repositories("a"), tags(""), "not empty"),
    (repositories("a"), [tags(str(n))[0] for n in range(MAX_SELECTORS + 1)], "at most"),
]


@pytest.mark.parametrize(("places", "of_tags", "said"), WRONG)
async def test_a_wrong_rule_is_refused(
    content: Content, places: Any, of_tags: Any, said: str
) -> None:
    """Which of its sides is wrong, and why."""
    with pytest.raises(Invalid) as refused:
        await ImmutableRules(content.db).create(ALICE, 1, places, of_tags)
    assert said in refused.value.message


async def test_the_number_of_rules_is_bounded(content: Content) -> None:
    """Each is tried when a tag moves."""
    async with content.db.write() as tx:
        rows = [
            {"project_id": 1, "repositories": [], "tags": [], "fingerprint": str(n)}
            for n in range(MAX_RULES)
        ]
        await tx.execute(tables.immutable_rules.insert(), rows)
    with pytest.raises(Invalid, match="at most"):
        await keep(content)


# --- what it costs


async def test_dear_rules_leave_others_their_turn() -> None:
    """Whoever may write rules cannot stop everybody else with them."""
    dear = [([*repositories("**")], tags("*a" * 500 + str(n))) for n in range(20)]
    covering = Covering((tuple(places), tuple(of_tags)) for places, of_tags in dear)
    work = asyncio.ensure_future(covering.covered("library/a", ["a" * 128] * 200))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert await work == frozenset()
    assert turns > 3


async def test_only_a_tag_that_moves_costs_a_look_at_the_rules(content: Content) -> None:
    """A new tag and a repeated push ask the database not once more than without rules."""
    await keep(content)
    payload = await content.push_image(REPOSITORY, "first", b"0")
    other = await content.push_image(REPOSITORY, "other", b"1")
    ran: list[str] = []
    fetch = content.db.dialect.fetch

    async def counted(driver: Any, text: str, arguments: Any) -> Any:
        ran.append(text)
        return await fetch(driver, text, arguments)

    engine = content.db.engine.sync_engine

    def executed(*args: Any) -> None:
        ran.append(args[2])

    event.listen(engine, "before_cursor_execute", executed)
    content.db.dialect.fetch = counted  # type: ignore[method-assign]
    looks = {}
    for name, tag, manifest in (
        ("by digest", sha256(payload), payload),
        ("new", "v1", payload),
        ("again", "v1", payload),
        ("moved", "first", other),
    ):
        ran.clear()
        await content.manifests.put(ALICE, REPOSITORY, tag, manifest, "")
        asked = sum("immutable_rules" in text for text in ran)
        looks[name] = (asked, len(ran))
    event.remove(engine, "before_cursor_execute", executed)
    content.db.dialect.fetch = fetch  # type: ignore[method-assign]
    assert {name: asked for name, (asked, _) in looks.items()} == {
        "by digest": 0,
        "new": 0,
        "again": 0,
        "moved": 1,
    }
    bare = looks["by digest"][1]
    assert looks["new"][1] == looks["again"][1] == bare + 1
    assert looks["moved"][1] == bare + 4  # the tag, the project, its rules, the tag again


async def test_the_flag_costs_one_query_for_a_page(content: Content) -> None:
    """However many artifacts and tags there are."""
    await keep(content)
    catalogue = Catalogue(content.db)

    async def asked(immutable: bool) -> int:
        with statements() as seen:
            await catalogue.artifacts(Query(), project_id=1, wanted=Wanted(immutable=immutable))
        return len(seen)

    counts = []
    for number in range(3):
        await content.push_image(f"library/r{number}", "v1", b"%d" % number)
        await content.push_image(f"library/r{number}", "latest", b"%d" % number)
        counts.append(await asked(True) - await asked(False))
    assert counts == [1, 1, 1]


async def test_a_tag_that_moves_counts_its_revision_once(content: Content) -> None:
    """As one that is pushed again does."""
    query = select(tables.tags.c.revision).where(tables.tags.c.name == "latest")
    for config, revision in ((b"1", 1), (b"1", 2), (b"2", 3)):
        await content.push_image(REPOSITORY, "latest", config)
        assert await content.scalar(query) == revision
