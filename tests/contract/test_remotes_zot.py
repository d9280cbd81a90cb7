"""The client at a registry that answers as zot does: lists, sessions, referrers, sign-in."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Any

import pytest
from tests.support.content import ALICE, body, image, index, sha256
from tests.support.otherregistry import Answer
from tests.support.replication import replicating
from tests.support.zot import Zot

from moorage.db.engine import Database
from moorage.errors import Denied, Invalid, NotFound
from moorage.oci import media_types
from moorage.outgoing import Guard, transport
from moorage.remotes import Endpoint, Remote
from moorage.remotes.client import Read
from moorage.remotes.reading import PAGE, stand_in
from moorage.replication.records import Filter
from moorage.replication.there import Known, There

pytestmark = pytest.mark.anyio

APP = "team/app"
HERE = Guard((ip_network("127.0.0.0/8"),))


async def quickly(seconds: float) -> None:
    """Waits for nothing."""


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


async def reached(
    stack: AsyncExitStack, account: tuple[str, str] = ("", ""), **knobs: Any
) -> tuple[Zot, Remote]:
    """One with an image, and a client of it."""
    zot = Zot(**knobs)
    await stack.enter_async_context(zot.serving())
    zot.push(APP, "v1")
    client = Remote(HERE, Endpoint("docker-registry", zot.url, *account), sleep=quickly)
    stack.push_async_callback(client.close)
    return zot, client


def read_of(data: bytes) -> Read:
    """What is pushed."""
    return lambda start, end: body(data[start:end])


async def test_lists_are_read_to_their_end(stack: AsyncExitStack) -> None:
    """Though a link has no brackets and stands on the last page too, or there is none at all."""
    zot, client = await reached(stack)
    digest = zot.tags.pop((APP, "v1"))
    assert await client.tags(APP) == []
    wanted = [f"t{number:05}" for number in range(2 * PAGE)]
    zot.tags = {(APP, tag): digest for tag in wanted}
    assert await client.tags(APP) == wanted
    for number in range(PAGE + 1):
        zot.manifest(f"team/app-{number}", image(b"{}", ()))
    asked = len(zot.requests)
    assert len(await client.catalog()) == PAGE + 2
    assert len(zot.requests) <= asked + 2


async def test_an_image_is_copied_and_found(stack: AsyncExitStack) -> None:
    """What a HEAD says of a length is not believed; an empty blob goes another way."""
    zot, client = await reached(stack)
    listed = await client.head(APP, "v1")
    assert listed is not None
    assert listed.digest == zot.tags[APP, "v1"]
    assert (await client.manifest(APP, "v1")).digest == listed.digest
    blobs = [b"{}", b"", b"layer"]
    for data in blobs:
        await client.push_blob("team/new", sha256(data), len(data), read_of(data))
    assert {each for name, each in zot.blobs if name == "team/new"} == set(map(sha256, blobs))
    assert await client.mount("team/third", sha256(b"layer"), "team/elsewhere")
    assert not await client.mount("team/third", sha256(b"none"), APP)


@pytest.mark.parametrize("chunk", [0, 2 << 20])
async def test_pieces_are_sent_once_whatever_their_count(stack: AsyncExitStack, chunk: int) -> None:
    """Each piece is answered by its own length; where a session is, only a GET tells."""
    zot, client = await reached(stack)
    data = bytes(range(256)) * (7 << 12)
    digest = sha256(data)
    await client.push_blob(APP, digest, len(data), read_of(data), chunk=chunk)
    assert zot.blobs[APP, digest] == data
    assert sum(len(each.body) for each in zot.asked("PATCH", "/uploads/")) == len(data)
    for held in (0, 3 << 20):  # what an earlier run had sent
        del zot.blobs[APP, digest]
        zot.requests.clear()
        zot.uploads["7"] = bytearray(data[:held])
        session = f"{zot.url}/v2/{APP}/blobs/uploads/7"
        await client.push_blob(APP, digest, len(data), read_of(data), chunk=chunk, session=session)
        assert zot.blobs[APP, digest] == data
        assert sum(len(each.body) for each in zot.asked("PATCH", "/uploads/7")) == len(data) - held


async def test_a_session_of_which_nothing_is_said_is_asked_for_again(
    stack: AsyncExitStack,
) -> None:
    """The registry was busy, or has it no more: neither says that the blob is wrong."""
    zot, client = await reached(stack)
    data = bytes(range(256)) * (5 << 12)
    zot.uploads["7"] = bytearray()
    zot.answers += [Answer(204, headers={"range": "0-99"}), Answer(416), Answer(503)]
    session = f"{zot.url}/v2/{APP}/blobs/uploads/7"
    await client.push_blob(APP, sha256(data), len(data), read_of(data), session=session)
    assert zot.blobs[APP, sha256(data)] == data


@pytest.mark.parametrize("refuses", [415, 400])
async def test_dockers_media_types_need_its_consent(stack: AsyncExitStack, refuses: int) -> None:
    """The message says so; a manifest of OCI that is refused has another reason."""
    zot, client = await reached(stack, refuses=refuses)
    payload = image(b"{}", (b"layer",))
    with pytest.raises(Invalid, match="compat"):
        await client.put_manifest(APP, "v2", payload, media_types.DOCKER_MANIFEST)
    zot.compat = True
    await client.put_manifest(APP, "v2", payload, media_types.DOCKER_MANIFEST)
    zot.compat = False
    with pytest.raises(Invalid) as told:
        await client.put_manifest(APP, "v2", payload, media_types.OCI_ARTIFACT)
    assert "compat" not in told.value.message


async def test_referrers_are_its_own_list(stack: AsyncExitStack) -> None:
    """A subject that is not there says nothing of the others; one with tags is listed once."""
    zot, client = await reached(stack)
    absent = sha256(b"none")
    assert await client.referrers(APP, absent) == []
    assert client.traits.lists_referrers is None
    subject = zot.tags[APP, "v1"]
    signature = zot.sign(APP, subject)
    assert [each.digest for each in await client.referrers(APP, subject)] == [signature]
    assert await client.referrers(APP, absent) == []
    zot.tags[APP, "signature"] = signature
    assert [each.digest for each in await client.referrers(APP, subject)] == [signature]
    assert await client.referrers(APP, subject, "x/another") == []
    said = {"mediaType": media_types.OCI_MANIFEST, "digest": subject, "size": 1}
    another = image(b"{}", (b"more",), subject=said, artifactType="x/y")
    await client.put_manifest(APP, sha256(another), another, media_types.OCI_MANIFEST)
    assert {each.digest for each in await client.referrers(APP, subject)} == {
        signature,
        sha256(another),
    }
    assert (APP, stand_in(subject)) not in zot.tags


async def test_what_is_gone_is_gone(stack: AsyncExitStack) -> None:
    """Of a repository that it has not, it says so with another status."""
    _, client = await reached(stack)
    with pytest.raises(NotFound):
        await client.delete("team/none", "v1")
    with pytest.raises(NotFound):
        await client.delete(APP, "v9")


async def test_an_account_sees_more_than_anybody(stack: AsyncExitStack) -> None:
    """A registry that shows some to anybody asks nobody who he is: its client says so itself."""
    account = "robot", "secret"
    zot, client = await reached(stack, account, public={"open/a"})
    zot.push("open/a", "v1")
    everything = [Filter("name", "**")]
    assert await There(client, Known()).repositories(everything) == ["open/a", APP]
    nobody = Remote(HERE, Endpoint("docker-registry", zot.url), sleep=quickly)
    stack.push_async_callback(nobody.close)
    assert await nobody.catalog() == ["open/a"]
    with pytest.raises(Denied):
        await nobody.manifest(APP, "v1")
    wrong = Remote(HERE, Endpoint("docker-registry", zot.url, "robot", "wrong"), sleep=quickly)
    stack.push_async_callback(wrong.close)
    with pytest.raises(Denied, match="does not know the account"):
        await wrong.ping()


async def test_nothing_waits_for_a_second_connection(
    stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever says who asks has closed the answer for nobody; also where the account is unknown."""
    monkeypatch.setattr(transport, "CONNECTIONS", 1)
    zot, _ = await reached(stack, public={APP})
    layer = bytes(1 << 20)
    digest = zot.blob(APP, layer)
    for password in ("secret", "wrong"):
        endpoint = Endpoint("docker-registry", zot.url, "robot", password)
        client = Remote(HERE, endpoint, sleep=quickly, idle=10.0)
        stack.push_async_callback(client.close)
        if password == "secret":
            read = client.blob(APP, digest, len(layer))
            assert b"".join([part async for part in read]) == layer
            continue
        for _ in range(2):
            with pytest.raises(Denied):
                await client.manifest(APP, "v1")


