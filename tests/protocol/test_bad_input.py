"""Input that is wrong: the right 4xx, quickly, and nothing stored."""

import json
import time
from typing import Any

import pytest
from sqlalchemy import func, select

from moorage.db import tables
from moorage.oci import digest as digests
from moorage.oci.manifest import MAX_BYTES
from tests.protocol.client import IMAGE, INDEX, Client, image
from tests.protocol.registry import Registry

pytestmark = pytest.mark.anyio

REPO = "team/app"
ABSENT = "sha256:" + "0" * 64
LONG = "x" * 300


async def stored(registry: Registry) -> dict[str, int]:
    """Rows that content leaves behind."""
    async with registry.db.read() as tx:
        return {
            table.name: (await tx.execute(select(func.count()).select_from(table))).scalar_one()
            for table in (tables.blobs, tables.manifests, tables.tags, tables.uploads)
        }


async def config_of(client: Client) -> str:
    """Push what every image needs."""
    return await client.push_blob(REPO, b"{}")


def manifest(**more: Any) -> bytes:
    """An image over the pushed config, with changes."""
    return json.dumps({**image(digests.of(b"{}")), **more}).encode()


def nested(depth: int) -> bytes:
    """A manifest with JSON nested that deep."""
    return manifest(annotations="@")[:-4] + b'"@",' + b'"x":' + b"[" * depth + b"]" * depth + b"}"


DESCRIPTOR = {"mediaType": "application/x", "digest": ABSENT, "size": 1}
MANIFESTS: dict[str, tuple[bytes, str, int, str]] = {
    "truncated": (manifest()[:-10], IMAGE, 400, "MANIFEST_INVALID"),
    "empty": (b"", IMAGE, 400, "MANIFEST_INVALID"),
    "no object": (b"[]", IMAGE, 400, "MANIFEST_INVALID"),
    "no UTF-8": (b'{"a":"\xff"}', IMAGE, 400, "MANIFEST_INVALID"),
    "unknown type": (manifest(mediaType="application/x"), "application/x", 400, "MANIFEST_INVALID"),
    "another type": (manifest(), INDEX, 400, "MANIFEST_INVALID"),
    "schema 1": (manifest(schemaVersion=1), IMAGE, 400, "MANIFEST_INVALID"),
    "missing blob": (manifest(layers=[DESCRIPTOR]), IMAGE, 400, "MANIFEST_BLOB_UNKNOWN"),
    "wrong size": (
        manifest(layers=[{**DESCRIPTOR, "digest": digests.of(b"{}")}]),
        IMAGE,
        400,
        "MANIFEST_INVALID",
    ),
    "bad digest": (manifest(layers=[{**DESCRIPTOR, "digest": "x"}]), IMAGE, 400, "DIGEST_INVALID"),
    "negative size": (
        manifest(layers=[{**DESCRIPTOR, "size": -1}]),
        IMAGE,
        400,
        "MANIFEST_INVALID",
    ),
    "huge size": (
        manifest(layers=[{**DESCRIPTOR, "size": 1 << 90}]),
        IMAGE,
        400,
        "MANIFEST_INVALID",
    ),
    "too many layers": (manifest(layers=[DESCRIPTOR] * 1001), IMAGE, 400, "MANIFEST_INVALID"),
    "too large": (b" " * (MAX_BYTES + 1), IMAGE, 413, "SIZE_INVALID"),
    "deep": (nested(1000), IMAGE, 400, "MANIFEST_INVALID"),
    "very deep": (nested(1_000_000), IMAGE, 400, "MANIFEST_INVALID"),
    "twice a key": (manifest()[:-1] + b',"config":{}}', IMAGE, 400, "MANIFEST_INVALID"),
    "huge number": (
        manifest()[:-1] + b',"x":' + b"9" * 1_000_000 + b"}",
        IMAGE,
        400,
        "MANIFEST_INVALID",
    ),
    "not a number": (manifest()[:-1] + b',"x":NaN}', IMAGE, 400, "MANIFEST_INVALID"),
    "NUL": (manifest(annotations={"a": "\x00"}), IMAGE, 400, "MANIFEST_INVALID"),
}


@pytest.mark.parametrize("name", MANIFESTS)
async def test_manifests_that_are_none(registry: Registry, dev: Client, name: str) -> None:
    """Each is refused within 100 ms on an idle machine and leaves nothing."""
    payload, media_type, status, code = MANIFESTS[name]
    await config_of(dev)
    before = await stored(registry)
    start = time.process_time()
    answer = await dev.ask(
        "PUT", f"/v2/{REPO}/manifests/v1", headers={"content-type": media_type}, body=payload
    )
    taken = time.process_time() - start
    assert (answer.status, answer.code) == (status, code)
    assert taken < 0.5
    assert await stored(registry) == before


