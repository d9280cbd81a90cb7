"""Tasks of a replication that pass one another: what the source is in the end, the target is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from tests.support.content import ALICE, image, sha256
from tests.support.otherregistry import IMAGE
from tests.support.replication import Site, replicating

from moorage.db import tables
from moorage.db.engine import Database
from moorage.errors import Unreachable
from moorage.outgoing import Guard
from moorage.remotes import Endpoint, Remote
from moorage.remotes.reading import entries, stand_in
from moorage.remotes.throttle import FREE
from moorage.replication import launching
from moorage.replication.records import COPY, Filter, Move
from moorage.replication.sides import Sending
from moorage.replication.there import Known, There
from moorage.replication.transfer import Transfer

pytestmark = pytest.mark.anyio

APP = "library/app"


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    async with replicating(database) as found:
        yield found


async def late(site: Site, policy: int, digest: str, *tags: str) -> None:
    """Let one task do what was to be done so far."""
    while await site.outbox.dispatch():
        pass
    async with site.content.db.write() as tx:
        await tx.execute(tables.executions.delete())
        known, move = await site.policies.get(policy), Move(COPY, APP, APP, digest, tags)
        await launching.launch(tx, known, trigger="EVENT", moves=(move,))


def before(
    patch: pytest.MonkeyPatch, method: str, meanwhile: Callable[[], Awaitable[None]]
) -> None:
    """Let something happen after a task has decided to write, and before it does; once."""
    whole = getattr(There, method)
    left = [meanwhile]

    async def delayed(self: There, *arguments: Any) -> None:
        if left:
            await left.pop()()
        await whole(self, *arguments)

    patch.setattr(There, method, delayed)


def after(patch: pytest.MonkeyPatch, method: str, left: list[Exception] | None = None) -> None:
    """Cut a run of a task off after it has written; once, or by what somebody adds to `left`."""
    whole = getattr(There, method)
    left = [Unreachable("cut off")] if left is None else left

    async def failing(self: There, *arguments: Any) -> None:
        await whole(self, *arguments)
        if left:
            raise left.pop()

    patch.setattr(There, method, failing)


@pytest.mark.parametrize("what", ["tag", "artifact", "artifact without a tag"])
async def test_a_copy_takes_back_what_was_deleted_before_it_wrote(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The task of the delete came first, and found nothing at the target to take away."""
    policy = await site.policy("push", trigger="event_based", deletion=True)
    content, other = site.content, site.other
    digest = sha256(await content.push_image(APP, "v1", layers=(b"one",)))
    await content.manifests.add_tag(ALICE, APP, digest, "v2")
    tags = {"tag": ("v1", "v2"), "artifact": ("v1", "v2"), "artifact without a tag": ()}[what]
    await late(site, policy, digest, *tags)

    async def meanwhile() -> None:
        if what == "tag":
            await content.manifests.delete_tag(ALICE, APP, "v1")
        else:
            await content.manifests.delete(ALICE, APP, digest)
        await site.settle(but=1)

    before(monkeypatch, "put", meanwhile)
    async with site.working():
        await site.settle()
    assert set(other.tags) == ({(APP, "v2")} if what == "tag" else set())
    assert ((APP, digest) in other.manifests) is (what == "tag")


