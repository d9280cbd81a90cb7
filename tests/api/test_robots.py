"""Robot accounts over REST."""

from typing import Any

import pytest
from tests.api.world import World

from moorage.access.principals import Principal

pytestmark = pytest.mark.anyio


def access(*pairs: str) -> list[dict[str, str]]:
    """Pairs as a body has them: "repository:pull"."""
    return [dict(zip(("resource", "action"), pair.split(":"), strict=True)) for pair in pairs]


def robot(project: str, *pairs: str, **more: Any) -> dict[str, Any]:
    """The body for a robot account of one project."""
    return {
        "name": "builder",
        "level": "project",
        "duration": -1,
        "permissions": [{"kind": "project", "namespace": project, "access": access(*pairs)}],
        **more,
    }


async def make(world: World, who: str, body: dict[str, Any]) -> dict[str, Any]:
    """Make a robot account, who from then on calls as `bot`."""
    made = await world.call(who, "POST", "/robots", json=body)
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    assert made.headers["Location"] == f"/api/v2.0/robots/{found['id']}"
    world.people["bot"] = Principal("robot", found["id"], found["name"])
    return found


async def test_a_project_administrator_makes_a_robot(world: World) -> None:
    """The secret is shown once; pushing includes pulling; Harbor's fields are there."""
    made = await make(world, "projectAdmin", robot("team", "repository:push"))
    assert made["name"] == "robot$team+builder"
    assert len(made["secret"]) == 32
    assert made["expires_at"] == -1
    shown = (await world.call("guest", "GET", f"/robots/{made['id']}")).json()
    assert made["secret"] not in str(shown)
    assert (shown["level"], shown["editable"], shown["disable"]) == ("project", True, False)
    assert shown["duration"] == -1
    assert shown["creator_type"] == "local"
    assert shown["creator_ref"] == world.people["projectAdmin"].id
    (permission,) = shown["permissions"]
    assert permission["access"] == access("repository:pull", "repository:push")
    again = await world.call("projectAdmin", "POST", "/robots", json=robot("team", "tag:list"))
    assert again.status_code == 409


REFUSED: list[tuple[str, dict[str, Any], int]] = [
    ("maintainer", robot("team", "repository:pull"), 403),
    ("projectAdmin", robot("other", "repository:pull"), 403),
    ("projectAdmin", robot("nowhere", "repository:pull"), 403),
    ("sysadmin", robot("nowhere", "repository:pull"), 404),
    ("projectAdmin", robot("*", "repository:pull"), 400),
    ("projectAdmin", robot("team", "catalog:read"), 400),
    ("projectAdmin", robot("team"), 400),
    ("projectAdmin", robot("team", "repository:pull", name="A b"), 400),
    ("projectAdmin", robot("team", "repository:pull", duration=0), 400),
    ("projectAdmin", robot("team", "repository:pull", secret="weak"), 400),
    ("projectAdmin", robot("team", "repository:pull", level="root"), 400),
    ("projectAdmin", robot("team", "repository:pull", level="system"), 403),
    ("projectAdmin", robot("team", "repository:pull", permissions=None), 400),
    ("projectAdmin", {}, 400),
]


async def test_nobody_gives_more_than_he_holds(world: World) -> None:
    """Nor what cannot be given at all."""
    for who, body, status in REFUSED:
        answer = await world.call(who, "POST", "/robots", json=body)
        assert answer.status_code == status, (who, body, answer.text)


async def test_a_robot_acts_within_its_rows(world: World) -> None:
    """In its own project alone, until it is disabled or deleted."""
    await world.content.push_image("team/app", "v1")
    made = await make(world, "projectAdmin", robot("team", "repository:list", "repository:read"))
    assert (await world.call("bot", "GET", "/projects/team/repositories")).status_code == 200
    assert (await world.call("bot", "GET", "/projects/team")).status_code == 403
    assert (await world.call("bot", "GET", "/projects/other/repositories")).status_code == 403
    listed = await world.call("bot", "GET", "/repositories")
    assert [item["name"] for item in listed.json()] == ["team/app"]
    assert (
        await world.call("bot", "POST", "/projects", json={"project_name": "x"})
    ).status_code == 403
    path = f"/robots/{made['id']}"
    assert (
        await world.call("projectAdmin", "PUT", path, json={"disable": True})
    ).status_code == 200
    assert (await world.call("bot", "GET", "/projects/team/repositories")).status_code == 403
    assert (await world.call("projectAdmin", "DELETE", path)).status_code == 200
    assert (await world.call("projectAdmin", "GET", path)).status_code == 403
    assert (await world.call("sysadmin", "GET", path)).status_code == 404


