"""Projects, members, metadata and quotas over REST."""

from typing import Any

import pytest
from tests.api.world import World

pytestmark = pytest.mark.anyio


async def test_a_new_project_belongs_to_its_maker(world: World) -> None:
    """The maker is its administrator; the Location leads to it."""
    answer = await world.call("stranger", "POST", "/projects", json={"project_name": "mine"})
    assert answer.status_code == 201
    assert answer.content == b""
    location = answer.headers["Location"].removeprefix("/api/v2.0")
    project = (await world.call("stranger", "GET", location)).json()
    assert project["name"] == "mine"
    assert project["owner_name"] == "stranger"
    assert project["current_user_role_id"] == 1
    assert project["current_user_role_ids"] == [1]
    assert project["metadata"] == {"public": "false"}
    assert project["repo_count"] == 0
    assert "deleted" not in project


async def test_the_location_may_hold_the_name(world: World) -> None:
    """When the client asks for it by header."""
    answer = await world.call(
        "sysadmin",
        "POST",
        "/projects",
        json={"project_name": "named", "public": True},
        headers={"X-Resource-Name-In-Location": "true"},
    )
    assert answer.headers["Location"] == "/api/v2.0/projects/named"
    assert (await world.call("", "GET", "/projects/named")).status_code == 200


WRONG: list[tuple[Any, int]] = [
    ({"project_name": "team"}, 409),
    ({"project_name": "Upper"}, 400),
    ({"project_name": "a/b"}, 400),
    ({"project_name": ""}, 400),
    ({}, 400),
    ({"project_name": "x" * 256}, 422),
    ({"project_name": "nul\0"}, 422),
    ({"project_name": 7}, 400),
    ({"project_name": "ok", "metadata": {"public": "maybe"}}, 400),
    ({"project_name": "ok", "metadata": {"retention_id": "1"}}, 400),
    ({"project_name": "ok", "registry_id": 1}, 400),
    ({"project_name": "ok", "storage_limit": -7}, 400),
    ([], 422),
]


async def test_a_wrong_project_is_refused(world: World) -> None:
    """With Harbor's status and nothing made."""
    for body, status in WRONG:
        answer = await world.call("sysadmin", "POST", "/projects", json=body)
        assert answer.status_code == status, body
        assert answer.json()["errors"][0]["code"]
    assert (await world.call("sysadmin", "GET", "/projects/ok")).status_code == 404


