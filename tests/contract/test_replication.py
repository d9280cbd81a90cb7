"""Replication: what moves, what does not, and what is left when something breaks."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select
from tests.support.content import ALICE, Content, image, index, sha256
from tests.support.jobs import ended, tasks_of
from tests.support.otherregistry import IMAGE, INDEX, OtherRegistry
from tests.support.replication import Site, replicating

from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.types import from_now
from moorage.errors import Conflict, Invalid, NotFound, PreconditionFailed, Unreachable
from moorage.jobs import Context
from moorage.jobs.history import History
from moorage.jobs.requests import Requests
from moorage.jobs.schedules import Ticker
from moorage.remotes import Remote
from moorage.replication import filters, launching
from moorage.replication.policies import firing
from moorage.replication.records import COPY, KIND, Artifact, Filter, Move, Settings

pytestmark = pytest.mark.anyio

APP = "library/app"


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with replicating(database) as found:
        yield found


def name(pattern: str, **more: Any) -> Filter:
    return Filter("name", pattern, **more)


async def digests(content: Content, repository: str) -> set[str]:
    """Manifests of a repository here."""
    query = select(tables.manifests.c.digest).join(
        tables.repositories, tables.repositories.c.id == tables.manifests.c.repository_id
    )
    async with content.db.read() as tx:
        found = await tx.execute(query.where(tables.repositories.c.name == repository))
        return set(found.scalars())


def family(other: OtherRegistry, repository: str = APP) -> set[str]:
    """An index of two images, a signature of it and one of a child, and a tag of cosign."""
    children = [image(b"{}", (name_,)) for name_ in (b"amd64", b"arm64")]
    for data in (b"{}", b"amd64", b"arm64"):
        other.blob(repository, data)
    found = {other.manifest(repository, child) for child in children}
    top = other.manifest(repository, index(children), "v1", "latest", media_type=INDEX)
    child = sha256(children[0])
    signature = other.sign(repository, top)
    found |= {top, signature, other.sign(repository, child, b"of a child")}
    found.add(other.sign(repository, signature, b"of a signature"))
    tie = f"{top.replace(':', '-')}.sig"
    return found | {other.push(repository, tie, layers=(b"cosign",))}


async def test_a_pull_brings_everything_once(site: Site) -> None:
    """Indexes, charts, signatures and their signatures; the second run moves nothing."""
    wanted = family(site.other)
    chart = site.other.push("library/chart", "1.0", layers=(b"chart",))
    policy = await site.policy("pull", filters=[name("library/**")])
    async with site.working():
        run, tasks = await site.run(policy)
        assert (run.status, len(tasks)) == ("Success", 2), run.status_message
        assert await digests(site.content, APP) == wanted
        assert await digests(site.content, "library/chart") == {chart}
        moved = sum(task.extra["moved_bytes"] for task in tasks)
        assert moved > 0
        blobs = len(site.other.asked("GET", "/blobs/"))
        _, tasks = await site.run(policy)
        assert sum(task.extra["moved_bytes"] for task in tasks) == 0
        assert len(site.other.asked("GET", "/blobs/")) == blobs
    resolved = await site.content.pulls.resolve(APP, "latest")
    assert resolved.digest == site.other.tags[APP, "v1"]


@pytest.mark.parametrize("native", [True, False])
async def test_a_push_brings_everything_once(site: Site, native: bool) -> None:
    """Also to a registry that lists no referrers; what it has is not sent again."""
    site.other.native_referrers = native
    payload = await site.content.push_image(APP, "v1", layers=(b"one", b"two"))
    subject = {"mediaType": IMAGE, "digest": sha256(payload), "size": len(payload)}
    await site.content.push_blob(APP, b"signature")
    signature = image(b"{}", (b"signature",), subject=subject)
    await site.content.manifests.put(ALICE, APP, sha256(signature), signature, IMAGE)
    policy = await site.policy("push", namespace="mirror/here", replaced=1)
    async with site.working():
        run, tasks = await site.run(policy)
        assert run.status == "Success", run.status_message
        assert site.other.tags["mirror/here/app", "v1"] == sha256(payload)
        assert ("mirror/here/app", sha256(signature)) in site.other.manifests
        sent = len(site.other.asked("PUT", "/"))
        _, tasks = await site.run(policy)
        assert [task.extra["moved_bytes"] for task in tasks] == [0]
        assert len(site.other.asked("PUT", "/")) == sent


async def test_tasks_that_run_together_share_connections_and_tokens(site: Site) -> None:
    """A token for each repository and not for each artifact; in the end nothing stays open."""
    site.other.scheme = "bearer"
    for number in range(12):
        site.other.push(APP, f"v{number}", layers=(b"%d" % number,))
    policy = await site.policy("pull", filters=[name(APP)])
    async with site.working():
        run, tasks = await site.run(policy)
    assert (run.status, len(tasks)) == ("Success", 12), run.status_message
    assert len(site.other.asked("GET", "/token")) < 12
    assert site.both.open == 0


async def test_what_a_registry_does_not_take_is_tried_once(site: Site) -> None:
    """A small blob goes with the first request; who refuses that is not sent it so again."""
    policy = await site.policy("push", namespace="mirror/here", replaced=1)

    def tried() -> int:
        return sum("digest" in each.query for each in site.other.asked("POST", "/uploads/"))

    async with site.working():
        await site.content.push_image(APP, "v1", layers=(b"one",))
        assert (await site.run(policy))[0].status == "Success"
        before = tried()
        assert before > 0
        await site.content.push_image(APP, "v2", layers=(b"two",))
        assert (await site.run(policy))[0].status == "Success"
    assert tried() == before


async def test_a_layer_that_many_images_share_moves_once(site: Site) -> None:
    """Also when they are copied at the same time; other repositories get it by a mount."""
    shared = sha256(b"shared")
    for number in range(6):
        await site.content.push_image(APP, f"v{number}", layers=(b"shared", b"%d" % number))
    await site.content.push_image("library/b", "v1", layers=(b"shared",))
    policy = await site.policy("push", namespace="mirror", replaced=1)
    async with site.working():
        run, _ = await site.run(policy)
        assert run.status == "Success", run.status_message
    uploads = site.other.asked("POST", "/blobs/uploads/")
    assert len([each for each in uploads if each.query.get("digest") == [shared]]) <= 1
    sent = [
        each for each in site.other.asked("PUT", "/uploads/") if each.query["digest"] == [shared]
    ]
    assert len(sent) == 1
    assert [each for each in uploads if each.query.get("mount") == [shared]]
    assert ("mirror/b", shared) in site.other.blobs


async def test_a_layer_that_many_images_share_comes_once(site: Site) -> None:
    """The first task fetches it, the others find it here."""
    for number in range(6):
        site.other.push(APP, f"v{number}", layers=(b"shared", b"%d" % number))
    policy = await site.policy("pull", filters=[name(APP)])
    async with site.working():
        run, _ = await site.run(policy)
        assert run.status == "Success", run.status_message
    assert len(site.other.asked("GET", sha256(b"shared"))) == 1


async def test_only_what_is_missing_moves(site: Site) -> None:
    """A layer that another repository of the project has is mounted, not fetched."""
    await site.content.push_image("library/base", "v1", layers=(b"layer",))
    site.other.push(APP, "v1", layers=(b"layer", b"own"))
    policy = await site.policy("pull", filters=[name(APP)])
    async with site.working():
        _, (task,) = await site.run(policy)
    assert task.extra["moved_bytes"] == len(b"own")


async def test_override_and_filters_of_tags(site: Site) -> None:
    """A tag that names another artifact stays, unless the policy overrides; versions are known."""
    mine = sha256(await site.content.push_image(APP, "v1.2.0", layers=(b"mine",)))
    theirs = site.other.push(APP, "v1.2.0", "v1.3.0", "v2.0.0", "edge", layers=(b"theirs",))
    versions = Filter("tag", ">=1.2 <2", kind="semver")
    conditions = [name(APP), versions, Filter("tag", "v1.9*", "excludes")]
    kept = await site.policy("pull", filters=conditions, override=False)
    async with site.working():
        run, _ = await site.run(kept)
        assert run.status == "Success"
        assert (await site.content.pulls.resolve(APP, "v1.2.0")).digest == mine
        assert (await site.content.pulls.resolve(APP, "v1.3.0")).digest == theirs
        for tag in ("v2.0.0", "edge"):
            with pytest.raises(NotFound):
                await site.content.pulls.resolve(APP, tag)
        moving = await site.policy("pull", filters=conditions, override=True)
        await site.run(moving)
    assert (await site.content.pulls.resolve(APP, "v1.2.0")).digest == theirs


@pytest.mark.parametrize(
    ("wrong", "message"),
    [("bytes", "something else"), ("length", "bytes"), ("manifest", "another manifest")],
)
async def test_a_registry_that_lies_leaves_no_damage(site: Site, wrong: str, message: str) -> None:
    """The task fails and says why; nothing is stored under a digest that it has not."""
    digest = site.other.push(APP, "v1", layers=(b"layer", b"fine"))
    if wrong == "manifest":
        site.other.swapped[digest] = image(b"{}", (b"evil",))
    else:
        site.other.swapped[sha256(b"layer")] = b"lay3r" if wrong == "bytes" else b"longer"
    policy = await site.policy("pull", filters=[name(APP)])
    async with site.working():
        run, (task,) = await site.run(policy)
        assert (run.status, task.status) == ("Error", "Error")
        assert message in task.status_message
        assert await digests(site.content, APP) == set()
        site.other.swapped.clear()
        again = await site.policies.retry(ALICE, run.id, task.id)
        assert (await ended(site.content.db, again)).status == "Success"
    (done,) = await tasks_of(site.content.db, again)
    assert done.extra["moved_bytes"] <= len(b"layer") + len(b"fine") + 2
    assert await digests(site.content, APP) == {digest}


async def test_a_large_blob_goes_on_after_a_failure(site: Site) -> None:
    """The next task fetches the rest: what had arrived is kept under its session."""
    data = bytes(range(256)) * 40_000
    site.other.push(APP, "v1", layers=(data,))
    site.other.cut = [6_000_000, 0, 0, 0, 0]
    policy = await site.policy("pull", filters=[name(APP)])
    async with site.working():
        run, (task,) = await site.run(policy)
        assert (run.status, task.status) == ("Error", "Error")
        site.other.requests.clear()
        again = await site.policies.retry(ALICE, run.id, task.id)
        assert (await ended(site.content.db, again)).status == "Success"
    starts = [
        int(each.headers["range"][6:].split("-")[0])
        for each in site.other.asked("GET", "/blobs/")
        if "range" in each.headers
    ]
    assert starts
    assert min(starts) > 3_000_000
    assert await site.content.read_blob(APP, sha256(data)) == data


async def test_a_stop_is_seen_within_a_blob(site: Site) -> None:
    """Whatever the blob's length; nobody finds half an artifact."""
    site.other.push(APP, "v1", layers=(b"x" * 3_000_000,))
    site.other.pause = asyncio.Event()
    policy = await site.policy("pull", filters=[name(APP)], speed=8000)
    async with site.working():
        execution = await site.policies.start(ALICE, policy)
        async with asyncio.timeout(120):
            while not site.other.asked("GET", "/blobs/"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await Requests(site.content.db, site.bell).stop("alice", execution)
        site.other.pause.set()
        site.other.pause = None
        assert (await ended(site.content.db, execution)).status == "Stopped"
    assert await digests(site.content, APP) == set()


async def test_events_push_and_delete(site: Site) -> None:
    """Pushed, signed, untagged and deleted here, the same happens there; once each."""
    await site.policy("push", trigger="event_based", deletion=True, filters=[name("library/a*")])
    content, other = site.content, site.other

    async with site.working():
        payload = await content.push_image(APP, "v1")
        await content.push_image("library/other", "v1")
        await site.settle()
        assert set(other.tags) == {(APP, "v1")}
        subject = {"mediaType": IMAGE, "digest": sha256(payload), "size": len(payload)}
        signature = image(b"{}", (b"layer",), subject=subject)
        await content.manifests.put(ALICE, APP, sha256(signature), signature, IMAGE)
        await content.manifests.add_tag(ALICE, APP, sha256(payload), "v2")
        await site.settle()
        assert (APP, sha256(signature)) in other.manifests
        assert set(other.tags) == {(APP, "v1"), (APP, "v2")}
        await content.manifests.delete_tag(ALICE, APP, "v1")
        await site.settle()
        assert set(other.tags) == {(APP, "v2")}
        await content.manifests.delete(ALICE, APP, sha256(payload))
        await site.settle()
        assert other.tags == {}
        assert (APP, sha256(payload)) not in other.manifests


async def test_a_delete_that_comes_late_takes_nothing_away_that_is_back(site: Site) -> None:
    """It was tried again while the same image was pushed once more, and copied before it."""
    await site.policy("push", trigger="event_based", deletion=True)
    content, other = site.content, site.other

    async def late() -> None:
        """These deletes come after the copies that follow."""
        while await site.outbox.dispatch():
            pass
        mine = tables.tasks.c.kind == KIND, tables.tasks.c.status == "Pending"
        async with content.db.write() as tx:
            await tx.execute(tables.tasks.update().where(*mine).values(run_at=from_now(2)))

    async with site.working():
        payload = await content.push_image(APP, "v1")
        await site.settle()
    await content.manifests.delete_tag(ALICE, APP, "v1")
    await late()
    await content.manifests.add_tag(ALICE, APP, sha256(payload), "v1")
    async with site.working():
        await site.settle()
        assert set(other.tags) == {(APP, "v1")}
    await content.manifests.delete(ALICE, APP, sha256(payload))
    await late()
    await content.push_image(APP, "v1")
    async with site.working():
        await site.settle()
        assert set(other.tags) == {(APP, "v1")}
        await content.manifests.delete(ALICE, APP, sha256(payload))
        await site.settle()
        assert other.tags == {}


async def test_a_copy_that_comes_late_leaves_the_tag_to_the_newer_one(site: Site) -> None:
    """Its worker died, and the tag was pushed again and replicated before another took over."""
    policy = await site.policy("push", namespace="mirror", replaced=1)
    content, other = site.content, site.other
    older = sha256(await content.push_image(APP, "v1", layers=(b"old",)))
    newer = sha256(await content.push_image(APP, "v1", layers=(b"new",)))
    late = Move(COPY, APP, "mirror/app", older, ("v1",))
    async with site.working():
        await site.run(policy)
        assert other.tags["mirror/app", "v1"] == newer
        known = await site.policies.get(policy)
        async with content.db.write() as tx:
            execution = await launching.launch(tx, known, trigger="EVENT", moves=(late,))
        assert (await ended(content.db, execution or 0)).status == "Success"
    assert ("mirror/app", older) in other.manifests
    assert other.tags["mirror/app", "v1"] == newer


async def test_policies_say_what_is_wrong(site: Site) -> None:
    """And are not deleted while they run; a second one under a name is refused."""
    both = {"source_id": site.registry_id, "target_id": site.registry_id}
    for wrong in (
        {"name": ""},
        both,
        {"source_id": None},
        {"source_id": 999},
        {"trigger": "sometimes"},
        {"trigger": "event_based"},
        {"trigger": "scheduled", "cron": "0 * * * * *"},
        {"trigger": "scheduled", "cron": "5 0 2 * * *"},
        {"filters": [Filter("size", "x")]},
        {"filters": [name("[")]},
        {"filters": [Filter("tag", "(", kind="regex")]},
        {"filters": [Filter("label", "x")]},
        {"filters": [Filter("resource", "chartmuseum")]},
        {"namespace": "UPPER"},
        {"replaced": -2},
        {"speed": -2},
    ):
        said: dict[str, Any] = {"name": "x", "source_id": site.registry_id, **wrong}
        with pytest.raises(Invalid):
            await site.policies.create(ALICE, Settings(**said))
    made = await site.policy("pull", trigger="scheduled", cron="0 0 2 * * *")
    twin = (await site.policies.get(made)).settings
    with pytest.raises(Conflict):
        await site.policies.create(ALICE, twin)
    with pytest.raises(PreconditionFailed):
        await site.registries.delete(ALICE, site.registry_id)
    execution = await site.policies.start(ALICE, made)
    with pytest.raises(PreconditionFailed):
        await site.policies.delete(ALICE, made)
    async with site.working():
        await ended(site.content.db, execution)
    await site.policies.delete(ALICE, made)
    await site.registries.delete(ALICE, site.registry_id)


async def test_one_at_a_time(site: Site) -> None:
    """A run of a policy that is single is skipped, and says so; a schedule starts others."""
    policy = await site.policy("pull", single_active=True, trigger="scheduled", cron="0 0 2 * * *")
    first = await site.policies.start(ALICE, policy)
    second = await site.policies.start(ALICE, policy)
    skipped = await ended(site.content.db, second)
    assert (skipped.status, "skipped" in skipped.status_message) == ("Error", True)
    async with site.working():
        assert (await ended(site.content.db, first)).status == "Success"
        ticker = Ticker(site.content.db, {KIND: firing(0)}, instant=from_now(86400 * 2))
        assert await ticker.tick() == 1
        query = select(tables.executions.c.id).where(tables.executions.c.trigger == "SCHEDULE")
        assert (await ended(site.content.db, await site.content.scalar(query))).status == "Success"


async def test_a_plan_that_fails_says_why(site: Site) -> None:
    """In the text of the execution."""
    site.other.catalog = False
    policy = await site.policy("pull", filters=[name("library/**")])
    async with site.working():
        run, tasks = await site.run(policy)
        assert (run.status, tasks) == ("Error", [])
        assert "404" in run.status_message
        named = await site.policy("pull", filters=[name("library/{app,none}")], description="x")
        site.other.push(APP, "v1")
        run, tasks = await site.run(named)
        assert (run.status, len(tasks)) == ("Success", 1)
    log = await History(site.content.db).log(tasks[0].id)
    assert "was copied" in log


async def test_a_plan_goes_on_where_it_was_and_keeps_no_list(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each repository once, also when a worker dies; what is kept does not grow with them."""
    names = [f"library/app-{number:02}" for number in range(30)]
    for each in names:
        site.other.push(each, "v1")
    monkeypatch.setattr("moorage.replication.job.BATCH", 1)
    saved: list[int] = []
    save, tags = Context.save, Remote.tags
    broken = [names[20]]
    site.plans = 2

    async def noted(self: Context, checkpoint: Any, tx: Any = None) -> None:
        saved.append(len(json.dumps(checkpoint)))
        await save(self, checkpoint, tx)

    async def listed(self: Remote, repository: str) -> list[str]:
        if repository in broken:
            broken.remove(repository)
            raise Unreachable("for once")
        return await tags(self, repository)

    monkeypatch.setattr(Context, "save", noted)
    monkeypatch.setattr(Remote, "tags", listed)
    policy = await site.policy("pull", filters=[name("library/**")])
    async with site.working():
        run, tasks = await site.run(policy)
    assert run.status == "Success", run.status_message
    assert sorted(task.arguments["source"] for task in tasks) == names
    assert len(saved) > 30
    assert max(saved) < 100
    assert len(site.other.asked("GET", f"{names[0]}/tags/")) == 1


def test_names_at_the_target() -> None:
    """As Harbor flattens them."""
    for source, namespace, replaced, target in (
        ("a/b/c", "", 1, "a/b/c"),
        ("a/b/c", "x", 0, "x/a/b/c"),
        ("a/b/c", "x", 1, "x/b/c"),
        ("a/b/c", "x/y", 2, "x/y/c"),
        ("a/b/c", "x", -1, "x/c"),
    ):
        assert filters.target_name(source, namespace, replaced) == target
    with pytest.raises(Invalid):
        filters.target_name("a/b", "x", 2)


def test_filters_choose() -> None:
    """By labels, kinds and media types; and what a name begins with narrows the lists."""
    artifact = Artifact("a/b", "sha256:x", ("v1",), "m/type", "CHART", ("prod", "eu"))
    for conditions, chosen in (
        ([Filter("label", ["prod"])], True),
        ([Filter("label", ["prod", "us"])], False),
        ([Filter("label", ["us"], "excludes")], True),
        ([Filter("resource", "chart")], True),
        ([Filter("resource", "image")], False),
        ([Filter("media_type", "m/*")], True),
        ([Filter("media_type", "m/*", "excludes")], False),
        ([Filter("tag", "v2")], False),
    ):
        assert (filters.choose(conditions, artifact) is not None) is chosen, conditions
    assert filters.beginning([name("library/ng*")]) == "library/ng"
    assert filters.literal([name("org/{a,b}")]) == ["org/a", "org/b"]
    assert filters.literal([name("org/*")]) is None
    assert len(filters.literal([name("{a,b}" * 60)]) or ()) == 1000
    assert json.dumps(filters.dump([name("x")]))
