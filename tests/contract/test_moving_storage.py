"""Taking over another registry's storage in place, on a folder as distribution leaves it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.support.content import ALICE, Content, image, index, sha256
from tests.support.databases import count
from tests.support.invariants import violations
from tests.support.legacy import Legacy, many
from tests.support.moving import quiet

from moorage import failpoints
from moorage.access.principals import Principal
from moorage.artifacts import adopted
from moorage.artifacts.rules import Rules
from moorage.blobstore.filesystem import FilesystemStore
from moorage.db import Database, tables
from moorage.db.types import now
from moorage.moving.storage.adoption import PHASES, Adoption, Options
from moorage.moving.storage.inventory import Inventory
from moorage.moving.storage.report import Report
from moorage.oci import media_types
from moorage.projects.projects import Projects

pytestmark = pytest.mark.anyio

RULES = Rules(lease=0, drain=0, trash=0)


@pytest.fixture
def legacy(tmp_path: Path) -> Legacy:
    """A folder of an old registry."""
    return Legacy(tmp_path / "registry")


@pytest.fixture
async def content(database: Database, tmp_path: Path) -> AsyncIterator[Content]:
    """An installation whose storage that folder is."""
    made = Content(database, FilesystemStore(tmp_path / "registry"), RULES)
    await made.project("library")
    yield made
    await made.store.close()


async def imported(
    content: Content, folder: Path, *phases: str, source: Any = None, **options: Any
) -> Report:
    """Take over; everything unless phases are given."""
    inventory = Inventory(folder)
    operator = Principal("user", 1, "alice", sysadmin=True)
    try:
        run = Adoption(
            content.db,
            source or content.store,
            content.store,
            inventory,
            Projects(content.db),
            operator,
            Options(**options),
            quiet,
        )
        return await run.run(phases or PHASES)
    finally:
        inventory.close()


async def check_tags(content: Content, legacy: Legacy, prefix: str = "") -> None:
    """Every tag pulls byte for byte."""
    for (repository, tag), payload in legacy.tags.items():
        found = await content.pulls.manifest(prefix + repository, tag)
        assert found.payload == payload
        document = json.loads(payload)
        for child in [*document.get("layers", []), *filter(None, [document.get("config")])]:
            data = await content.read_blob(prefix + repository, child["digest"])
            assert sha256(data) == child["digest"]


async def missing_only_links(content: Content) -> list[str]:
    """What is wrong, but for the old registry's own files."""
    return [
        line for line in await violations(content) if "no row names the object docker" not in line
    ]


async def test_everything_is_taken_over(content: Content, legacy: Legacy, tmp_path: Path) -> None:
    """Images, indexes, signatures; projects are made; a second run finds it all there."""
    first, second = (legacy.image("library/app", seed, seed) for seed in ("one", "two"))
    legacy.manifest("library/app", index([first, second]), "all")
    signature = image(b"{}", [b"signature"], subject={
        "mediaType": media_types.OCI_MANIFEST, "digest": sha256(first), "size": len(first),
    })  # fmt: skip
    for blob in (b"{}", b"signature"):
        legacy.blob(blob)
    legacy.manifest("library/app", signature)
    legacy.image("team/deep/er/app", "three", "v1")
    before = {path: path.read_bytes() for path in (tmp_path / "registry").rglob("link")}
    report = await imported(content, tmp_path)
    assert (report.projects, report.manifests, report.tags, report.verified) == (1, 5, 4, 4)
    assert report.problems == report.repairs == []
    await check_tags(content, legacy)
    assert await missing_only_links(content) == []
    found, _ = await content.manifests.referrers(
        "library/app", sha256(first), artifact_type=None, after=None, limit=9, room=1 << 20
    )
    assert [each.digest for each in found] == [sha256(signature)]
    again = await imported(content, tmp_path)
    assert (again.manifests, again.there, again.tags, again.tags_there) == (0, 5, 0, 4)
    assert {p: p.read_bytes() for p in (tmp_path / "registry").rglob("link")} == before
    await content.push_image("library/app", "new", b"{}", [b"pushed here"])


