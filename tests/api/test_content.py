"""Repositories, artifacts, tags and the trash over REST."""

from typing import Any

import pytest
from sqlalchemy import update
from tests.api.world import World
from tests.support.content import ALICE, CONFIG, image, index, sha256
from tests.support.images import MANIFEST

from moorage.artifacts import details
from moorage.artifacts.typed import Types
from moorage.db import tables

pytestmark = pytest.mark.anyio

APP = "/projects/team/repositories/app"


@pytest.mark.parametrize("escaped", ["a%252Fb", "a%2Fb", "a%252fb"])
async def test_a_name_with_a_slash_is_escaped_once_or_twice(world: World, escaped: str) -> None:
    """Harbor's clients escape it twice; its tests also once."""
    await world.content.push_image("team/a/b", "v1")
    repository = f"/projects/team/repositories/{escaped}"
    assert (await world.call("guest", "GET", repository)).json()["name"] == "team/a/b"
    artifacts = (await world.call("guest", "GET", f"{repository}/artifacts")).json()
    assert [artifact["repository_name"] for artifact in artifacts] == ["team/a/b"]
    tags = await world.call("guest", "GET", f"{repository}/artifacts/v1/tags")
    assert [tag["name"] for tag in tags.json()] == ["v1"]


async def test_a_repository_of_another_project_is_out_of_reach(world: World) -> None:
    """No escape in a name leads out of the project that was checked."""
    await world.content.push_image("other/secret", "v1")
    for name in (
        "..%252Fother%252Fsecret",
        "%252E%252E%2Fother%2Fsecret",
        "secret",
        "other%2Fsecret",
    ):
        for tail in ("", "/artifacts", "/artifacts/v1"):
            path = f"/projects/team/repositories/{name}{tail}"
            assert (await world.call("projectAdmin", "GET", path)).status_code == 404


async def test_repositories_are_listed_with_their_counters(world: World) -> None:
    """Zeros are printed; a repository without an artifact is not listed."""
    await world.content.push_image("team/app", "v1")
    await world.content.push_blob("team/unfinished", b"x")
    answer = await world.call("guest", "GET", "/projects/team/repositories")
    (found,) = answer.json()
    assert answer.headers["X-Total-Count"] == "1"
    assert (found["name"], found["artifact_count"], found["pull_count"]) == ("team/app", 1, 0)
    assert "description" not in found
    body = {"description": "# App", "name": "team/other", "pull_count": 99, "id": 1}
    assert (await world.call("developer", "PUT", APP, json=body)).status_code == 200
    changed = (await world.call("guest", "GET", APP)).json()
    assert changed["description"] == "# App"
    assert (changed["name"], changed["pull_count"]) == ("team/app", 0)
    everywhere = await world.call("guest", "GET", "/repositories", params={"q": "name=~APP"})
    assert [item["name"] for item in everywhere.json()] == ["team/app"]
    assert (await world.call("stranger", "GET", "/repositories")).json() == []


