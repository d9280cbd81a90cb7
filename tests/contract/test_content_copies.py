"""Copies between repositories, alone and while others delete, collect, push or copy the same."""

import json

import pytest
from sqlalchemy import select, update
from tests.support.content import ALICE, Content, image, index, sha256
from tests.support.invariants import violations
from tests.support.races import EMPTY, REPOSITORY, Hold, collected, meet, put, tagged

from moorage.artifacts import copying
from moorage.artifacts.copying import Copies
from moorage.db import tables
from moorage.errors import (
    ManifestBlobUnknown,
    ManifestUnknown,
    NameInvalid,
    ProjectUnknown,
    QuotaExceeded,
    RepositoryUnknown,
    TooLarge,
)

pytestmark = pytest.mark.anyio

TARGET = "other/b"


@pytest.fixture
async def content(racing: Content) -> Content:
    """Two projects; leases are over at once, the trash keeps."""
    await racing.project("other")
    return racing


async def copy(content: Content, reference: str = "v1", target: str = TARGET) -> str:
    """Copy from REPOSITORY; the digest."""
    return await Copies(content.db, content.rules).copy(ALICE, REPOSITORY, reference, target)


async def whole(content: Content, payload: bytes, *blobs: bytes) -> None:
    """It is in the target, with all its bytes."""
    assert (await content.pulls.manifest(TARGET, sha256(payload))).payload == payload
    for data in blobs:
        assert await content.read_blob(TARGET, sha256(data)) == data


def naming(subject: bytes, note: bytes, **more: str) -> bytes:
    """A manifest that names a subject."""
    media_type = json.loads(subject)["mediaType"]
    named = {"mediaType": media_type, "digest": sha256(subject), "size": len(subject)}
    return image(EMPTY, [note], subject=named, **more)


async def push_tree(content: Content) -> dict[str, bytes]:
    """A multi-platform image with everything that hangs onto such a one."""
    found = {"amd64": await content.push_image(REPOSITORY, "amd64", EMPTY, [b"a"])}
    found["arm64"] = await content.push_image(REPOSITORY, "arm64", EMPTY, [b"b"])
    found["index"] = index([found["amd64"], found["arm64"]])
    await put(content, "v1", found["index"])
    await put(content, "latest", found["index"])
    for note in (b"signature", b"bom", b"signed bom", b"old"):
        await content.push_blob(REPOSITORY, note)
    found["signature"] = naming(found["index"], b"signature")
    found["bom"] = naming(found["arm64"], b"bom")
    found["signed bom"] = naming(found["bom"], b"signed bom")
    for name in ("signature", "bom", "signed bom"):
        await put(content, sha256(found[name]), found[name])
    found["tied"] = image(EMPTY, [b"old"])
    await put(content, sha256(found["index"]).replace(":", "-") + ".sig", found["tied"])
    await content.push_image(REPOSITORY, "stranger", EMPTY, [b"not of it"])
    return found


async def test_all_that_belongs_to_an_artifact_comes_along(content: Content) -> None:
    """Children, what is attached at every depth, all tags; no bytes are written."""
    tree = await push_tree(content)
    before = await content.keys()
    assert await copy(content) == sha256(tree["index"])
    for payload in tree.values():
        await whole(content, payload)
    await whole(content, tree["index"], b"a", b"b", b"signature", b"bom", b"signed bom", b"old")
    tied = sha256(tree["index"]).replace(":", "-") + ".sig"
    tags = await content.listing.tags(TARGET, last=None, limit=None)
    assert tags == sorted(["amd64", "arm64", "v1", "latest", tied])
    assert await content.keys() == before
    assert await violations(content) == []
    assert await copy(content) == sha256(tree["index"])  # again, to no effect
    assert await violations(content) == []
    await content.manifests.delete_repository(ALICE, REPOSITORY)
    await content.collect()
    await whole(content, tree["index"], b"a", b"b", b"signature", b"bom", b"signed bom", b"old")
    await content.manifests.delete_repository(ALICE, TARGET)
    await collected(content)


