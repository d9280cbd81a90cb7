"""Deletes beside pushes that tag, name or hold what is deleted, two at a time.

What was acknowledged last is what is there.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from tests.support.content import ALICE, Content, image, index, sha256
from tests.support.races import (
    EMPTY,
    REPOSITORY,
    RULES,
    Hold,
    begun,
    collected,
    meet,
    mount,
    put,
    readable,
    tagged,
)

from moorage.artifacts import tagging
from moorage.artifacts.catalogue import Catalogue
from moorage.db import engine, tables
from moorage.db.failures import contended
from moorage.db.queries import Query
from moorage.errors import (
    ManifestBlobUnknown,
    ManifestUnknown,
    PreconditionFailed,
    ProjectUnknown,
    TagUnknown,
)
from moorage.oci.media_types import OCI_MANIFEST
from moorage.projects.projects import Projects

pytestmark = pytest.mark.anyio

KEPT = replace(RULES, lease=3600)


@pytest.fixture
def content(racing: Content) -> Content:
    """Leases are over at once, the trash keeps."""
    return racing


# --- tags


async def test_a_tag_is_deleted_while_it_moves(content: Content, hold: Hold) -> None:
    """The delete was second: the tag is gone, both images are there."""
    old = await content.push_image(REPOSITORY, "v1", EMPTY, [b"old"])
    new = await content.push_image(REPOSITORY, "other", EMPTY, [b"new"])
    moved, deleted = await meet(
        content,
        hold("manifest.inserting"),
        put(content, "v1", new),
        content.manifests.delete_tag(ALICE, REPOSITORY, "v1"),
    )
    assert (moved, deleted) == (sha256(new), None)
    assert await tagged(content, "v1") is None
    await readable(content, old, b"old")
    await readable(content, new, b"new")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_tags_that_move_and_are_deleted_are_locked_in_one_order(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push of two tags and a delete of what has them wait for each other, but not both."""
    lost: list[BaseException] = []

    def told(error: BaseException) -> bool:
        if contended(error):
            lost.append(error)
        return contended(error)

    monkeypatch.setattr(engine, "contended", told)
    old = await content.push_image(REPOSITORY, "v2", EMPTY, [b"old"])  # v2 before v1 in the heap
    await put(content, "v1", old)
    new = await content.push_image(REPOSITORY, "other", EMPTY, [b"new"])
    both = content.manifests.put(
        ALICE, REPOSITORY, sha256(new), new, OCI_MANIFEST, tags=["v1", "v2"]
    )
    async with content.db.write() as first:
        locked = select(tables.tags.c.id).where(tables.tags.c.name == "v1")
        await first.execute(first.dialect.for_update(locked))
        moving = await begun(content.db, both)
        deleted = content.manifests.delete(ALICE, REPOSITORY, sha256(old))
        deleting = await begun(content.db, deleted, others=1)
    moved, gone = await asyncio.gather(moving, deleting)
    assert (moved.digest, gone) == (sha256(new), None)
    assert lost == []
    assert await tagged(content, "v1") == await tagged(content, "v2") == sha256(new)


async def test_a_tag_moves_while_it_is_deleted(content: Content, hold: Hold) -> None:
    """The move was second: the tag names what was pushed last."""
    old = await content.push_image(REPOSITORY, "v1", EMPTY, [b"old"])
    new = await content.push_image(REPOSITORY, "other", EMPTY, [b"new"])
    deleted, moved = await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete_tag(ALICE, REPOSITORY, "v1"),
        put(content, "v1", new),
    )
    assert (deleted, moved) == (None, sha256(new))
    assert await tagged(content, "v1") == sha256(new)
    await readable(content, old, b"old")


async def test_a_manifest_is_deleted_while_its_tag_moves_away(content: Content, hold: Hold) -> None:
    """The tag names the new one, although the old one had it when its delete began."""
    old = await content.push_image(REPOSITORY, "v1", EMPTY, [b"old"])
    new = await content.push_image(REPOSITORY, "other", EMPTY, [b"new"])
    moved, deleted = await meet(
        content,
        hold("manifest.inserting"),
        put(content, "v1", new),
        content.manifests.delete(ALICE, REPOSITORY, sha256(old)),
    )
    assert (moved, deleted) == (sha256(new), None)
    assert await tagged(content, "v1") == sha256(new)
    with pytest.raises(ManifestUnknown):
        await content.pulls.manifest(REPOSITORY, sha256(old))


