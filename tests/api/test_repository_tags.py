"""The tags of a repository, in the order of versions; the layers of an artifact."""

from typing import Any

import pytest
from tests.api.world import World
from tests.support.accounts import in_project

from moorage.artifacts import tagnames

pytestmark = pytest.mark.anyio

TAGS = "/projects/team/repositories/app/tags"
ARTIFACTS = "/projects/team/repositories/app/artifacts"


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


async def test_an_artifact_comes_with_the_first_of_its_tags(world: World) -> None:
    """As the list of artifacts says it, and once on a page: it may be large, and its tags many."""
    for tag in ("1.0.0", "2.0.0"):
        await world.content.push_image("team/app", tag, tag.encode())
    root = world.people["sysadmin"]
    two = await world.services.catalogue.artifact("team/app", "2.0.0")
    for tag in ("2.0", "latest"):
        await world.content.manifests.add_tag(root, "team/app", two.digest, tag)
    asked = {"sort": "-version", "with_artifact": "true"}
    listed = (await world.call("guest", "GET", TAGS, params=asked)).json()
    assert [each["name"] for each in listed] == ["2.0.0", "1.0.0", "2.0", "latest"]
    assert [each["artifact_id"] == two.id for each in listed] == [True, False, True, True]
    everything = dict.fromkeys(("with_label", "with_accessory", "with_child"), "true")
    whole = await world.call("guest", "GET", ARTIFACTS, params=everything)
    by_id = {each["id"]: each for each in whole.json()}
    assert [each.get("artifact") for each in listed] == [
        *(by_id[two.id], by_id[listed[1]["artifact_id"]]),
        *(None, None),
    ]
    assert "artifact" not in (await world.call("guest", "GET", TAGS)).json()[0]


async def test_whoever_may_list_tags_only_sees_no_artifacts(world: World) -> None:
    """A robot account has its rights one by one."""
    await world.content.push_image("team/app", "v1")
    for name, rights in {
        "names": ("tag:list",),
        "lists": ("tag:list", "artifact:list"),  # which leaves signatures out, tagged or not
        "reads": ("tag:list", "artifact:read"),
        "all": ("tag:list", "artifact:list", "artifact:read"),
    }.items():
        await world.robot(name, in_project("team", *rights))
    for name in ("names", "lists", "reads"):
        assert (await world.call(name, "GET", TAGS)).status_code == 200
        refused = await world.call(name, "GET", TAGS, params={"with_artifact": "true"})
        assert refused.status_code == 403
    (tag,) = (await world.call("all", "GET", TAGS, params={"with_artifact": "true"})).json()
    assert tag["artifact"]["digest"] == tag["digest"]


async def test_names_that_are_too_many_to_order_are_in_the_order_of_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many the versions are in order yet; with one more the newest push is first."""
    for tag in ("1.2.0", "1.10.0", "1.9.0"):
        await world.content.push_image("team/app", tag)
    monkeypatch.setattr(tagnames, "MAX_VERSIONS", 3)
    assert await names(world, sort="-version") == ["1.10.0", "1.9.0", "1.2.0"]
    monkeypatch.setattr(tagnames, "MAX_VERSIONS", 2)
    assert await names(world, sort="-version") == ["1.9.0", "1.10.0", "1.2.0"]
    assert await names(world, sort="-version", q="name=~1.1") == ["1.10.0"]


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


async def test_an_artifact_of_a_tag_is_of_its_repository(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was deleted between two statements may have left its id to a push elsewhere."""
    await world.content.push_image("team/app", "v1")
    await world.content.push_image("other/app", "secret", b'{"secret": 1}')
    elsewhere = await world.services.catalogue.artifact("other/app", "secret")
    page = tagnames._page

    async def before(*args: Any) -> Any:
        rows, total = await page(*args)
        return [row._replace(artifact_id=elsewhere.id) for row in rows], total

    monkeypatch.setattr(tagnames, "_page", before)
    asked = {"sort": "version", "with_artifact": "true"}
    listed = await world.call("guest", "GET", TAGS, params=asked)
    assert [each["artifact_id"] for each in listed.json()] == [elsewhere.id]
    assert elsewhere.digest not in listed.text
