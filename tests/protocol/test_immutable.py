"""Immutable tags as clients of `/v2` meet them: 412 with the code PRECONDITION."""

import json

import pytest

from moorage.access.principals import Principal
from moorage.oci import digest as digests
from moorage.projects.immutability import ImmutableRules
from moorage.projects.selectors import Selector
from tests.protocol.client import IMAGE, Client, image
from tests.protocol.registry import PROJECTS, Registry

pytestmark = pytest.mark.anyio

REPO = "team/app"
ADMIN = Principal("user", 1, "admin", sysadmin=True)


@pytest.fixture
async def rule(registry: Registry) -> int:
    """`team` keeps its tags that begin with a v."""
    return await ImmutableRules(registry.db).create(
        ADMIN,
        PROJECTS["team"],
        [Selector("doublestar", "repoMatches", "**")],
        [Selector("doublestar", "matches", "v*")],
    )


async def push(client: Client, reference: str, payload: bytes, query: str = "") -> int:
    """Push a manifest; the status."""
    answer = await client.ask(
        "PUT",
        f"/v2/{REPO}/manifests/{reference}{query}",
        headers={"content-type": IMAGE},
        body=payload,
    )
    if answer.status == 412:
        assert answer.code == "PRECONDITION"
        error = answer.json()["errors"][0]
        assert "due to 'app:v1' configured as immutable." in error["message"]
        assert error["detail"] == {"repository": REPO, "tags": ["v1"]}
    return answer.status


async def manifests(client: Client) -> tuple[bytes, bytes]:
    """Two manifests whose content is there."""
    config = await client.push_blob(REPO, b"{}")
    for layer in (b"1", b"2"):
        await client.push_blob(REPO, layer)
    one, two = (json.dumps(image(config, layer)).encode() for layer in (b"1", b"2"))
    return one, two


async def test_a_kept_tag_is_pushed_once(dev: Client, rule: int) -> None:
    """And again with what it names; another image goes under another tag.

    CVE-2026-31801.
    """
    one, two = await manifests(dev)
    assert await push(dev, "v1", one) == 201
    assert await push(dev, "v1", one) == 201
    assert await push(dev, "v1", two) == 412
    assert await push(dev, digests.of(two), two, "?tag=x&tag=v1") == 412
    assert await push(dev, "latest", one) == 201
    assert await push(dev, "latest", two) == 201
    got = await dev.ask("GET", f"/v2/{REPO}/manifests/v1")
    assert (got.status, got.body) == (200, one)
    assert (await dev.ask("GET", f"/v2/{REPO}/manifests/x")).status == 404


async def test_a_kept_tag_is_not_deleted(dev: Client, rule: int) -> None:
    """Neither by its name nor by its digest.

    CVE-2026-41888.
    """
    one, _ = await manifests(dev)
    await push(dev, "v1", one)
    await push(dev, "latest", one)
    for reference in ("v1", digests.of(one)):
        answer = await dev.ask("DELETE", f"/v2/{REPO}/manifests/{reference}")
        assert (answer.status, answer.code) == (412, "PRECONDITION")
    assert (await dev.ask("DELETE", f"/v2/{REPO}/manifests/latest")).status == 202
    assert (await dev.ask("GET", f"/v2/{REPO}/manifests/v1")).body == one


async def test_an_administrator_is_bound_as_well(
    registry: Registry, dev: Client, rule: int
) -> None:
    """Whoever wants to move the tag changes the rule first."""
    one, two = await manifests(dev)
    await push(dev, "v1", one)
    assert await push(registry.client("admin"), "v1", two) == 412
    await ImmutableRules(registry.db).switch(ADMIN, PROJECTS["team"], rule, disabled=True)
    assert await push(dev, "v1", two) == 201