async def test_a_child_alone_is_copied_without_its_index(content: Content) -> None:
    """By its digest."""
    tree = await push_tree(content)
    assert await copy(content, sha256(tree["arm64"])) == sha256(tree["arm64"])
    await whole(content, tree["arm64"], b"b")
    await whole(content, tree["signed bom"], b"signed bom")
    for absent in ("amd64", "index", "signature"):
        assert await tagged(content, sha256(tree[absent]), TARGET) is None


async def test_within_its_own_repository_nothing_changes(content: Content) -> None:
    """And it is no error."""
    tree = await push_tree(content)
    assert await copy(content, "v1", REPOSITORY) == sha256(tree["index"])
    assert await violations(content) == []


async def test_an_accessory_that_is_an_index_of_its_subject(content: Content) -> None:
    """Each wants the other to be there first; both are stored, and the tags come last."""
    subject = await content.push_image(REPOSITORY, "v1", EMPTY, [b"layer"])
    media_type = json.loads(subject)["mediaType"]
    named = {"mediaType": media_type, "digest": sha256(subject), "size": len(subject)}
    around = index([subject], subject=named)
    await put(content, sha256(around), around)
    await copy(content)
    await whole(content, around)
    assert await tagged(content, "v1", TARGET) == sha256(subject)


async def test_what_cannot_be_copied_is_refused(content: Content) -> None:
    """And leaves no repository in the lists."""
    payload = await content.push_image(REPOSITORY, "v1", EMPTY, [b"layer"])
    for error, work in (
        (ManifestUnknown, copy(content, "v9")),
        (ManifestUnknown, copy(content, "sha256:" + "0" * 64)),
        (ProjectUnknown, copy(content, target="nowhere/b")),
        (NameInvalid, copy(content, target="other/B")),
        (
            RepositoryUnknown,
            Copies(content.db, content.rules).copy(ALICE, "library/no", "v1", TARGET),
        ),
    ):
        with pytest.raises(error):
            await work
    async with content.db.write() as tx:
        damaged = tables.blobs.c.digest == sha256(b"layer")
        await tx.execute(update(tables.blobs).where(damaged).values(state="suspect"))
    with pytest.raises(ManifestBlobUnknown):
        await copy(content)
    assert await tagged(content, sha256(payload), TARGET) is None
    assert await content.listing.repositories(last=None, limit=10) == [REPOSITORY]
    async with content.db.write() as tx:
        await tx.execute(update(tables.blobs).values(state="live"))


