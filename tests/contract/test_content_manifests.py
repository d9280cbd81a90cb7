"""Pushing, deleting and restoring manifests, on both databases."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import func, literal, select
from tests.support.content import ALICE, CONFIG, Content, image, index, sha256

from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import LocalCache
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.queries import Exact, Query
from moorage.db.types import from_now
from moorage.errors import (
    BlobUnknown,
    Conflict,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    PreconditionFailed,
    QuotaExceeded,
    RepositoryUnknown,
    SizeInvalid,
    TagUnknown,
)
from moorage.oci import media_types
from moorage.projects import quota
from moorage.projects.quota import Quotas

pytestmark = pytest.mark.anyio


@pytest.fixture
async def content(database: Database) -> AsyncIterator[Content]:
    cache = LocalCache(SystemClock(), entries=1000, size=1 << 20, expire_seconds=3600)
    made = Content(database, MemoryStore(), Rules(lease=0, drain=0, trash=3600), cache)
    await made.project("library")
    yield made
    await cache.close()


async def put(
    content: Content, reference: str, payload: bytes, repository: str = "library/a"
) -> str:
    pushed = await content.manifests.put(ALICE, repository, reference, payload, "")
    return pushed.digest


async def test_an_image_is_pulled_by_tag_and_by_digest(content: Content) -> None:
    """The very bytes come back."""
    manifest = await content.push_image("library/a", "v1")
    for reference in ("v1", sha256(manifest)):
        assert (await content.pulls.manifest("library/a", reference)).payload == manifest


async def test_a_moved_tag_is_seen_at_once(content: Content) -> None:
    """Also by a reader whose cache held the old one."""
    await content.push_image("library/a", "v1", config=b"1")
    await content.pulls.manifest("library/a", "v1")
    newer = await content.push_image("library/a", "v1", config=b"2")
    assert (await content.pulls.manifest("library/a", "v1")).payload == newer


async def test_several_tags_in_one_push(content: Content) -> None:
    """By digest with tag parameters."""
    manifest = await content.push_image("library/a", "v1")
    pushed = await content.manifests.put(
        ALICE, "library/a", sha256(manifest), manifest, "", tags=["x", "y"]
    )
    assert pushed.tags == ("x", "y")
    assert await content.listing.tags("library/a", last=None, limit=None) == ["v1", "x", "y"]


async def test_missing_content_is_named(content: Content) -> None:
    """The manifest is refused and the digest that lacks is in the detail."""
    await content.push_blob("library/a", b"{}")
    with pytest.raises(ManifestBlobUnknown) as refused:
        await put(content, "v1", image(b"{}", [b"absent"]))
    assert refused.value.detail == [{"digest": sha256(b"absent")}]


async def test_content_of_another_repository_does_not_count(content: Content) -> None:
    """It has to be pushed or mounted first."""
    await content.push_blob("library/b", b"layer")
    await content.push_blob("library/a", b"{}")
    with pytest.raises(ManifestBlobUnknown):
        await put(content, "v1", image(b"{}", [b"layer"]))


async def test_a_descriptor_that_lies_about_a_size_is_refused(content: Content) -> None:
    """The quota cannot be cheated that way."""
    await content.push_blob("library/a", b"{}")
    document = json.loads(image(b"{}", []))
    document["config"]["size"] = 1
    with pytest.raises(SizeInvalid):
        await put(content, "v1", json.dumps(document).encode())


async def test_a_digest_that_does_not_match_is_refused(content: Content) -> None:
    """Nothing is stored under it."""
    await content.push_blob("library/a", b"{}")
    with pytest.raises(DigestInvalid):
        await put(content, sha256(b"other"), image(b"{}", []))


async def test_a_foreign_layer_may_be_absent(content: Content) -> None:
    """Its bytes live elsewhere."""
    await content.push_blob("library/a", b"{}")
    document = json.loads(image(b"{}", [b"elsewhere"]))
    document["layers"][0]["mediaType"] = next(iter(media_types.FOREIGN_LAYERS))
    assert await put(content, "v1", json.dumps(document).encode())


async def test_an_index_holds_its_children(content: Content) -> None:
    """They cannot be deleted before it."""
    child = await content.push_image("library/a", "v1")
    parent = index([child])
    await put(content, "multi", parent)
    with pytest.raises(PreconditionFailed):
        await content.manifests.delete(ALICE, "library/a", sha256(child))
    await content.manifests.delete(ALICE, "library/a", sha256(parent))
    await content.manifests.delete(ALICE, "library/a", sha256(child))


async def test_an_index_needs_its_children(content: Content) -> None:
    """In this repository."""
    child = await content.push_image("library/b", "v1")
    with pytest.raises(ManifestBlobUnknown):
        await put(content, "multi", index([child]))


async def test_indexes_nest_only_so_deep(content: Content) -> None:
    """Five levels are stored, six are refused.

    zot 4318.
    """
    document = await content.push_image("library/a", "v1")
    for level in range(5):
        document = index([document])
        await put(content, f"level{level}", document)
    with pytest.raises(ManifestInvalid):
        await put(content, "toodeep", index([document]))


async def test_an_index_may_name_blobs(content: Content) -> None:
    """Build caches list layers in an index; they are held like any layer."""
    await content.push_blob("library/a", b"cached")
    entry = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
    entry |= {"digest": sha256(b"cached"), "size": 6}  # type: ignore[dict-item]
    await put(content, "cache", index([], manifests=[entry]))
    await content.collect()
    assert await content.read_blob("library/a", sha256(b"cached")) == b"cached"


async def test_referrers_are_listed_and_filtered(content: Content) -> None:
    """Also before their subject exists."""
    subject = image(b"{}", [b"layer"])
    await content.push_blob("library/a", b"sig")
    await content.push_blob("library/a", b"{}")
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": sha256(subject), "size": len(subject)}
    signature = image(b"{}", [b"sig"], subject=entry, artifactType="a/sig")
    other = image(b"{}", [], subject=entry, annotations={"k": "v"})
    pushed = await content.manifests.put(ALICE, "library/a", sha256(signature), signature, "")
    assert pushed.subject == sha256(subject)
    await put(content, sha256(other), other)

    async def listed(kind: str | None) -> dict[str, str]:
        found, last = await content.manifests.referrers(
            "library/a", sha256(subject), artifact_type=kind, after=None, limit=100, room=10_000
        )
        assert last is None
        return {entry.digest: entry.artifact_type for entry in found}

    assert await listed(None) == {sha256(signature): "a/sig", sha256(other): CONFIG}
    assert await listed("a/sig") == {sha256(signature): "a/sig"}
    assert await listed("none") == {}


async def test_referrers_are_read_as_far_as_there_is_room(content: Content) -> None:
    """Large ones one by one, each page at least one; what is left over is told of."""
    await content.push_blob("library/a", b"{}")
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": sha256(b"subject"), "size": 7}
    pushed = set()
    for number in range(5):
        fat = {"fat": "x" * 1000, "number": str(number)}
        manifest = image(b"{}", [], subject=entry, annotations=fat)
        pushed.add(sha256(manifest))
        await put(content, sha256(manifest), manifest)

    async def pages(limit: int, room: int) -> list[int]:
        counts: list[int] = []
        seen: list[str] = []
        last: str | None = None
        while not counts or last is not None:
            found, last = await content.manifests.referrers(
                "library/a",
                sha256(b"subject"),
                artifact_type=None,
                after=last,
                limit=limit,
                room=room,
            )
            counts.append(len(found))
            seen += [referrer.digest for referrer in found]
        assert seen == sorted(pushed)
        return counts

    assert await pages(100, 100_000) == [5]
    assert await pages(2, 100_000) == [2, 2, 1]
    assert await pages(100, 3500) == [2, 2, 1]
    assert await pages(100, 1) == [1, 1, 1, 1, 1]


async def test_a_subject_takes_its_untagged_referrers_with_it(content: Content) -> None:
    """A signature of a signature goes too; what has a tag of its own stays."""
    subject = await content.push_image("library/a", "v1")

    def about(manifest: bytes, config: bytes) -> bytes:
        entry = {"mediaType": media_types.OCI_MANIFEST, "digest": sha256(manifest)}
        return image(config, [], subject=entry | {"size": len(manifest)})

    for config in (b"s1", b"s2", b"s3"):
        await content.push_blob("library/a", config)
    signature = about(subject, b"s1")
    countersigned = about(signature, b"s2")
    kept = about(subject, b"s3")
    for reference, manifest in ((None, signature), (None, countersigned), ("mine", kept)):
        await put(content, reference or sha256(manifest), manifest)
    await content.manifests.delete(ALICE, "library/a", sha256(subject))
    for manifest in (signature, countersigned):
        with pytest.raises(ManifestUnknown):
            await content.pulls.manifest("library/a", sha256(manifest))
    assert (await content.pulls.manifest("library/a", "mine")).payload == kept


async def test_a_deleted_manifest_is_gone_at_once_and_its_bytes_later(content: Content) -> None:
    """The quota falls with the delete; the collector frees the rest."""
    project_id = await content.project("mine")
    manifest = await content.push_image("mine/a", "v1", layers=[b"12345"])
    await content.pulls.manifest("mine/a", "v1")
    assert await content.used(project_id) == len(manifest) + 7
    await content.manifests.delete(ALICE, "mine/a", sha256(manifest))
    for reference in ("v1", sha256(manifest)):
        with pytest.raises(ManifestUnknown):
            await content.pulls.manifest("mine/a", reference)
    assert await content.used(project_id) == 0
    await content.collector.run_once()
    with pytest.raises(BlobUnknown):
        await content.read_blob("mine/a", sha256(b"12345"))


async def test_what_is_deleted_is_gone_for_those_who_have_just_read_it(content: Content) -> None:
    """By tag and by digest, the manifest and then its blobs: no cache keeps what is gone."""
    manifest = await content.push_image("library/a", "v1", layers=[b"layer"])
    digest, layer = sha256(manifest), sha256(b"layer")

    async def read(*references: str) -> None:
        for reference in references:
            await content.pulls.manifest("library/a", reference)
        await content.read_blob("library/a", layer)
        await content.read_blob("library/a", sha256(b"{}"))

    await read("v1", digest)
    await content.manifests.delete_tag(ALICE, "library/a", "v1")
    await read(digest)
    with pytest.raises(ManifestUnknown):
        await content.pulls.manifest("library/a", "v1")
    await content.manifests.delete(ALICE, "library/a", digest)
    await read()
    with pytest.raises(ManifestUnknown):
        await content.pulls.manifest("library/a", digest)
    await content.uploads.delete_blob(ALICE, "library/a", layer)
    await content.collector.run_once()
    for gone in (layer, sha256(b"{}")):
        with pytest.raises(BlobUnknown):
            await content.pulls.blob("library/a", gone)


async def test_a_layer_that_another_image_needs_stays(content: Content) -> None:
    """Counted once, and kept until the last one goes."""
    project_id = await content.project("mine")
    first = await content.push_image("mine/a", "v1", config=b"1", layers=[b"shared"])
    second = await content.push_image("mine/b", "v1", config=b"2", layers=[b"shared"])
    await content.manifests.delete(ALICE, "mine/a", sha256(first))
    assert await content.used(project_id) == len(second) + 7
    await content.collector.run_once()
    assert await content.read_blob("mine/b", sha256(b"shared")) == b"shared"


async def test_parallel_deletes_leave_no_quota_behind(content: Content) -> None:
    """Two images that share a layer, deleted at the same moment."""
    project_id = await content.project("mine")
    images = [
        await content.push_image(f"mine/r{i}", "v1", config=b"%d" % i, layers=[b"shared"])
        for i in range(6)
    ]
    await asyncio.gather(
        *(
            content.manifests.delete(ALICE, f"mine/r{i}", sha256(manifest))
            for i, manifest in enumerate(images)
        )
    )
    assert await content.used(project_id) == 0


async def test_a_deleted_tag_leaves_its_manifest(content: Content) -> None:
    """Reachable by digest and by other tags."""
    manifest = await content.push_image("library/a", "v1")
    await content.manifests.add_tag(ALICE, "library/a", sha256(manifest), "v2")
    await content.manifests.delete_tag(ALICE, "library/a", "v1")
    with pytest.raises(ManifestUnknown):
        await content.pulls.manifest("library/a", "v1")
    assert (await content.pulls.manifest("library/a", "v2")).payload == manifest
    with pytest.raises(TagUnknown):
        await content.manifests.delete_tag(ALICE, "library/a", "v1")


async def test_a_tag_is_made_once(content: Content) -> None:
    """Of many that make it at the same moment one does, and the others change nothing."""
    images = [await content.push_image("library/a", f"v{i}", config=b"%d" % i) for i in range(6)]
    answers = await asyncio.gather(
        *(
            content.manifests.add_tag(ALICE, "library/a", sha256(manifest), "stable")
            for manifest in images
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Conflict) for answer in answers) == len(images) - 1
    (made,) = (image for image, answer in zip(images, answers, strict=True) if answer is None)
    assert (await content.pulls.manifest("library/a", "stable")).payload == made


async def test_a_tag_needs_a_manifest(content: Content) -> None:
    """One of this repository."""
    await content.push_image("library/a", "v1")
    other = await content.push_image("library/b", "v1", config=b"other")
    with pytest.raises(ManifestUnknown):
        await content.manifests.add_tag(ALICE, "library/a", sha256(other), "v2")


async def test_a_deleted_image_comes_back_with_its_free_tags(content: Content) -> None:
    """After the collector has been, as long as the bytes are in the trash."""
    manifest = await content.push_image("library/a", "v1", layers=[b"12345"])
    await content.manifests.add_tag(ALICE, "library/a", sha256(manifest), "taken")
    await content.manifests.delete(ALICE, "library/a", sha256(manifest))
    await content.push_image("library/a", "taken", config=b"new")
    await content.collector.run_once()
    restored = await content.manifests.restore(ALICE, "library/a", sha256(manifest))
    assert restored.tags == ("v1",)
    assert (await content.pulls.manifest("library/a", "v1")).payload == manifest
    assert await content.read_blob("library/a", sha256(b"12345")) == b"12345"


async def test_a_deleted_index_comes_back_with_its_children(content: Content) -> None:
    """All of them were deleted."""
    child = await content.push_image("library/a", "v1")
    parent = index([child])
    await put(content, "multi", parent)
    await content.manifests.delete(ALICE, "library/a", sha256(parent))
    await content.manifests.delete(ALICE, "library/a", sha256(child))
    await content.collector.run_once()
    await content.manifests.restore(ALICE, "library/a", sha256(parent))
    assert (await content.pulls.manifest("library/a", "multi")).payload == parent
    assert (await content.pulls.manifest("library/a", "v1")).payload == child


@pytest.mark.parametrize("why", ["sparse manifests", "proxy cache"])
async def test_an_index_comes_back_without_children_that_were_never_here(
    content: Content, why: str
) -> None:
    """As it was: where such an index may be stored, its delete is no more final than others."""
    sparse = Content(content.db, content.store, replace(content.rules, sparse=True))
    child = await content.push_image("library/a", "v1")
    parent = index([child, image(b"{}", [b"elsewhere"])])
    await put(sparse, "multi", parent)
    for gone in (parent, child):
        await content.manifests.delete(ALICE, "library/a", sha256(gone))
    with pytest.raises(ManifestUnknown):
        await content.manifests.restore(ALICE, "library/a", sha256(parent))
    if why == "proxy cache":
        async with content.db.write() as tx:
            registry = {"id": 1, "name": "hub", "kind": "docker-hub", "url": "https://hub.test"}
            await tx.execute(tables.registries.insert().values(registry))
            await tx.execute(
                tables.project_registries.insert().from_select(
                    ["project_id", "registry_id"],
                    select(tables.projects.c.id, literal(1)).where(
                        tables.projects.c.name == "library"
                    ),
                )
            )
        sparse = content
    await sparse.manifests.restore(ALICE, "library/a", sha256(parent))
    assert (await content.pulls.manifest("library/a", "multi")).payload == parent
    assert (await content.pulls.manifest("library/a", "v1")).payload == child


async def test_a_restore_brings_only_back_what_was_held_here(content: Content) -> None:
    """A layer that a manifest merely names may be a stranger's: undelete does not share it."""
    await content.push_image("library/private", "v1", layers=[b"secret"])
    await content.push_blob("library/a", b"{}")
    document = json.loads(image(b"{}", [b"secret"]))
    document["layers"][0]["urls"] = ["https://example.com/layer"]
    manifest = json.dumps(document).encode()
    await put(content, "v1", manifest)
    await content.manifests.delete(ALICE, "library/a", sha256(manifest))
    await content.manifests.restore(ALICE, "library/a", sha256(manifest))
    assert (await content.pulls.manifest("library/a", "v1")).payload == manifest
    with pytest.raises(BlobUnknown):
        await content.read_blob("library/a", sha256(b"secret"))
    assert await content.read_blob("library/private", sha256(b"secret")) == b"secret"