async def test_malformed_json_is_a_bad_request(world: World) -> None:
    """400, as in Harbor, and the message is compact JSON."""
    async with world.client("sysadmin") as client:
        answer = await client.post(
            "/projects", content=b'{"project_name":', headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 400
    assert answer.text.startswith('{"errors":[{"code":"BAD_REQUEST","message":"')
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_nobody_sets_what_is_not_theirs(world: World) -> None:
    """Fields that a body must not carry are ignored: ids, owner, counters, a quota of one's own."""
    body = {
        "project_name": "greedy",
        "storage_limit": 10**15,
        "owner_id": world.people["sysadmin"].id,
        "project_id": 4711,
        "repo_count": 5,
        "current_user_role_id": 1,
    }
    assert (await world.call("stranger", "POST", "/projects", json=body)).status_code == 201
    project = (await world.call("stranger", "GET", "/projects/greedy")).json()
    assert project["owner_name"] == "stranger"
    assert project["project_id"] != 4711
    summary = (await world.call("stranger", "GET", "/projects/greedy/summary")).json()
    assert summary["quota"]["hard"] == {"storage": -1}
    update = {"project_name": "renamed", "owner_id": 1, "storage_limit": 5}
    assert (await world.call("stranger", "PUT", "/projects/greedy", json=update)).status_code == 200
    assert (await world.call("stranger", "GET", "/projects/greedy")).json()["name"] == "greedy"


async def test_null_means_that_a_field_is_not_there(world: World) -> None:
    """Clients written in Go and those made from the contract send it for what they leave out."""
    body = {"project_name": "nulls", "public": None, "metadata": None, "storage_limit": None}
    assert (await world.call("sysadmin", "POST", "/projects", json=body)).status_code == 201
    nothing = {"metadata": {"public": None, "severity": None}, "project_name": None}
    assert (await world.call("sysadmin", "PUT", "/projects/nulls", json=nothing)).status_code == 200
    project = (await world.call("sysadmin", "GET", "/projects/nulls")).json()
    assert project["metadata"] == {"public": "false"}


async def test_digits_are_an_id_unless_the_header_says_name(world: World) -> None:
    """A project may be called by a number."""
    await world.call("sysadmin", "POST", "/projects", json={"project_name": "2026"})
    team = world.projects["team"]
    assert (await world.call("guest", "GET", f"/projects/{team}")).json()["name"] == "team"
    assert (await world.call("sysadmin", "GET", "/projects/2026")).status_code == 404
    named = {"X-Is-Resource-Name": "true"}
    found = await world.call("sysadmin", "GET", "/projects/2026", headers=named)
    assert found.json()["name"] == "2026"
    for far in ("9" * 18, "9" * 30):
        assert (await world.call("sysadmin", "GET", f"/projects/{far}")).status_code == 404


async def test_existence_is_asked_by_head(world: World) -> None:
    """200 or 404, without a body."""
    for name, status in (("team", 200), ("nope", 404)):
        answer = await world.call("stranger", "HEAD", "/projects", params={"project_name": name})
        assert answer.status_code == status


async def test_everybody_sees_their_own_and_the_public_projects(world: World) -> None:
    """And nothing else, whatever the filter."""
    seen = {
        name: [p["name"] for p in (await world.call(name, "GET", "/projects")).json()]
        for name in ("", "stranger", "guest", "sysadmin")
    }
    assert seen == {
        "": ["open"],
        "stranger": ["open"],
        "guest": ["open", "team"],
        "sysadmin": ["open", "other", "team"],
    }
    private = await world.call("guest", "GET", "/projects", params={"public": "false"})
    assert [p["name"] for p in private.json()] == ["team"]
    assert (await world.call("", "GET", "/projects", params={"name": "tea"})).json() == []
    owned = await world.call("sysadmin", "GET", "/projects", params={"owner": "guest"})
    assert owned.json() == []


async def test_a_project_with_repositories_stays(world: World) -> None:
    """412 until the last repository is gone; then everything of it goes."""
    await world.content.push_image("team/app", "v1")
    deletable = await world.call("projectAdmin", "GET", "/projects/team/_deletable")
    assert deletable.json() == {"message": "the project contains repositories, can not be deleted"}
    answer = await world.call("projectAdmin", "DELETE", "/projects/team")
    assert answer.status_code == 412
    assert answer.json()["errors"][0]["code"] == "PRECONDITION"
    await world.call("projectAdmin", "DELETE", "/projects/team/repositories/app")
    assert (await world.call("guest", "GET", "/projects/team/_deletable")).status_code == 403
    assert (await world.call("projectAdmin", "DELETE", "/projects/team")).status_code == 200
    assert (await world.call("sysadmin", "GET", "/projects/team")).status_code == 404
    assert (await world.call("developer", "GET", "/projects/team")).status_code == 403
    await world.content.collect()


async def test_members_come_and_go(world: World) -> None:
    """By name or by id; twice is a conflict; an unknown user or role is told."""
    path = "/projects/team/members"
    user = {"member_user": {"username": "stranger"}}
    made = await world.call("projectAdmin", "POST", path, json={"role_id": 2, **user})
    assert made.status_code == 201
    location = made.headers["Location"].removeprefix("/api/v2.0")
    assert location.startswith(f"/projects/{world.projects['team']}/members/")
    member = (await world.call("guest", "GET", location)).json()
    assert (member["entity_name"], member["role_name"]) == ("stranger", "developer")
    assert member["entity_type"] == "u"
    for body, status in (
        ({"role_id": 2, **user}, 409),
        ({"role_id": 6, **user}, 400),
        ({"role_id": 2}, 400),
        ({"role_id": 2, "member_user": {"username": "ghost"}}, 404),
        ({"role_id": 2, "member_user": {"user_id": 2**63}}, 422),
        ({"role_id": 2, "member_group": {"group_name": "g"}}, 400),
    ):
        assert (await world.call("projectAdmin", "POST", path, json=body)).status_code == status
    await world.call("projectAdmin", "PUT", location, json={"role_id": 4})
    assert (await world.call("guest", "GET", location)).json()["role_id"] == 4
    found = await world.call("guest", "GET", path, params={"entityname": "STRANG"})
    assert [m["entity_name"] for m in found.json()] == ["stranger"]
    assert (await world.call("projectAdmin", "DELETE", location)).status_code == 200
    assert (await world.call("projectAdmin", "DELETE", location)).status_code == 404


async def test_metadata_is_set_one_by_one(world: World) -> None:
    """With Harbor's paths, the trailing slash included."""
    path = "/projects/team/metadatas/"
    who = "projectAdmin"
    assert (await world.call(who, "GET", path)).json() == {"public": "false"}
    assert (await world.call(who, "POST", path, json={"severity": "low"})).status_code == 200
    assert (await world.call(who, "POST", path, json={"severity": "low"})).status_code == 409
    assert (await world.call(who, "POST", path, json={"severity": "worst"})).status_code == 400
    assert (await world.call(who, "POST", path, json={"a": "1", "b": "2"})).status_code == 400
    one = path + "severity"
    assert (await world.call(who, "PUT", one, json={"severity": "high"})).status_code == 200
    assert (await world.call(who, "GET", one)).json() == {"severity": "high"}
    assert (await world.call(who, "PUT", one, json={"public": "true"})).status_code == 400
    project = (await world.call(who, "GET", "/projects/team")).json()
    assert project["metadata"] == {"public": "false", "severity": "high"}
    assert (await world.call(who, "DELETE", one)).status_code == 200
    assert (await world.call(who, "DELETE", one)).status_code == 404
    assert (await world.call(who, "GET", one)).status_code == 404


async def test_quotas_are_read_and_set_by_administrators(world: World) -> None:
    """In bytes; -1 is no limit and 0 is none of both."""
    team = str(world.projects["team"])
    page = await world.call("sysadmin", "GET", "/quotas", params={"reference_id": team})
    (quota,) = page.json()
    assert quota["ref"]["name"] == "team"
    assert (quota["hard"], quota["used"]) == ({"storage": -1}, {"storage": 0})
    path = f"/quotas/{quota['id']}"
    for hard, status in ((10, 200), (0, 400), (-2, 400), (2**63, 400), (-1, 200), (1000, 200)):
        body = {"hard": {"storage": hard}}
        assert (await world.call("sysadmin", "PUT", path, json=body)).status_code == status
    assert (await world.call("sysadmin", "GET", path)).json()["hard"] == {"storage": 1000}
    await world.content.push_image("team/app", "v1")
    used = (await world.call("guest", "GET", "/projects/team/summary")).json()["quota"]["used"]
    assert used["storage"] > 0
    sorted_ = await world.call("sysadmin", "GET", "/quotas", params={"sort": "-used.storage"})
    assert sorted_.json()[0]["ref"]["name"] == "team"


async def test_the_summary_tells_guests_less(world: World) -> None:
    """Who may not list members does not learn how many there are."""
    full = (await world.call("guest", "GET", "/projects/team/summary")).json()
    assert (full["project_admin_count"], full["maintainer_count"]) == (2, 1)
    assert (
        "project_admin_count"
        not in (await world.call("limitedGuest", "GET", "/projects/team/summary")).json()
    )
    assert (await world.call("", "GET", "/projects/open/summary")).json() == {"repo_count": 0}


async def test_statistics_count_what_the_caller_sees(world: World) -> None:
    """Zeros are printed."""
    await world.content.push_image("team/app", "v1")
    guest = (await world.call("guest", "GET", "/statistics")).json()
    assert guest["private_project_count"] == guest["private_repo_count"] == 1
    assert guest["total_storage_consumption"] == 0
    root = (await world.call("sysadmin", "GET", "/statistics")).json()
    assert root["total_project_count"] == 3
    assert root["total_storage_consumption"] > 0


async def test_search_finds_only_what_is_visible(world: World) -> None:
    """Projects and repositories by part of the name."""
    await world.content.push_image("team/app", "v1")
    await world.content.push_image("open/app", "v1")
    seen = {}
    for name in ("", "guest"):
        found = (await world.call(name, "GET", "/search", params={"q": "p"})).json()
        seen[name] = [item["repository_name"] for item in found["repository"]]
    assert seen == {"": ["open/app"], "guest": ["open/app", "team/app"]}
    assert (await world.call("", "GET", "/search")).status_code == 422


async def test_the_installation_tells_of_itself(world: World) -> None:
    """Less to nobody than to somebody; health is always a 200."""
    nobody = (await world.call("", "GET", "/systeminfo")).json()
    assert nobody["auth_mode"] == "db_auth"
    assert nobody["self_registration"] is False
    assert "harbor_version" not in nobody
    somebody = (await world.call("guest", "GET", "/systeminfo")).json()
    assert somebody["harbor_version"] == "v0.1.0"
    assert somebody["external_url"] == "https://registry.example"
    assert (await world.call("", "GET", "/ping")).text == "Pong"
    assert (await world.call("", "GET", "/health")).json()["status"] == "healthy"
    world.health.wrong["redis"] = "does not answer"
    sick = await world.call("", "GET", "/health")
    assert sick.status_code == 200
    assert sick.json()["status"] == "degraded"
    assert sick.json()["components"][-1] == {
        "name": "redis",
        "status": "unhealthy",
        "error": "does not answer",
    }
    async with world.client() as client:
        version = await client.get("http://test/api/version")
    assert version.json() == {"version": "v2.0"}