async def test_a_robot_is_changed_but_not_renamed(world: World) -> None:
    """What the body leaves out stays; its project stays too."""
    made = await make(world, "projectAdmin", robot("team", "repository:pull"))
    path = f"/robots/{made['id']}"
    for body, status in (
        ({"description": "builds"}, 200),
        ({"name": made["name"], "level": "project", "duration": 7}, 200),
        ({"name": "other"}, 400),
        ({"level": "system"}, 400),
        ({"permissions": robot("other", "repository:pull")["permissions"]}, 400),
        ({"permissions": robot("team", "catalog:read")["permissions"]}, 400),
    ):
        answer = await world.call("projectAdmin", "PUT", path, json=body)
        assert answer.status_code == status, (body, answer.text)
    shown = (await world.call("projectAdmin", "GET", path)).json()
    assert (shown["description"], shown["duration"]) == ("builds", 7)
    assert shown["expires_at"] > 0


async def test_a_secret_is_renewed(world: World) -> None:
    """A random one is shown, a chosen one follows the rule and is not."""
    made = await make(world, "projectAdmin", robot("team", "repository:pull"))
    path = f"/robots/{made['id']}"
    fresh = (await world.call("projectAdmin", "PATCH", path, json={})).json()["secret"]
    assert fresh != made["secret"]
    own = await world.call("projectAdmin", "PATCH", path, json={"secret": "Harbour2026"})
    assert own.json() == {}
    weak = await world.call("projectAdmin", "PATCH", path, json={"secret": "weak"})
    assert weak.status_code == 400
    assert (await world.call("developer", "PATCH", path, json={})).status_code == 403


async def test_robots_are_listed_by_scope(world: World) -> None:
    """Those of the system by default, those of a project with its id."""
    await make(world, "projectAdmin", robot("team", "repository:pull"))
    system = {
        "name": "spider",
        "level": "system",
        "duration": 1,
        "permissions": [
            {"kind": "system", "namespace": "/", "access": access("catalog:read")},
            {"kind": "project", "namespace": "*", "access": access("repository:pull")},
        ],
    }
    await make(world, "sysadmin", system)
    everywhere = await world.call("sysadmin", "GET", "/robots")
    assert [item["name"] for item in everywhere.json()] == ["robot$spider"]
    named = await world.call("sysadmin", "GET", "/robots", params={"q": "name=robot$spider"})
    assert len(named.json()) == 1
    team = {"q": f"Level=project,ProjectID={world.projects['team']}"}
    listed = await world.call("guest", "GET", "/robots", params=team)
    assert [item["name"] for item in listed.json()] == ["robot$team+builder"]
    assert (await world.call("stranger", "GET", "/robots", params=team)).status_code == 403
    for q in ("Level=project", "Level=root", "Level=project,ProjectID=x"):
        assert (await world.call("sysadmin", "GET", "/robots", params={"q": q})).status_code == 400


async def test_a_robot_hands_on_no_more_than_it_has(world: World) -> None:
    """It may make robot accounts where its rows say so, with a subset of its rights."""
    pairs = ("robot:create", "robot:read", "repository:pull")
    await make(world, "projectAdmin", robot("team", *pairs))
    less = robot("team", "repository:pull", name="less")
    more = robot("team", "repository:push", name="more")
    assert (await world.call("bot", "POST", "/robots", json=more)).status_code == 403
    made = await world.call("bot", "POST", "/robots", json=less)
    assert made.status_code == 201
    shown = (await world.call("bot", "GET", f"/robots/{made.json()['id']}")).json()
    assert shown["creator_type"] == "robot"