async def test_a_foreign_layer_that_was_held_comes_back(content: Content) -> None:
    """Somebody pushed it here all the same, so it is this repository's."""
    for blob in (b"{}", b"here"):
        await content.push_blob("library/a", blob)
    document = json.loads(image(b"{}", [b"here"]))
    document["layers"][0]["urls"] = ["https://example.com/layer"]
    manifest = json.dumps(document).encode()
    await put(content, "v1", manifest)
    await content.manifests.delete(ALICE, "library/a", sha256(manifest))
    async with content.db.write() as tx:
        await tx.execute(tables.repository_blobs.update().values(lease_until=from_now(-1)))
    assert (await content.collector.run_once(ignore_review=True)).blobs == 2
    await content.manifests.restore(ALICE, "library/a", sha256(manifest))
    assert await content.read_blob("library/a", sha256(b"here")) == b"here"


async def test_what_was_swept_cannot_come_back(content: Content) -> None:
    """And says so, changing nothing."""
    manifest = await content.push_image("library/a", "v1")
    await content.manifests.delete(ALICE, "library/a", sha256(manifest))
    await content.collector.run_once()
    async with content.db.write() as tx:
        await tx.execute(tables.blob_trash.delete())
    with pytest.raises(ManifestBlobUnknown):
        await content.manifests.restore(ALICE, "library/a", sha256(manifest))
    with pytest.raises(ManifestUnknown):
        await content.pulls.manifest("library/a", "v1")