async def test_what_is_broken_is_told_and_the_rest_is_there(
    content: Content, legacy: Legacy, tmp_path: Path
) -> None:
    """Missing bytes, other bytes, empty links, missing children and layers, odd names."""
    root = legacy.folder / "docker/registry/v2"
    good = legacy.image("library/app", "good", "good")
    for seed in ("gone", "damaged", "unlayered"):
        legacy.image("library/app", seed, seed)
    gone, damaged, unlayered = (
        legacy.tags.pop(("library/app", tag)) for tag in ("gone", "damaged", "unlayered")
    )
    (root / legacy.data(sha256(gone))).unlink()
    (root / legacy.data(sha256(damaged))).write_bytes(b"")
    (root / legacy.data(sha256(b"unlayered" * 50))).unlink()
    legacy.manifest("library/app", index([good, gone]), "partly")
    empty = legacy.image("library/app", "empty", "empty")
    value = sha256(empty).removeprefix("sha256:")
    manifests = root / "repositories/library/app/_manifests"
    (manifests / f"revisions/sha256/{value}/link").write_bytes(b"")
    (manifests / "tags/empty/current/link").write_bytes(b"")
    legacy.write("repositories/library/app/_manifests/tags/odd/current/link", b"nonsense")
    legacy.manifest("library/app", b'{"schemaVersion": 1, "name": "old"}', "schema1")
    del legacy.tags["library/app", "schema1"]
    legacy.image("alone", "five", "v1")
    del legacy.tags["alone", "v1"]
    report = await imported(content, tmp_path)
    said = {(line["reference"].partition(":")[0], line["what"]) for line in report.problems}
    text = json.dumps(report.problems)
    for what in (
        "the bytes of this manifest are missing",
        "the bytes of this manifest are damaged",
        "is missing",
        "the tag's link is broken",
        "no manifest that is served here",
        "give --project",
    ):
        assert what in text, said
    assert {line["what"].partition(";")[0] for line in report.repairs} == {
        "its link was empty",
        "its link was broken",
    }
    await check_tags(content, legacy)
    assert (await content.pulls.manifest("library/app", "unlayered")).payload == unlayered
    wrong = await missing_only_links(content)
    assert wrong == [], wrong


@pytest.mark.parametrize("step", ["import.batch=error", "import.committed=error",
                                  "import.committed=3*error"])  # fmt: skip
async def test_a_run_that_ended_early_is_begun_again(
    content: Content, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any point; in batches so small that an index comes before its children."""
    monkeypatch.setattr("moorage.moving.storage.adoption._BATCH", 7)
    legacy = many(tmp_path / "registry", 6, 5)
    failpoints.arm(step)
    try:
        with pytest.raises(failpoints.Injected):
            await imported(content, tmp_path)
    finally:
        failpoints.arm("")
    report = await imported(content, tmp_path)
    assert report.problems == []
    assert report.manifests + report.there == 30
    assert report.verified == 30
    await check_tags(content, legacy)
    assert await missing_only_links(content) == []


async def test_tags_follow_until_they_are_pushed_here(
    content: Content, legacy: Legacy, tmp_path: Path
) -> None:
    """Three phases: what the old registry got meanwhile comes too; what was pushed here stays."""
    legacy.image("library/app", "one", "v1", "moved")
    await imported(content, tmp_path, "prepare")
    assert await count(content.db, "tags") == 0
    await imported(content, tmp_path, "tags")
    legacy.image("library/app", "two", "v2", "moved")
    report = await imported(content, tmp_path, "tags", "verify")
    assert (report.manifests, report.tags, report.verified) == (1, 2, 3)
    await check_tags(content, legacy)
    here = await content.push_image("library/app", "moved", b"{}", [b"here"])
    report = await imported(content, tmp_path)
    assert [line["reference"] for line in report.repairs] == ["moved"]
    assert report.changed == 1
    assert (await content.pulls.manifest("library/app", "moved")).payload == here


async def test_nothing_of_the_old_registry_is_deleted_before_it_is_adopted(
    content: Content, legacy: Legacy, tmp_path: Path
) -> None:
    """Neither by garbage collection nor as an unknown object; afterwards it is garbage like any."""
    payload = legacy.image("library/app", "one", "v1")
    await imported(content, tmp_path)
    await content.manifests.delete(ALICE, "library/app", sha256(payload))
    data = legacy.folder / "docker/registry/v2" / legacy.data(sha256(b"one" * 50))
    async with content.db.write() as tx:
        await tx.execute(update(tables.repository_blobs).values(lease_until=now()))
        await tx.execute(update(tables.artifact_trash).values(expires_at=now()))
    await content.collect()
    assert await count(content.db, "blobs") == 0
    assert data.exists()
    report = await imported(content, tmp_path)
    assert report.verified == 1, "what was deleted here comes back from the old registry"
    await check_tags(content, legacy)
    await content.manifests.delete(ALICE, "library/app", sha256(payload))
    await content.collect()
    await content.db.run(adopted.adopt)
    async with content.db.write() as tx:
        await tx.execute(update(tables.blob_trash).values(not_before=now()))
    await content.collect()
    assert not data.exists()


async def test_a_copy_needs_the_old_storage_no_more(content: Content, tmp_path: Path) -> None:
    """Bytes come into the own storage, compared with their digests; a project can be given."""
    old = Legacy(tmp_path / "old")
    old.image("alone", "one", "v1")
    old.image("alone", "bad", "bad")
    broken = old.tags.pop(("alone", "bad"))
    (old.folder / "docker/registry/v2" / old.data(sha256(b"bad" * 50))).write_bytes(b"BAD" * 50)
    source = FilesystemStore(old.folder)
    report = await imported(
        content, tmp_path, source=source, project="mirror", copy=True, public=True
    )
    await source.close()
    assert [line["reference"] for line in report.problems] == [sha256(broken)]
    await check_tags(content, old, "mirror/")
    assert await missing_only_links(content) == []
    async with content.db.read() as tx:
        query = select(tables.projects.c.public).where(tables.projects.c.name == "mirror")
        assert (await tx.execute(query)).scalar_one()
