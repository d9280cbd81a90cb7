"""The tags of a repository, in the order of versions; the layers of an artifact."""

import pytest
from tests.api.world import World

pytestmark = pytest.mark.anyio

TAGS = "/projects/team/repositories/app/tags"


async def names(world: World, **params: str) -> list[str]:
    """Names of tags as a guest sees them."""
    answer = await world.call("guest", "GET", TAGS, params=params)
    assert answer.status_code == 200, answer.text
    return [each["name"] for each in answer.json()]


async def test_versions_are_in_their_own_order(world: World) -> None:
    """1.10.0 is newer than 1.9.0 and than its candidates; other names stay behind, both ways."""
    for tag in ("1.9.0", "latest", "v1.10.0", "1.10.0-rc.1", "main"):
        await world.content.push_image("team/app", tag)
    ascending = ["1.9.0", "1.10.0-rc.1", "v1.10.0", "latest", "main"]
    assert await names(world, sort="version") == ascending
    newest = ["v1.10.0", "1.10.0-rc.1", "1.9.0", "latest", "main"]
    assert await names(world, sort="-version") == newest
    assert await names(world, sort="-version", page="2", page_size="2") == newest[2:4]
    assert await names(world, sort="-version", page="4", page_size="2") == []
    assert await names(world, sort="-version", q="name=~1.") == newest[:3]
    assert await names(world, sort="name") == sorted(newest)


async def test_each_tag_says_what_it_points_at(world: World) -> None:
    """The digest, and whether a rule keeps it; all pages together have a count."""
    await world.content.push_image("team/app", "v1")
    answer = await world.call("guest", "GET", TAGS, params={"with_immutable_status": "true"})
    artifact = await world.call("guest", "GET", "/projects/team/repositories/app/artifacts/v1")
    (tag,) = answer.json()
    assert tag["digest"] == artifact.json()["digest"]
    assert tag["immutable"] is False
    assert answer.headers["x-total-count"] == "1"


async def test_a_repository_that_is_not_there_has_no_tags(world: World) -> None:
    """404, as for its artifacts."""
    answer = await world.call("guest", "GET", "/projects/team/repositories/none/tags")
    assert answer.status_code == 404


async def test_layers_have_sizes_and_know_who_shares_them(world: World) -> None:
    """Each layer with its bytes, and how many other artifacts of the repository hold it."""
    await world.content.push_image("team/app", "v1")
    path = "/projects/team/repositories/app/artifacts/v1/layers"
    first = (await world.call("guest", "GET", path)).json()
    assert first
    assert all(layer["digest"].startswith("sha256:") for layer in first)
    assert {layer["shared"] for layer in first} == {0}
    sizes = sum(layer["size"] for layer in first)
    artifact = await world.call("guest", "GET", "/projects/team/repositories/app/artifacts/v1")
    assert 0 < sizes < artifact.json()["size"]
    await world.content.push_image("team/app", "v2", b'{"other": 1}')
    shared = (await world.call("guest", "GET", path)).json()
    assert {layer["shared"] for layer in shared} == {1}
    alone = (await world.call("guest", "GET", path, params={"with_shared": "false"})).json()
    assert alone == first