@pytest.mark.parametrize("first", ["tag", "index"])
async def test_a_child_loses_its_tag_while_its_index_is_pushed(
    content: Content, hold: Hold, first: str
) -> None:
    """Each alone would leave the image in the list; after both only the index is."""
    child = await content.push_image(REPOSITORY, "child", EMPTY, [b"child"])
    untag = content.manifests.delete_tag(ALICE, REPOSITORY, "child")
    push = put(content, "all", index([child]))
    if first == "tag":
        await meet(content, hold("delete.deleting"), untag, push)
    else:
        await meet(content, hold("manifest.inserting"), push, untag)
    listed = await Catalogue(content.db).artifacts(Query(), repository=REPOSITORY)
    assert [artifact.digest for artifact in listed.items] == [sha256(index([child]))]


async def test_a_signature_is_pushed_while_its_image_is_tagged_and_deleted(
    content: Content, hold: Hold
) -> None:
    """A tagged one stays, and is listed once its subject is gone."""
    signed = await content.push_image(REPOSITORY, "v1", EMPTY, [b"signed"])
    subject = {"mediaType": OCI_MANIFEST, "digest": sha256(signed), "size": len(signed)}
    signature = image(EMPTY, [], subject=subject)
    await put(content, "sig", signature)
    await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete(ALICE, REPOSITORY, sha256(signed)),
        put(content, "sig2", signature),
    )
    listed = await Catalogue(content.db).artifacts(Query(), repository=REPOSITORY)
    assert [artifact.digest for artifact in listed.items] == [sha256(signature)]


async def test_one_tag_is_deleted_twice(content: Content, hold: Hold) -> None:
    """The second one is told that it is gone."""
    await content.push_image(REPOSITORY, "v1")
    first, second = await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete_tag(ALICE, REPOSITORY, "v1"),
        content.manifests.delete_tag(ALICE, REPOSITORY, "v1"),
    )
    assert first is None
    assert isinstance(second, TagUnknown)


async def test_two_pushes_of_one_tag(content: Content, hold: Hold) -> None:
    """The one that was acknowledged last has it."""
    for data in (EMPTY, b"1", b"2"):
        await content.push_blob(REPOSITORY, data)
    one, two = image(EMPTY, [b"1"]), image(EMPTY, [b"2"])
    assert await meet(
        content, hold("manifest.inserting"), put(content, "v1", one), put(content, "v1", two)
    ) == [sha256(one), sha256(two)]
    assert await tagged(content, "v1") == sha256(two)
    await readable(content, one, b"1")


async def test_a_tag_is_pushed_while_its_old_image_is_restored(
    content: Content, hold: Hold
) -> None:
    """Only tags that nobody uses come back: the new one stays where it was put."""
    old = await content.push_image(REPOSITORY, "v1", EMPTY, [b"old"])
    await content.manifests.delete(ALICE, REPOSITORY, sha256(old))
    for data in (b"config", b"new"):
        await content.push_blob(REPOSITORY, data)
    new = image(b"config", [b"new"])
    pushed, restored = await meet(
        content,
        hold("manifest.inserting"),
        put(content, "v1", new),
        content.manifests.restore(ALICE, REPOSITORY, sha256(old)),
    )
    assert pushed == sha256(new)
    assert restored.tags == ()
    assert await tagged(content, "v1") == sha256(new)
    await readable(content, old, b"old")


# --- what refers to a manifest, and the manifest's delete


async def refers_to(content: Content, subject: bytes) -> bytes:
    """Push an untagged referrer; its bytes."""
    await content.push_blob(REPOSITORY, b"signature")
    referrer = image(b"signature", [], subject=described(subject))
    await put(content, sha256(referrer), referrer)
    return referrer


def described(payload: bytes) -> dict[str, Any]:
    media_type = "application/vnd.oci.image.manifest.v1+json"
    return {"mediaType": media_type, "digest": sha256(payload), "size": len(payload)}


@pytest.mark.parametrize("how", ["push", "add"])
async def test_a_referrer_is_tagged_while_its_subject_is_deleted(
    content: Content, hold: Hold, how: str
) -> None:
    """A tag that was acknowledged keeps it, as every tag does."""
    subject = await content.push_image(REPOSITORY, "v1")
    referrer = await refers_to(content, subject)
    delete_it = content.manifests.delete(ALICE, REPOSITORY, sha256(subject))
    if how == "push":
        named, deleted = await meet(
            content, hold("manifest.inserting"), put(content, "signed", referrer), delete_it
        )
        assert named == sha256(referrer)
    else:
        async with content.db.write() as tx:
            await tagging.add(tx, REPOSITORY, sha256(referrer), "signed", "alice")
            task = await begun(content.db, delete_it)
        deleted = await task
    assert deleted is None
    assert await tagged(content, "v1") is None
    assert await tagged(content, "signed") == sha256(referrer)
    await readable(content, referrer, b"signature")