async def test_a_write_that_anybody_may_do_is_done_once(stack: AsyncExitStack) -> None:
    """Done again as the account, a delete would fail, or take what was pushed meanwhile."""
    zot, client = await reached(stack, ("robot", "secret"))
    await client.delete(APP, "v1")
    assert len(zot.asked("DELETE", "/manifests/v1")) == 1
    assert await client.head(APP, "v1") is None


async def test_who_asks_is_said_again_where_it_was_not_heard(stack: AsyncExitStack) -> None:
    """A registry that is busy says nothing of the account, which it is told in the next try."""
    zot, client = await reached(stack, ("robot", "secret"), public={"open/a"})
    zot.push("open/a", "v1")
    zot.answers += [Answer(200, b'{"repositories":["open/a"]}'), Answer(503)]
    assert await client.catalog() == ["open/a", APP]


async def test_a_set_goes_to_it_and_back(database: Database) -> None:
    """An index, its image and a signature of that, each once; the next runs move nothing."""
    async with replicating(database, Zot()) as site, site.working():
        content, zot = site.content, site.other
        await content.project("again")
        payload = await content.push_image("library/app", "v1", layers=(b"one",))
        top = index([payload])
        await content.manifests.put(ALICE, "library/app", "all", top, media_types.OCI_INDEX)
        said = {"mediaType": media_types.OCI_MANIFEST, "digest": sha256(payload)}
        signature = image(b"{}", (b"one",), subject={**said, "size": len(payload)})
        digest = sha256(signature)
        await content.manifests.put(
            ALICE, "library/app", digest, signature, media_types.OCI_MANIFEST
        )
        wanted = {sha256(payload), sha256(top), digest}
        away = await site.policy("push", namespace="mirror", replaced=1)
        back = await site.policy(
            "pull", namespace="again", replaced=1, filters=[Filter("name", "mirror/**")]
        )
        for policy in (away, back):
            moved = []
            for _ in range(2):
                run, tasks = await site.run(policy)
                assert run.status == "Success", run.status_message
                moved.append(sum(task.extra["moved_bytes"] for task in tasks))
            assert moved[0] > 0
            assert moved[1] == 0
        assert {each for name, each in zot.manifests if name == "mirror/app"} == wanted
        assert zot.tags == {
            ("mirror/app", "v1"): sha256(payload),
            ("mirror/app", "all"): sha256(top),
        }
        held = [await site.here.digest_of("again/app", each) for each in sorted(wanted)]
        assert held == sorted(wanted)
        assert await site.here.referrers("again/app", sha256(payload)) == [digest]