@pytest.mark.parametrize("what", ["tag", "artifact", "another artifact"])
async def test_the_next_run_of_a_copy_looks_at_what_the_last_one_wrote(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The last one ended when it had written, before it saw that the source had lost the tag."""
    site.tries = 2
    policy = await site.policy("push", trigger="event_based", deletion=True)
    content, other = site.content, site.other
    digest = sha256(await content.push_image(APP, "v1", layers=(b"one",)))
    await content.manifests.add_tag(ALICE, APP, digest, "v2")
    await late(site, policy, digest, "v1", "v2")
    wanted = {"v2": digest}
    cut: list[Exception] = []

    async def meanwhile() -> None:
        if what == "tag":
            await content.manifests.delete_tag(ALICE, APP, "v1")
        elif what == "artifact":
            await content.manifests.delete(ALICE, APP, digest)
            wanted.clear()
        else:
            wanted["v1"] = sha256(await content.push_image(APP, "v1", layers=(b"two",)))
        await site.settle(but=1)
        cut.append(Unreachable("cut off"))

    after(monkeypatch, "put", cut)
    before(monkeypatch, "put", meanwhile)
    async with site.working():
        await site.settle()
    assert len(other.asked("PUT", "/manifests/v1")) == (3 if what == "another artifact" else 1)
    assert other.tags == {(APP, tag): each for tag, each in wanted.items()}


@pytest.mark.parametrize("method", ["ensure", "write"])
async def test_a_copy_takes_back_no_more_than_it_brought(
    site: Site, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The same image was at the target, before it or before its last request, under their tag."""
    policy = await site.policy("push", trigger="event_based", deletion=True)
    content, other, layers = site.content, site.other, (b"one",)
    digest = sha256(await content.push_image(APP, "v1", layers=layers))
    await late(site, policy, digest, "v1")

    async def theirs() -> None:
        assert other.push(APP, "release", layers=layers) == digest

    async def meanwhile() -> None:
        await content.manifests.delete(ALICE, APP, digest)
        await site.settle(but=1)

    if method == "write":
        before(monkeypatch, method, theirs)
    else:
        await theirs()
    before(monkeypatch, "put", meanwhile)
    async with site.working():
        await site.settle()
    assert other.asked("PUT", "/manifests/v1")
    assert other.tags == {(APP, "release"): digest}
    assert (APP, digest) in other.manifests


@pytest.mark.parametrize("pattern", ["v*", ""])
async def test_a_copy_takes_back_what_the_deletes_would_have_deleted(
    site: Site, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    """A policy of some tags does not hear of the end of an artifact that had none any more."""
    conditions = (Filter("tag", pattern),) if pattern else ()
    policy = await site.policy("push", trigger="event_based", deletion=True, filters=conditions)
    content, other = site.content, site.other
    digest = sha256(await content.push_image(APP, "v1", layers=(b"one",)))
    await late(site, policy, digest, "v1")

    async def meanwhile() -> None:
        await content.manifests.delete_tag(ALICE, APP, "v1")
        await content.manifests.delete(ALICE, APP, digest)
        await site.settle(but=1)

    before(monkeypatch, "put", meanwhile)
    async with site.working():
        await site.settle()
    assert other.asked("PUT", "/manifests/v1")
    assert other.tags == {}
    assert ((APP, digest) in other.manifests) is bool(pattern)


@pytest.mark.parametrize("what", ["tag", "artifact", "artifact under another tag"])
async def test_a_copy_copies_again_what_came_back_before_it_was_taken_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The task of the second push found what the late one had written, and left it."""
    policy = await site.policy("push", trigger="event_based", deletion=True)
    content, other, layers = site.content, site.other, (b"one",)
    digest = sha256(await content.push_image(APP, "v1", layers=layers))
    if what == "tag":
        await content.manifests.add_tag(ALICE, APP, digest, "v2")
    await late(site, policy, digest, "v1")
    back = "v3" if what == "artifact under another tag" else "v1"
    seen: list[bool] = []

    async def gone() -> None:
        if what == "tag":
            await content.manifests.delete_tag(ALICE, APP, "v1")
        else:
            await content.manifests.delete(ALICE, APP, digest)
        await site.settle(but=1)

    async def again() -> None:
        await content.push_image(APP, back, layers=layers)
        await site.settle(but=1)
        seen.append((APP, back) in other.tags)

    before(monkeypatch, "put", gone)
    before(monkeypatch, "delete", again)
    async with site.working():
        await site.settle()
    assert seen == [True]
    kept = {"v1", "v2"} if what == "tag" else {back}
    assert other.tags == {(APP, tag): digest for tag in kept}
    assert (APP, digest) in other.manifests


async def test_signatures_that_two_workers_copy_at_once_are_both_listed(site: Site) -> None:
    """By the tag of a registry that lists no referrers: each has read it before the other wrote."""
    content, other = site.content, site.other
    other.native_referrers = False
    payload = await content.push_image(APP, "v1")
    subject = {"mediaType": IMAGE, "digest": sha256(payload), "size": len(payload)}
    signatures = [image(b"{}", (each,), subject=subject) for each in (b"one", b"two")]

    async def sign(signature: bytes, layer: bytes) -> None:
        await content.push_blob(APP, layer)
        await content.manifests.put(ALICE, APP, sha256(signature), signature, IMAGE)

    async def work() -> None:
        await copy(site, sha256(payload))

    index = f"/v2/{APP}/manifests/{stand_in(sha256(payload))}"
    await work()
    other.meeting["GET", index] = asyncio.Barrier(2)
    async with asyncio.timeout(120):
        await sign(signatures[0], b"one")
        first = asyncio.create_task(work())
        while not other.asked("GET", index):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await sign(signatures[1], b"two")
        await asyncio.gather(first, work())
    _, listed = other.manifests[APP, other.tags[APP, stand_in(sha256(payload))]]
    assert {each.digest for each in entries(listed)} == set(map(sha256, signatures))


async def test_a_referrer_that_goes_before_it_is_listed_fails_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else that the copy had to do is done by then."""
    content, other = site.content, site.other
    other.native_referrers = False
    payload = await content.push_image(APP, "v1")
    subject = {"mediaType": IMAGE, "digest": sha256(payload), "size": len(payload)}
    signatures = [image(b"{}", (b"layer",), subject=subject, annotations={"n": n}) for n in "ab"]
    for each in signatures:
        await content.manifests.put(ALICE, APP, sha256(each), each, IMAGE)
    await copy(site, sha256(payload))
    index = APP, stand_in(sha256(payload))
    del other.manifests[APP, other.tags.pop(index)]
    looked = There.unlisted

    async def unlisted(self: There, *arguments: Any) -> Sequence[str]:
        found = await looked(self, *arguments)
        if len(found) == 2:
            await content.manifests.delete(ALICE, APP, sha256(signatures[0]))
        return found

    monkeypatch.setattr(There, "unlisted", unlisted)
    await copy(site, sha256(payload))
    _, listed = other.manifests[APP, other.tags[index]]
    assert [each.digest for each in entries(listed)] == [sha256(signatures[1])]


async def copy(site: Site, digest: str) -> None:
    """A task in a process of its own, which knows nothing of another one."""
    endpoint = Endpoint("docker-registry", site.other.url)
    there = There(Remote(Guard((ip_network("127.0.0.0/8"),)), endpoint), Known())
    try:
        await Transfer(
            site.here,
            there,
            Move(COPY, APP, APP, digest, ("v1",)),
            Sending(FREE, False, {}, _forget),
            override=True,
            log=lambda _: None,
            check=lambda: None,
            tell=lambda _: None,
        ).run()
    finally:
        await there.close()


async def _forget(digest: str, where: str) -> None:
    """No task goes on after this one."""


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("what", ["tag", "artifact", "artifact, other tags", "another artifact"])
async def test_a_delete_copies_again_what_came_back_before_it_deleted(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: str, cut: bool
) -> None:
    """The task of the push came first, and found all of it at the target.

    So does the next run of a task that was cut off when it had deleted.
    """
    site.tries = 2
    await site.policy("push", trigger="event_based", deletion=True)
    content, other = site.content, site.other
    layers = (b"one",)
    digest = sha256(await content.push_image(APP, "v1", layers=layers))
    async with site.working():
        await site.settle()
        assert other.tags == {(APP, "v1"): digest}
        if what.startswith("artifact"):
            await content.manifests.delete(ALICE, APP, digest)
        else:
            await content.manifests.delete_tag(ALICE, APP, "v1")
        wanted, tags = [digest], ("v2", "v3") if what == "artifact, other tags" else ("v1",)

        async def meanwhile() -> None:
            if what == "another artifact":
                wanted[0] = sha256(await content.push_image(APP, "v1", layers=(b"two",)))
            else:
                for tag in tags:
                    await content.push_image(APP, tag, layers=layers)
            await site.settle(but=1)

        if cut:
            after(monkeypatch, "delete")
        before(monkeypatch, "delete", meanwhile)
        await site.settle()
    assert other.tags == {(APP, tag): wanted[0] for tag in tags}
    assert (APP, wanted[0]) in other.manifests