async def test_an_index_names_a_referrer_while_its_subject_is_deleted(
    content: Content, hold: Hold
) -> None:
    """The index keeps it; the delete is no failure of the server."""
    subject = await content.push_image(REPOSITORY, "v1")
    referrer = await refers_to(content, subject)
    pushed, deleted = await meet(
        content,
        hold("manifest.inserting"),
        put(content, "index", index([referrer])),
        content.manifests.delete(ALICE, REPOSITORY, sha256(subject)),
    )
    assert (pushed, deleted) == (sha256(index([referrer])), None)
    await readable(content, referrer, b"signature")


async def test_an_index_names_a_manifest_while_it_is_deleted(content: Content, hold: Hold) -> None:
    """The index was first: the delete is refused."""
    child = await content.push_image(REPOSITORY, "v1")
    pushed, refused = await meet(
        content,
        hold("manifest.inserting"),
        put(content, "index", index([child])),
        content.manifests.delete(ALICE, REPOSITORY, sha256(child)),
    )
    assert pushed == sha256(index([child]))
    assert isinstance(refused, PreconditionFailed)
    await readable(content, child)


async def test_a_manifest_is_deleted_while_an_index_names_it(content: Content, hold: Hold) -> None:
    """The delete was first: the index is refused."""
    child = await content.push_image(REPOSITORY, "v1")
    deleted, refused = await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete(ALICE, REPOSITORY, sha256(child)),
        put(content, "index", index([child])),
    )
    assert deleted is None
    assert isinstance(refused, ManifestBlobUnknown)


# --- a whole repository, a whole project


@pytest.mark.parametrize("known", [True, False])
async def test_a_repository_is_deleted_while_something_is_pushed(
    content: Content, hold: Hold, known: bool
) -> None:
    """The delete was second: it takes along what was pushed, or nothing is hidden that is there."""
    payload = await content.push_image(REPOSITORY, "v1")
    other = payload if known else index([payload])
    pushed, deleted = await meet(
        content,
        hold("manifest.inserting"),
        put(content, "v2", other),
        content.manifests.delete_repository(ALICE, REPOSITORY),
    )
    assert (pushed, deleted) == (sha256(other), None)
    assert await tagged(content, "v1") is None
    assert await tagged(content, "v2") is None
    await collected(content)


async def test_something_is_pushed_while_a_repository_is_deleted(
    content: Content, hold: Hold
) -> None:
    """The push was second: the repository is there again, with nothing else in it."""
    payload = await content.push_image(REPOSITORY, "v1")
    deleted, pushed = await meet(
        content,
        hold("delete.deleting"),
        content.manifests.delete_repository(ALICE, REPOSITORY),
        put(content, "v2", payload),
    )
    assert (deleted, pushed) == (None, sha256(payload))
    assert (await Catalogue(content.db).repository(REPOSITORY)).artifact_count == 1
    assert (await tagged(content, "v1"), await tagged(content, "v2")) == (None, sha256(payload))
    await readable(content, payload, EMPTY)


@pytest.mark.parametrize("point", ["manifest.checked", "manifest.inserting"])
async def test_a_project_is_deleted_while_something_is_pushed(
    content: Content, hold: Hold, point: str
) -> None:
    """One of them is told that the other was first."""
    project_id = await content.project("mine")
    await content.push_blob("mine/a", EMPTY)
    pushed, refused = await meet(
        content,
        hold(point),
        put(content, "v1", image(EMPTY, []), "mine/a"),
        Projects(content.db).delete(ALICE, project_id),
    )
    if isinstance(refused, PreconditionFailed):
        assert pushed == sha256(image(EMPTY, []))
        assert await content.read_blob("mine/a", sha256(EMPTY)) == EMPTY
    else:
        assert refused is None
        assert isinstance(pushed, ProjectUnknown)
        assert point == "manifest.checked"


async def test_a_project_is_deleted_while_a_blob_is_mounted(content: Content, hold: Hold) -> None:
    """A blob alone keeps no project; the delete takes it along and is no failure of the server."""
    project_id = await content.project("mine")
    for place in (REPOSITORY, "mine/a"):
        await content.push_blob(place, b"layer")
    await content.push_blob("mine/b", b"other")
    mounted, deleted = await meet(
        content,
        hold("mount.inserting"),
        mount(content, "mine/b"),
        Projects(content.db).delete(ALICE, project_id),
    )
    assert mounted is not None
    assert deleted is None
    assert await content.read_blob(REPOSITORY, sha256(b"layer")) == b"layer"
    await collected(content)