async def test_a_manifest_too_large_is_cut_off_while_it_comes(dev: Client) -> None:
    """Without Content-Length the limit holds as well.

    CVE-2017-11468.
    """
    pieces = [b" " * (1 << 20)] * 5
    answer = await dev.ask(
        "PUT", f"/v2/{REPO}/manifests/v1", headers={"content-type": IMAGE}, body=pieces
    )
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")


async def test_a_manifest_of_another_digest(registry: Registry, dev: Client) -> None:
    """Its bytes must have the digest under which it is pushed."""
    await config_of(dev)
    for reference in (ABSENT, "sha256:baddigeststring"):
        answer = await dev.ask(
            "PUT",
            f"/v2/{REPO}/manifests/{reference}",
            headers={"content-type": IMAGE},
            body=manifest(),
        )
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await stored(registry))["manifests"] == 0


PATHS = [
    ("/v2/app/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/App/manifests/v1", 400, "NAME_INVALID"),
    (f"/v2/team/{LONG}/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/-a/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/a..b/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/ä/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/%C3%A4/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/%ff/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/a%0d%0ab/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/%1b%5b2J/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/%E2%80%AEa/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/../../etc/passwd/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/app/manifests/..", 400, "NAME_INVALID"),
    ("/v2/team/app/manifests/%2e%2e%2fv1", 400, "NAME_INVALID"),
    ("/v2/team/app/manifests/%00", 400, "NAME_INVALID"),
    ("/v2/manifests/v1", 400, "NAME_INVALID"),
    ("/v2/team/app/manifests/", 404, "MANIFEST_UNKNOWN"),
    (f"/v2/team/app/manifests/{LONG}", 404, "MANIFEST_UNKNOWN"),
    ("/v2/team/app/blobs/..%2f..%2fx", 400, "NAME_INVALID"),
    ("/v2/team/app/blobs/", 400, "DIGEST_INVALID"),
    (f"/v2/team/app/blobs/sha256:{'a' * 63}%00", 400, "NAME_INVALID"),
    (f"/v2/team/app/blobs/{LONG}", 400, "DIGEST_INVALID"),
    ("/v2/team/app/tags/other", 404, "UNSUPPORTED"),
    ("/v2/team/app", 404, "UNSUPPORTED"),
    ("/v2//", 404, "UNSUPPORTED"),
    ("/v2/_other", 404, "UNSUPPORTED"),
    ("/v2/team/app/_uploads/x", 404, "UNSUPPORTED"),
    ("/v2/team/app/tags/list?last=%00", 400, "UNSUPPORTED"),
    (f"/v2/team/app/tags/list?last={LONG * 4}", 400, "PAGINATION_NUMBER_INVALID"),
    ("/v2/team/app/tags/list?" + "a=1&" * 300, 400, "UNSUPPORTED"),
    ("/v2/team/app/tags/list?n=" + "9" * 9000, 400, "UNSUPPORTED"),
]


@pytest.mark.parametrize(("target", "status", "code"), PATHS, ids=range(len(PATHS)))
async def test_paths_that_lead_nowhere(dev: Client, target: str, status: int, code: str) -> None:
    """Names, references and queries out of bounds.

    GHSA-qj39-pjf2-wmrc.
    """
    answer = await dev.ask("GET", target)
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/v2/", "GET, HEAD"),
        ("POST", f"/v2/{REPO}/manifests/v1", "GET, HEAD, PUT, DELETE"),
        ("PATCH", f"/v2/{REPO}/blobs/{ABSENT}", "GET, HEAD, DELETE"),
        ("GET", f"/v2/{REPO}/blobs/uploads/", "POST"),
        ("TRACE", f"/v2/{REPO}/tags/list", "GET"),
        ("x", "/v2/_catalog", "GET"),
    ],
)
async def test_methods_that_a_route_has_not(
    dev: Client, method: str, path: str, allow: str
) -> None:
    """405 says which there are."""
    answer = await dev.ask(method, path)
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.header("allow") == allow


@pytest.mark.parametrize("tag", ["-x", ".x", "a" * 129, "a%20b", "%C3%A4"])
async def test_tags_that_are_none(registry: Registry, dev: Client, tag: str) -> None:
    """400 before the body is looked at; nothing is stored."""
    await config_of(dev)
    answer = await dev.ask(
        "PUT", f"/v2/{REPO}/manifests/{tag}", headers={"content-type": IMAGE}, body=manifest()
    )
    assert (answer.status, answer.code) == (400, "TAG_INVALID")
    assert (await stored(registry))["manifests"] == 0


async def test_a_project_that_is_not_there(registry: Registry) -> None:
    """Nobody can be given a right in it, not even an administrator: 401, as in Harbor."""
    answer = await registry.client("admin").ask("POST", "/v2/missing/app/blobs/uploads/", length=0)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
