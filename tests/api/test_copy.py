"""Copying artifacts over REST."""

from typing import Any

import pytest
from sqlalchemy import update
from tests.api.world import World
from tests.support.content import sha256

from moorage.accounts.records import Permission
from moorage.db import tables

pytestmark = pytest.mark.anyio

APP = "/projects/team/repositories/app/artifacts"


async def copy(world: World, name: str, origin: str | None, path: str = APP) -> Any:
    """The answer to a copy by this person."""
    params = {} if origin is None else {"from": origin}
    return await world.call(name, "POST", path, params=params)


async def test_an_artifact_is_copied_by_tag_and_by_digest(world: World) -> None:
    """201, and Location leads to it; into a nested name as well."""
    manifest = await world.content.push_image("open/base", "v1")
    for origin, reference in (
        ("open/base:v1", "v1"),
        (f"open/base@{sha256(manifest)}", sha256(manifest)),
        (f"open/base:ignored@{sha256(manifest)}", sha256(manifest)),
    ):
        answer = await copy(world, "developer", origin)
        assert answer.status_code == 201, answer.text
        assert answer.headers["Location"] == f"/api/v2.0{APP}/{reference}"
        found = await world.call("guest", "GET", f"{APP}/{reference}")
        assert found.json()["digest"] == sha256(manifest)
        assert [tag["name"] for tag in found.json()["tags"]] == ["v1"]
    nested = "/projects/team/repositories/a%252Fb/artifacts"
    assert (await copy(world, "developer", "open/base:v1", nested)).status_code == 201
    assert (await world.content.pulls.manifest("team/a/b", "v1")).payload == manifest


async def test_who_may_not_pull_gets_no_copy_to_pull(world: World) -> None:
    """A robot account that may look at the artifacts of another project only."""
    await world.content.push_image("other/secret", "v1")
    own = Permission("project", "team", frozenset({("artifact", "create")}))
    look = {("artifact", "read"), ("artifact", "list")}
    for name, pairs, status in (
        ("looker", look, 403),
        ("puller", look | {("repository", "pull")}, 201),
    ):
        await world.robot(name, own, Permission("project", "other", frozenset(pairs)))
        assert (await copy(world, name, "other/secret:v1")).status_code == status


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "open",
        "open/base",
        "base:v1",
        "open/base:",
        "open/base@",
        "open/base@sha256:x",
        "open/base:-x",
        "open/Base:v1",
        "open//base:v1",
        "../open/base:v1",
        "open/base:v1:v2",
        "open/base\0:v1",
        "open/base:v1@" + "x" * 300,
        "registry.example:5000/open/base:v1",
    ],
)
async def test_a_source_that_is_no_reference_is_refused(world: World, origin: str) -> None:
    """400 that says what one looks like."""
    await world.content.push_image("open/base", "v1")
    answer = await copy(world, "developer", origin)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["message"]


async def test_a_source_has_to_be_there_and_open_to_the_caller(world: World) -> None:
    """A forbidden project answers as a missing one; only an administrator learns which."""
    await world.content.push_image("open/base", "v1")
    await world.content.push_image("other/secret", "v1")
    for origin, status, of_admin in (
        ("other/secret:v1", 403, 201),
        ("other/none:v1", 403, 404),
        ("nowhere/secret:v1", 403, 404),
        ("open/base:v2", 404, 404),
        ("open/base@sha256:" + "0" * 64, 404, 404),
        ("open/none:v1", 404, 404),
        (None, 422, 422),
    ):
        assert (await copy(world, "developer", origin)).status_code == status, origin
        assert (await copy(world, "sysadmin", origin)).status_code == of_admin, origin
    assert (await copy(world, "guest", "open/base:v1")).status_code == 403
    assert (await copy(world, "", "open/base:v1")).status_code == 401


async def test_a_name_that_no_repository_can_have(world: World) -> None:
    """400, and nothing is made."""
    await world.content.push_image("open/base", "v1")
    for name in ("App", "a%252F%252Fb", "-", "a" * 300):
        path = f"/projects/team/repositories/{name}/artifacts"
        answer = await copy(world, "developer", "open/base:v1", path)
        assert answer.status_code == 400, answer.text
    assert (await world.call("guest", "GET", "/projects/team/repositories")).json() == []


async def test_a_copy_that_does_not_fit_is_refused(world: World) -> None:
    """403 with the code of a full quota."""
    await world.content.push_image("open/base", "v1", layers=[b"x" * 1000])
    async with world.content.db.write() as tx:
        mine = tables.quotas.c.project_id == world.projects["team"]
        await tx.execute(update(tables.quotas).where(mine).values(hard=1000))
    answer = await copy(world, "developer", "open/base:v1")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (403, "DENIED")
    assert (await world.call("guest", "GET", f"{APP}/v1")).status_code == 404