async def test_no_more_is_copied_at_once_than_the_limit(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody who may push may have hung a lot onto an image."""
    await push_tree(content)
    monkeypatch.setattr(copying, "MAX_MANIFESTS", 6)
    with pytest.raises(TooLarge):
        await copy(content)
    monkeypatch.setattr(copying, "MAX_MANIFESTS", 7)
    monkeypatch.setattr(copying, "MAX_REFERENCES", 1)
    with pytest.raises(TooLarge):
        await copy(content)
    monkeypatch.setattr(copying, "MAX_REFERENCES", 2)
    monkeypatch.setattr(copying, "MAX_LEVELS", 3)
    with pytest.raises(TooLarge):
        await copy(content)
    monkeypatch.setattr(copying, "MAX_LEVELS", 4)
    await copy(content)


async def test_a_copy_counts_in_the_quota_of_its_target(content: Content) -> None:
    """What does not fit is not there by name, and somebody hears of it."""
    await push_tree(content)
    await copy(content)
    project = select(tables.projects.c.id).where(tables.projects.c.name == "other")
    project_id = await content.scalar(project)
    used = await content.used(project_id)
    assert used > 0
    await content.manifests.delete_repository(ALICE, TARGET)
    assert await content.used(project_id) == 0
    async with content.db.write() as tx:
        await tx.execute(
            update(tables.quotas)
            .where(tables.quotas.c.project_id == project_id)
            .values(hard=used - 1)
        )
    with pytest.raises(QuotaExceeded):
        await copy(content)
    assert await tagged(content, "v1", TARGET) is None
    assert await violations(content) == []
    refused = select(tables.outbox.c.type).where(tables.outbox.c.type.contains("Quota"))
    async with content.db.read() as tx:
        assert (await tx.execute(refused)).scalars().all()


# --- while others are at it


@pytest.mark.parametrize("point", ["manifest.checked", "manifest.inserting"])
async def test_the_source_is_deleted_and_collected_while_it_is_copied(
    content: Content, hold: Hold, point: str
) -> None:
    """What the copy has locked it keeps."""
    payload = await content.push_image(REPOSITORY, "v1", EMPTY, [b"layer"])

    async def delete() -> None:
        await content.manifests.delete_repository(ALICE, REPOSITORY)
        await content.collect()

    copied, deleted = await meet(content, hold(point), copy(content), delete())
    assert (copied, deleted) == (sha256(payload), None)
    await content.collect()
    await whole(content, payload, EMPTY, b"layer")
    assert await tagged(content, "v1", TARGET) == sha256(payload)


async def test_the_source_is_gone_between_two_manifests(content: Content, hold: Hold) -> None:
    """The copy ends with an error, and no tag names half of an image."""
    await push_tree(content)

    async def delete() -> None:
        await content.manifests.delete_repository(ALICE, REPOSITORY)
        await content.collect()

    copied, deleted = await meet(content, hold("manifest.committed"), copy(content), delete())
    assert isinstance(copied, ManifestUnknown)
    assert deleted is None
    assert await tagged(content, "v1", TARGET) is None
    assert await violations(content) == []


async def test_a_layer_is_collected_before_it_is_linked(content: Content, hold: Hold) -> None:
    """The plan is made, the source is deleted with its bytes: NotFound, and nothing is left."""
    child = await content.push_image(REPOSITORY, "child", EMPTY, [b"layer"])
    await put(content, "v1", index([child]))
    held = hold("manifest.committed")

    async def delete() -> None:
        await content.manifests.delete_repository(ALICE, REPOSITORY)
        await content.manifests.delete_repository(ALICE, TARGET)
        await content.collect()

    copied, deleted = await meet(content, held, copy(content), delete())
    assert isinstance(copied, ManifestUnknown)
    assert deleted is None
    await collected(content)


async def test_two_copies_of_the_same_meet(content: Content, hold: Hold) -> None:
    """Both find it done."""
    tree = await push_tree(content)
    one, two = await meet(content, hold("manifest.inserting"), copy(content), copy(content))
    assert one == two == sha256(tree["index"])
    await whole(content, tree["index"], b"a", b"b")


async def test_the_target_is_deleted_between_two_manifests(content: Content, hold: Hold) -> None:
    """Its child is missing then: the copy says so, and a second one succeeds."""
    child = await content.push_image(REPOSITORY, "child", EMPTY, [b"layer"])
    await put(content, "v1", index([child]))
    copied, deleted = await meet(
        content,
        hold("manifest.committed"),
        copy(content),
        content.manifests.delete_repository(ALICE, TARGET),
    )
    assert isinstance(copied, ManifestBlobUnknown)
    assert deleted is None
    assert await violations(content) == []
    await copy(content)
    await whole(content, child, EMPTY, b"layer")


async def test_a_copy_waits_for_the_collector(content: Content, hold: Hold) -> None:
    """It looks at a layer of a deleted image that is copied from elsewhere at that moment."""
    payload = await content.push_image(REPOSITORY, "v1", EMPTY, [b"layer"])
    await content.push_image("library/c", "v1", EMPTY, [b"layer"])
    await content.manifests.delete_repository(ALICE, "library/c")
    _, copied = await meet(
        content,
        hold("gc.locked"),
        content.collector.run_once(ignore_review=True),
        copy(content),
    )
    assert copied == sha256(payload)
    await content.collect()
    await whole(content, payload, EMPTY, b"layer")