async def test_a_deleted_repository_is_not_listed(content: Content) -> None:
    """It takes everything with it and can be pushed to again."""
    await content.push_image("library/a", "v1")
    await content.push_image("library/b", "v1")
    await content.manifests.delete_repository(ALICE, "library/a")
    assert await content.listing.repositories(last=None, limit=10) == ["library/b"]
    with pytest.raises(RepositoryUnknown):
        await content.pulls.manifest("library/a", "v1")
    await content.push_image("library/a", "v2")
    assert await content.listing.tags("library/a", last=None, limit=10) == ["v2"]


async def test_a_manifest_that_does_not_fit_the_quota_is_refused(content: Content) -> None:
    """The blobs fit, the manifest no more; the tag does not appear."""
    project_id = await content.project("small", hard=20)
    for data in (b"{}", b"layer"):
        await content.push_blob("small/a", data)
    with pytest.raises(QuotaExceeded):
        await put(content, "v1", image(b"{}", [b"layer"]), "small/a")
    assert await content.used(project_id) == 7
    with pytest.raises(RepositoryUnknown):
        await content.pulls.resolve("small/a", "v1")


async def test_pulls_are_counted_in_batches(content: Content) -> None:
    """On the manifest and on the repository."""
    await content.push_image("library/a", "v1")
    manifest = await content.pulls.manifest("library/a", "v1")
    for _ in range(3):
        content.pulls.count(manifest.resolved, "v1", ALICE)
    assert await content.counts.flush() == 3
    assert await content.counts.flush() == 0
    assert await content.scalar(select(tables.manifests.c.pull_count)) == 3
    assert await content.scalar(select(tables.repositories.c.pull_count)) == 3


