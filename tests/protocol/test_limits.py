"""Many tags, many referrers, many repositories: bounded answers that lead on."""

import time

import pytest
from sqlalchemy import insert, select

from moorage.db import tables
from moorage.db.transactions import Tx
from moorage.distribution.listing import MAX_REPOSITORIES, MAX_TAGS
from moorage.distribution.referrers import MAX_BYTES, PAGE
from tests.protocol.client import IMAGE, Client, image
from tests.protocol.registry import Registry

pytestmark = pytest.mark.anyio

REPO = "team/app"


def next_of(link: str | None) -> str:
    """The target of a Link header, empty at the end."""
    return link[1 : link.index(">")] if link else ""


async def test_a_hundred_thousand_tags(registry: Registry, dev: Client) -> None:
    """They come in pages, each quickly, whether or not the client asks for pages."""
    await dev.push_image(REPO, "v")

    async def many(tx: Tx) -> None:
        row = (await tx.execute(select(tables.tags))).one()
        rows = [
            {"repository_id": row.repository_id, "name": f"t{i:06}", "manifest_id": row.manifest_id}
            for i in range(100_000)
        ]
        await tx.execute(insert(tables.tags), rows)

    await registry.db.run(many)
    for query in ("", "?n=100000", f"?n={'9' * 30}"):
        start = time.process_time()
        answer = await dev.ask("GET", f"/v2/{REPO}/tags/list{query}")
        assert time.process_time() - start < 2
        assert len(answer.json()["tags"]) == MAX_TAGS
        last = f"t{MAX_TAGS - 1:06}"
        assert next_of(answer.header("link")).endswith(f"n={MAX_TAGS}&last={last}")
    end = await dev.ask("GET", f"/v2/{REPO}/tags/list?last=t099998")
    assert (end.json()["tags"], end.header("link")) == (["t099999", "v"], None)


async def test_many_repositories(registry: Registry, dev: Client) -> None:
    """The catalog never sends more than its limit.

    CVE-2023-2253.
    """
    await dev.push_image(REPO, "v1")

    async def many(tx: Tx) -> None:
        row = (await tx.execute(select(tables.repositories))).one()
        rows = [
            {"project_id": row.project_id, "name": f"team/r{i:05}", "pushed_at": row.pushed_at}
            for i in range(1500)
        ]
        await tx.execute(insert(tables.repositories), rows)

    await registry.db.run(many)
    admin = registry.client("admin")
    found: list[str] = []
    target = "/v2/_catalog?n=100000"
    while target:
        answer = await admin.ask("GET", target)
        assert len(answer.json()["repositories"]) <= MAX_REPOSITORIES
        found += answer.json()["repositories"]
        target = next_of(answer.header("link"))
    assert len(found) == 1501
    assert found == sorted(set(found))


async def test_referrers_with_fat_annotations(dev: Client) -> None:
    """A page stays below what clients read, and the pages together hold everything."""
    subject = await dev.push_image(REPO, "v1")
    config = await dev.push_blob(REPO, b"{}")
    size = len((await dev.ask("GET", f"/v2/{REPO}/manifests/v1")).body)
    pushed = set()
    for i in range(6):
        document = image(
            config,
            subject={"mediaType": IMAGE, "digest": subject, "size": size},
            annotations={"fat": "x" * 1_000_000, "number": str(i)},
        )
        answer = await dev.push_manifest(REPO, "", document)
        assert answer.status == 201
        pushed.add(answer.header("docker-content-digest"))
    found, target, pages = [], f"/v2/{REPO}/referrers/{subject}?n={PAGE * 100}", 0
    while target:
        page = await dev.ask("GET", target)
        assert len(page.body) < MAX_BYTES + 1024
        found += [entry["digest"] for entry in page.json()["manifests"]]
        target = next_of(page.header("link"))
        pages += 1
    assert pages > 1
    assert len(found) == 6
    assert set(found) == pushed