async def test_a_list_has_room_for_so_many_annotations(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of the largest manifests neither fills the memory nor is refused."""
    monkeypatch.setattr(details, "MAX_TEXTS", 2500)
    for tag in ("v1", "v2", "v3"):
        annotations = {"note": "x" * 1000, "tag": tag}
        await world.content.push_image("team/app", tag, annotations=annotations)
    listed = (await world.call("guest", "GET", f"{APP}/artifacts")).json()
    assert [bool(artifact.get("annotations")) for artifact in listed] == [True, True, False]
    single = (await world.call("guest", "GET", f"{APP}/artifacts/{listed[2]['digest']}")).json()
    assert len(single["annotations"]["note"]) == 1000


async def test_an_artifact_is_shown_as_harbor_shows_it(world: World) -> None:
    """Times that never were are of the year 1, empty lists null, empty texts absent."""
    manifest = await world.content.push_image("team/app", "v1")
    answer = await world.call("guest", "GET", f"{APP}/artifacts/v1")
    artifact = answer.json()
    assert artifact["digest"] == sha256(manifest)
    assert artifact["type"] == "IMAGE"
    assert artifact["media_type"] == artifact["artifact_type"] == CONFIG
    assert artifact["manifest_media_type"] == "application/vnd.oci.image.manifest.v1+json"
    assert artifact["size"] > 0
    assert artifact["push_time"].endswith("Z")
    assert artifact["pull_time"] == "0001-01-01T00:00:00.000Z"
    assert artifact["labels"] is None
    assert artifact["accessories"] is None
    assert artifact["references"] is None
    icon = await world.call("", "GET", f"/icons/{artifact['icon']}")
    assert icon.json()["content-type"] == "image/svg+xml"
    (tag,) = artifact["tags"]
    assert (tag["name"], tag["immutable"]) == ("v1", False)
    assert artifact["tags"][0]["artifact_id"] == artifact["id"]
    by_digest = await world.call("guest", "GET", f"{APP}/artifacts/{sha256(manifest)}")
    assert by_digest.json() == artifact
    untagged = await world.call("guest", "GET", f"{APP}/artifacts/v1", params={"with_tag": "false"})
    assert untagged.json()["tags"] is None
    for missing in ("v2", "sha256:" + "0" * 64, "sha256:nonsense", "%20"):
        assert (await world.call("guest", "GET", f"{APP}/artifacts/{missing}")).status_code == 404


async def test_children_and_accessories_are_no_entries_of_their_own(world: World) -> None:
    """Untagged children of an index appear with `base=*` only, accessories under their subject."""
    content = world.content
    child = await content.push_image("team/app", "child")
    await content.manifests.delete_tag(ALICE, "team/app", "child")
    whole = index([child])
    await content.manifests.put(ALICE, "team/app", "multi", whole, "")
    subject = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": sha256(whole),
        "size": len(whole),
    }
    signature = image(
        b"{}", [b"layer"], subject=subject, artifactType="application/vnd.cncf.notary.signature"
    )
    await content.manifests.put(ALICE, "team/app", sha256(signature), signature, "")

    async def listed(**params: str) -> list[str]:
        answer = await world.call("guest", "GET", f"{APP}/artifacts", params=params)
        return [item["digest"] for item in answer.json()]

    assert await listed() == [sha256(whole)]
    assert set(await listed(q="base=*")) == {sha256(whole), sha256(child)}
    multi = await world.call(
        "guest", "GET", f"{APP}/artifacts/multi", params={"with_accessory": "true"}
    )
    (reference,) = multi.json()["references"]
    assert reference["child_digest"] == sha256(child)
    (accessory,) = multi.json()["accessories"]
    assert accessory["type"] == "signature.notation"
    assert accessory["subject_artifact_digest"] == sha256(whole)
    listed_accessories = await world.call("guest", "GET", f"{APP}/artifacts/multi/accessories")
    assert listed_accessories.json() == [accessory]


async def references(world: World, path: str, **params: str) -> list[dict[str, Any]]:
    """What the index at a path, or the one in a list, says of its children."""
    answer = (await world.call("guest", "GET", path, params=params)).json()
    found = answer if isinstance(answer, list) else [answer]
    return next(each["references"] for each in found if each["references"])


async def test_what_is_in_an_index_is_told_with_it(world: World) -> None:
    """Where it was asked for: type, size, and what is attached to the child."""
    content = world.content
    child = await content.push_image("team/app", "child")
    subject = {"mediaType": MANIFEST, "digest": sha256(child), "size": len(child)}
    notary = "application/vnd.cncf.notary.signature"
    signature = image(b"{}", [b"layer"], subject=subject, artifactType=notary)
    await content.manifests.put(ALICE, "team/app", sha256(signature), signature, "")
    await content.manifests.put(ALICE, "team/app", "multi", index([child]), "")
    alone = (await world.call("guest", "GET", f"{APP}/artifacts/child")).json()
    for path in (f"{APP}/artifacts/multi", f"{APP}/artifacts"):
        (plain,) = await references(world, path)
        (reference,) = await references(world, path, with_child="true")
        told = reference.pop("child")
        assert reference == plain
        assert reference["child_digest"] == sha256(child)
        (attached,) = told.pop("accessories")
        assert attached["digest"] == sha256(signature)
        assert attached["subject_artifact_digest"] == sha256(child)
        assert told == {name: alone[name] for name in ("type", "size", "pull_time")}


async def test_what_is_attached_to_accessories(world: World) -> None:
    """One request tells all of it to who asks: a signature of a bill of materials, and of that."""
    payload = await world.content.push_image("team/app", "v1")
    tower: list[str] = []
    for _ in range(4):
        subject = {"mediaType": MANIFEST, "digest": sha256(payload), "size": len(payload)}
        payload = image(b"{}", [b"layer"], subject=subject)
        await world.content.manifests.put(ALICE, "team/app", sha256(payload), payload, "")
        tower.append(sha256(payload))
    path, params = f"{APP}/artifacts/v1", {"with_accessory": "true"}
    plain = (await world.call("guest", "GET", path, params=params)).json()
    told = (
        await world.call("guest", "GET", path, params={**params, "with_attached": "true"})
    ).json()
    attached = told.pop("attached")
    assert told == plain
    assert [each["digest"] for each in told["accessories"]] == tower[:1]
    assert [each["digest"] for each in attached] == tower[1:]
    assert [each["subject_artifact_digest"] for each in attached] == tower[:-1]


async def test_children_are_told_as_far_as_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the artifacts that the list begins with, whichever were made first."""
    for place in "12":
        child = await world.content.push_image("team/app", place, layers=[place.encode()])
        await world.content.manifests.put(ALICE, "team/app", f"multi{place}", index([child]), "")
    monkeypatch.setattr(details, "MAX_CHILDREN", 1)
    for sort in ("push_time", "-push_time"):
        params = {"with_child": "true", "sort": sort}
        listed = (await world.call("guest", "GET", f"{APP}/artifacts", params=params)).json()
        inside = [each["references"][0] for each in listed if each["references"]]
        assert ["child" in each for each in inside] == [True, False]


async def test_artifacts_are_narrowed_by_q(world: World) -> None:
    """By tags, type, times and digest; a filter that nothing knows is ignored."""
    content = world.content
    first = await content.push_image("team/app", "v1", config=b"1")
    second = await content.push_image("team/app", "v2", config=b"2")
    await content.manifests.delete_tag(ALICE, "team/app", "v2")

    async def listed(q: str, path: str = f"{APP}/artifacts") -> set[str]:
        answer = await world.call("guest", "GET", path, params={"q": q})
        assert answer.status_code == 200, answer.text
        return {item["digest"] for item in answer.json()}

    both = {sha256(first), sha256(second)}
    for q, expected in (
        ("tags=*", {sha256(first)}),
        ("tags=~V", set()),  # `V1` would be another tag
        ("tags=~v1", {sha256(first)}),
        ("tags=~%25", set()),
        ("tags=nil", {sha256(second)}),
        ("tags%3Dnil", {sha256(second)}),
        ("tags=~v", {sha256(first)}),
        ("tags=v1", {sha256(first)}),
        ("tags={v1 v9}", {sha256(first)}),
        ("tags=v9", set()),
        ("type=IMAGE", both),
        ("type=CHART", set()),
        ("labels=(1 2)", set()),
        (f"digest={sha256(second)}", {sha256(second)}),
        ("push_time=[2020-01-01T00:00:00~]", both),
        ("push_time=[~2020-01-01T00:00:00]", set()),
        ("pushTime__gte=2020-01-01T00:00:00", set()),
        ("size=[1~]", both),
        ("size=many", set()),
        ("whatever=1", both),
        ("payload=~{", both),
    ):
        assert await listed(q) == expected, q
        assert await listed(q, "/projects/team/artifacts") == expected, q


async def test_types_that_an_earlier_release_did_not_write(world: World) -> None:
    """Narrow a list all the same, and are filled in by and by."""
    content = world.content
    first = await content.push_image("team/app", "v1", config=b"1")
    second = await content.push_image("team/app", "v2", config=b"2")
    async with content.db.write() as tx:
        old = update(tables.manifests).where(tables.manifests.c.digest == sha256(first))
        await tx.execute(old.values(type=None))

    async def listed(q: str) -> set[str]:
        answer = await world.call("guest", "GET", f"{APP}/artifacts", params={"q": q})
        return {item["digest"] for item in answer.json()}

    async def check() -> None:
        for q in ("type=image", "type=~mag", "type={CHART IMAGE}", "type=(image)"):
            assert await listed(q) == {sha256(first), sha256(second)}, q
        assert await listed("type=CHART") == set()

    await check()
    types = Types(content.db)
    assert await types.fill() == 1
    assert await types.fill() == 0
    await check()


async def test_the_last_artifact_of_each_repository(world: World) -> None:
    """`latest_in_repository` needs one of the two types in q."""
    await world.content.push_image("team/app", "v1", config=b"1")
    newest = await world.content.push_image("team/app", "v2", config=b"2")
    path = "/projects/team/artifacts"
    params = {"latest_in_repository": "true", "q": f"media_type={CONFIG}"}
    found = await world.call("guest", "GET", path, params=params)
    assert [item["digest"] for item in found.json()] == [sha256(newest)]
    bare = await world.call("guest", "GET", path, params={"latest_in_repository": "true"})
    assert bare.status_code == 400


async def test_tags_come_and_go(world: World) -> None:
    """A new one points at the artifact; one that exists is a conflict, wherever it points."""
    manifest = await world.content.push_image("team/app", "v1")
    path = f"{APP}/artifacts/{sha256(manifest)}/tags"
    made = await world.call("developer", "POST", path, json={"name": "stable", "id": 9})
    assert made.status_code == 201
    assert (await world.content.pulls.manifest("team/app", "stable")).payload == manifest
    assert (await world.call("developer", "POST", path, json={"name": "v1"})).status_code == 409
    for name in ("", "-x", "a b", "x" * 129):
        answer = await world.call("developer", "POST", path, json={"name": name})
        assert answer.status_code == 400
    names = [tag["name"] for tag in (await world.call("guest", "GET", path)).json()]
    assert names == ["stable", "v1"]
    assert (await world.call("maintainer", "DELETE", f"{path}/v1")).status_code == 200
    assert (await world.call("maintainer", "DELETE", f"{path}/v1")).status_code == 404
    assert (await world.call("guest", "GET", f"{APP}/artifacts/v1")).status_code == 404


async def test_a_tag_is_deleted_through_its_own_artifact_only(world: World) -> None:
    """The path names both, and both have to fit."""
    await world.content.push_image("team/app", "v1", config=b"1")
    await world.content.push_image("team/app", "v2", config=b"2")
    path = f"{APP}/artifacts/v1/tags/v2"
    assert (await world.call("maintainer", "DELETE", path)).status_code == 404


async def test_a_deleted_artifact_comes_back_from_the_trash(world: World) -> None:
    """With its tags; the list of the trash says who deleted it."""
    manifest = await world.content.push_image("team/app", "v1")
    path = f"{APP}/artifacts/v1"
    assert (await world.call("maintainer", "DELETE", path)).status_code == 200
    assert (await world.call("guest", "GET", path)).status_code == 404
    (trashed,) = (await world.call("maintainer", "GET", "/projects/team/trash")).json()
    assert trashed["digest"] == sha256(manifest)
    assert trashed["tags"] == ["v1"]
    assert trashed["deleted_by"] == "maintainer"
    back = await world.call("maintainer", "POST", f"{APP}/trash/{sha256(manifest)}/restore")
    assert back.json() == {"digest": sha256(manifest), "tags": ["v1"]}
    assert (await world.call("guest", "GET", path)).status_code == 200
    again = await world.call("maintainer", "POST", f"{APP}/trash/{sha256(manifest)}/restore")
    assert again.status_code == 404


async def test_a_child_of_an_index_cannot_be_deleted(world: World) -> None:
    """412 while the index names it."""
    child = await world.content.push_image("team/app", "child")
    await world.content.manifests.put(ALICE, "team/app", "multi", index([child]), "")
    answer = await world.call("maintainer", "DELETE", f"{APP}/artifacts/child")
    assert answer.status_code == 412


async def test_a_repository_is_deleted_with_everything(world: World) -> None:
    """And its bytes stop counting at once."""
    await world.content.push_image("team/app", "v1")
    assert (await world.call("maintainer", "DELETE", APP)).status_code == 200
    assert (await world.call("maintainer", "DELETE", APP)).status_code == 404
    assert (await world.call("guest", "GET", APP)).status_code == 404
    assert await world.content.used(world.projects["team"]) == 0