async def test_what_is_pushed_again_after_its_manifest_is_gone_counts_again(
    content: Content,
) -> None:
    """Until its lease is over and the collector has been, or until a manifest names it."""
    project_id = await content.project("mine")
    manifest = await content.push_image("mine/a", "v1", layers=[b"12345"])
    await content.manifests.delete(ALICE, "mine/a", sha256(manifest))
    await content.push_blob("mine/a", b"12345")
    assert await content.used(project_id) == 5
    await content.collect()
    assert await content.used(project_id) == 0


async def test_an_emptied_trash_frees_the_space_at_once(content: Content) -> None:
    """And nothing in it can come back."""
    manifest = await content.push_image("library/a", "v1")
    await content.manifests.delete(ALICE, "library/a", sha256(manifest))
    await content.collect()
    assert await content.keys()
    await content.sweeper.empty()
    await content.collect()
    assert await content.keys() == set()
    with pytest.raises(ManifestUnknown):
        await content.manifests.restore(ALICE, "library/a", sha256(manifest))


async def test_a_project_that_is_nearly_full_is_told_once(content: Content) -> None:
    """By the push that crosses it; again after it was less full, or has another limit."""
    project_id = await content.project("small", hard=1000)
    quotas = Quotas(content.db)

    async def warnings() -> list[tuple[int, int]]:
        query = select(tables.outbox.c.payload).where(tables.outbox.c.type == "QuotaWarned")
        async with content.db.read() as tx:
            found = (await tx.execute(query.order_by(tables.outbox.c.id))).scalars().all()
        return [(fact["used"], fact["hard"]) for fact in found]

    await content.push_blob("small/app", b"x" * 849)
    assert await warnings() == []
    await content.push_blob("small/app", b"y")
    assert await warnings() == [(850, 1000)]
    await content.push_blob("small/app", b"zz")
    assert len(await warnings()) == 1
    with pytest.raises(QuotaExceeded):
        await content.push_blob("small/app", b"w" * 500)
    assert len(await warnings()) == 1
    (row,) = (await quotas.list(Query(filters={"reference_id": Exact(str(project_id))}))).items
    await quotas.set_hard(ALICE, row.id, 2000)
    await content.push_blob("small/app", b"v" * 700)
    assert len(await warnings()) == 1
    await content.push_blob("small/app", b"u" * 200)
    assert (await warnings())[1:] == [(1752, 2000)]
    async with content.db.write() as tx:
        await quota.release(tx, project_id, [sha256(b"v" * 700)])
    await content.push_blob("small/app", b"t" * 700)
    assert (await warnings())[2:] == [(1752, 2000)]
    await quotas.set_hard(ALICE, row.id, -1)
    await content.push_blob("small/app", b"s" * 5000)
    assert len(await warnings()) == 3


async def test_pushes_at_once_tell_it_once(content: Content) -> None:
    """The row that they share is locked by the one that counts."""
    await content.project("small", hard=1000)
    await asyncio.gather(
        *(content.push_blob("small/app", bytes([n]) * 95) for n in range(10)),
    )
    query = select(func.count()).select_from(tables.outbox)
    assert await content.scalar(query.where(tables.outbox.c.type == "QuotaWarned")) == 1
