"""Tasks of a replication that pass one another: what the source is in the end, the target is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.support.content import ALICE, Content, image, sha256
from tests.support.invariants import violations
from tests.support.otherregistry import IMAGE, OtherRegistry
from tests.support.replication import Site

from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import LocalCache
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.outgoing import Guard
from moorage.remotes import Endpoint, Remote
from moorage.remotes.reading import entries, stand_in
from moorage.remotes.throttle import FREE
from moorage.replication import launching
from moorage.replication.records import COPY, Move
from moorage.replication.sides import Sending
from moorage.replication.there import Known, There
from moorage.replication.transfer import Transfer

pytestmark = pytest.mark.anyio

APP = "library/app"


@pytest.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    cache = LocalCache(SystemClock(), entries=1000, size=1 << 20, expire_seconds=3600)
    content = Content(database, MemoryStore(), Rules(lease=3600, drain=0, trash=3600), cache)
    await content.project("library")
    async with OtherRegistry().serving() as other:
        yield await Site(content, other).fill()
    assert await violations(content) == []
    await cache.close()


async def settle(site: Site, but: int = 0) -> None:
    """Until what happened was told, and all that it began has ended, but for so many runs."""
    while await site.outbox.dispatch():
        pass
    query = select(func.count()).where(tables.executions.c.ended_at.is_(None))
    async with asyncio.timeout(30):
        while await site.content.scalar(query) > but:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


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


@pytest.mark.parametrize("what", ["tag", "artifact", "artifact without a tag"])
async def test_a_copy_takes_back_what_was_deleted_before_it_wrote(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The task of the delete came first, and found nothing at the target to take away."""
    policy = await site.policy("push", trigger="event_based", deletion=True)
    content, other = site.content, site.other
    digest = sha256(await content.push_image(APP, "v1", layers=(b"one",)))
    await content.manifests.add_tag(ALICE, APP, digest, "v2")
    while await site.outbox.dispatch():
        pass
    tags = {"tag": ("v1", "v2"), "artifact": ("v1", "v2"), "artifact without a tag": ()}[what]
    async with content.db.write() as tx:
        await tx.execute(tables.executions.delete())  # of what one task does in their place
        known, copy = await site.policies.get(policy), Move(COPY, APP, APP, digest, tags)
        await launching.launch(tx, known, trigger="EVENT", moves=(copy,))

    async def meanwhile() -> None:
        if what == "tag":
            await content.manifests.delete_tag(ALICE, APP, "v1")
        else:
            await content.manifests.delete(ALICE, APP, digest)
        await settle(site, but=1)

    before(monkeypatch, "put", meanwhile)
    async with site.working():
        await settle(site)
    assert set(other.tags) == ({(APP, "v2")} if what == "tag" else set())
    assert ((APP, digest) in other.manifests) is (what == "tag")


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
        """In a process of its own, which knows nothing of another one."""
        remote = Remote(Guard((ip_network("127.0.0.0/8"),)), Endpoint("docker-registry", other.url))
        there = There(remote, Known())
        try:
            await Transfer(
                site.here,
                there,
                Move(COPY, APP, APP, sha256(payload), ("v1",)),
                Sending(FREE, False, {}, _forget),
                override=True,
                log=lambda _: None,
                check=lambda: None,
                tell=lambda _: None,
            ).run()
        finally:
            await there.close()

    index = f"/v2/{APP}/manifests/{stand_in(sha256(payload))}"
    await work()
    other.meeting["GET", index] = asyncio.Barrier(2)
    async with asyncio.timeout(30):
        await sign(signatures[0], b"one")
        first = asyncio.create_task(work())
        while not other.asked("GET", index):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await sign(signatures[1], b"two")
        await asyncio.gather(first, work())
    _, listed = other.manifests[APP, other.tags[APP, stand_in(sha256(payload))]]
    assert {each.digest for each in entries(listed)} == set(map(sha256, signatures))


async def _forget(digest: str, where: str) -> None:
    """No task goes on after this one."""


@pytest.mark.parametrize("what", ["tag", "artifact", "another artifact"])
async def test_a_delete_copies_again_what_came_back_before_it_deleted(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The task of the push came first, and found all of it at the target."""
    await site.policy("push", trigger="event_based", deletion=True)
    content, other = site.content, site.other
    layers = (b"one",)
    digest = sha256(await content.push_image(APP, "v1", layers=layers))
    async with site.working():
        await settle(site)
        assert other.tags == {(APP, "v1"): digest}
        if what == "artifact":
            await content.manifests.delete(ALICE, APP, digest)
        else:
            await content.manifests.delete_tag(ALICE, APP, "v1")
        wanted = [digest]

        async def meanwhile() -> None:
            if what == "another artifact":
                wanted[0] = sha256(await content.push_image(APP, "v1", layers=(b"two",)))
            else:
                await content.push_image(APP, "v1", layers=layers)
            await settle(site, but=1)

        before(monkeypatch, "delete", meanwhile)
        await settle(site)
    assert other.tags == {(APP, "v1"): wanted[0]}
    assert (APP, wanted[0]) in other.manifests
