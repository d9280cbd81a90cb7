"""Rules that keep tags as they are, over REST."""

from typing import Any

import pytest
from tests.api.world import World
from tests.support.content import sha256

pytestmark = pytest.mark.anyio

RULES = "/projects/team/immutabletagrules"
WHO = "maintainer"
IMAGE = "/projects/team/repositories/app/artifacts/v1"


def selector(decoration: str, pattern: str, kind: str = "doublestar") -> dict[str, str]:
    """One selector as a client sends it."""
    return {"kind": kind, "decoration": decoration, "pattern": pattern}


def rule(tags: str = "v*", repositories: str = "**", **more: Any) -> dict[str, Any]:
    """What Harbor's portal sends."""
    return {
        "disabled": False,
        "action": "immutable",
        "template": "immutable_template",
        "params": {},
        "tag_selectors": [selector("matches", tags)],
        "scope_selectors": {"repository": [selector("repoMatches", repositories)]},
        **more,
    }


async def make(world: World, body: dict[str, Any]) -> str:
    """Make a rule; where it is."""
    answer = await world.call(WHO, "POST", RULES, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.content == b""
    return str(answer.headers["Location"]).removeprefix("/api/v2.0")


async def listed(world: World, **parameters: str) -> Any:
    """The rules of the project."""
    return (await world.call(WHO, "GET", RULES, params=parameters)).json()


async def test_a_rule_is_made_and_listed(world: World) -> None:
    """With what Harbor's clients read; zeros are left out as Harbor does."""
    first = await make(world, rule())
    second = await make(world, rule("x", disabled=True, priority=3))
    answer = await world.call(WHO, "GET", RULES)
    assert answer.headers["X-Total-Count"] == "2"
    one, two = answer.json()
    assert one == {
        "id": int(first.rpartition("/")[2]),
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [selector("matches", "v*")],
        "scope_selectors": {"repository": [selector("repoMatches", "**")]},
    }
    assert two["id"] == int(second.rpartition("/")[2])
    assert (two["disabled"], two["priority"]) == (True, 3)
    assert [r["id"] for r in await listed(world, sort="-id")] == [two["id"], one["id"]]
    assert [r["id"] for r in await listed(world, q="disabled=true")] == [two["id"]]
    assert [r["id"] for r in await listed(world, page="2", page_size="1")] == [two["id"]]


async def test_action_and_template_may_be_left_out(world: World) -> None:
    """There is only one of each; null is not there either."""
    body = rule(action=None, params=None)
    del body["template"]
    await make(world, body)
    assert (await listed(world))[0]["template"] == "immutable_template"


WRONG: list[tuple[Any, int]] = [
    ({}, 400),
    (rule(action="retain"), 400),
    (rule(template="always"), 400),
    (rule(tag_selectors=[]), 400),
    (rule(scope_selectors={}), 400),
    (rule(scope_selectors={"project": [selector("repoMatches", "**")]}), 400),
    (rule(tag_selectors=[selector("repoMatches", "**")]), 400),
    (rule(tag_selectors=[selector("matches", "**", "label")]), 400),
    (rule(tag_selectors=[selector("matches", "[")]), 400),
    (rule(tag_selectors=[selector("matches", "")]), 400),
    (rule(tag_selectors=[selector("matches", "a" * 1025)]), 400),
    (rule(tag_selectors=[selector("matches", "(", "regex")]), 400),
    (rule(tag_selectors=[selector("matches", "latest", "semver")]), 400),
    (rule(tag_selectors=[selector("matches", "a\0")]), 422),
    (rule(tag_selectors="v*"), 400),
    (rule(tag_selectors=[7]), 400),
    (rule(scope_selectors={"repository": "**"}), 400),
    (rule(priority=-1), 422),
    (rule(priority=2**31), 422),
    (rule(disabled="maybe"), 400),
    ([], 422),
]


async def test_a_wrong_rule_is_refused(world: World) -> None:
    """Told what is wrong, in Harbor's form, and nothing is made or changed."""
    path = await make(world, rule())
    before = await listed(world)
    for body, status in WRONG:
        for method, where in (("POST", RULES), ("PUT", path)):
            if method == "PUT" and body == {}:
                continue  # that enables the rule
            answer = await world.call(WHO, method, where, json=body)
            assert answer.status_code == status, (method, body, answer.text)
            assert answer.json()["errors"][0]["message"]
    assert await listed(world) == before


async def test_the_same_rule_twice_is_a_conflict(world: World) -> None:
    """Whatever else it says; also when one becomes the other."""
    await make(world, rule())
    other = await make(world, rule("x"))
    for method, where in (("POST", RULES), ("PUT", other)):
        answer = await world.call(WHO, method, where, json=rule(disabled=True, priority=2))
        assert answer.status_code == 409, answer.text
        assert answer.json()["errors"][0]["code"] == "CONFLICT"


async def test_a_rule_is_changed_switched_and_deleted(world: World) -> None:
    """A body without selectors only switches it."""
    path = await make(world, rule())
    number = int(path.rpartition("/")[2])
    body = rule("w*", id=4711, priority=5, disabled=True)
    assert (await world.call(WHO, "PUT", path, json=body)).status_code == 200
    (found,) = await listed(world)
    assert (found["id"], found["priority"], found["disabled"]) == (number, 5, True)
    assert found["tag_selectors"][0]["pattern"] == "w*"
    for disabled in (False, True):
        switch = {"id": number, "disabled": disabled}
        assert (await world.call(WHO, "PUT", path, json=switch)).status_code == 200
        (found,) = await listed(world)
        assert found.get("disabled", False) == disabled
        assert found["tag_selectors"][0]["pattern"] == "w*"
    assert (await world.call(WHO, "DELETE", path)).status_code == 200
    assert (await world.call(WHO, "DELETE", path)).status_code == 404
    assert (await world.call(WHO, "PUT", path, json=rule())).status_code == 404
    assert await listed(world) == []


async def test_a_rule_of_another_project_is_not_found(world: World) -> None:
    """Nothing of it is told, and nothing happens to it."""
    path = await make(world, rule())
    number = path.rpartition("/")[2]
    for project in ("open", "other"):
        elsewhere = f"/projects/{project}/immutabletagrules/{number}"
        for method, body in (("PUT", rule("x")), ("PUT", {"disabled": True}), ("DELETE", None)):
            answer = await world.call("sysadmin", method, elsewhere, json=body)
            assert answer.status_code == 404, (project, method)
    (found,) = await listed(world)
    assert found["tag_selectors"][0]["pattern"] == "v*"
    assert "disabled" not in found


async def test_a_rule_that_is_no_number_is_told_so(world: World) -> None:
    """And one that no database can hold."""
    for number in ("x", "-1", str(2**63)):
        assert (await world.call(WHO, "DELETE", f"{RULES}/{number}")).status_code == 422


async def test_what_is_kept_answers_412(world: World) -> None:
    """Its tag, its artifact by tag and by digest, and its repository."""
    manifest = await world.content.push_image("team/app", "v1")
    await make(world, rule())
    repository = "/projects/team/repositories/app"
    for path in (
        f"{IMAGE}/tags/v1",
        IMAGE,
        f"{repository}/artifacts/{sha256(manifest)}",
        repository,
    ):
        answer = await world.call(WHO, "DELETE", path)
        assert answer.status_code == 412, path
        error = answer.json()["errors"][0]
        assert error["code"] == "PRECONDITION"
        assert "'app:v1' configured as immutable" in error["message"]
    assert (await world.call(WHO, "GET", IMAGE)).status_code == 200
    again = await world.call(WHO, "POST", f"{IMAGE}/tags", json={"name": "v1"})
    assert again.status_code == 409


async def test_tags_say_whether_they_are_kept(world: World) -> None:
    """Where it is asked for, in every list of tags and artifacts."""
    await world.content.push_image("team/app", "v1")
    await world.content.push_image("team/app", "latest")
    await world.content.push_image("team/other", "v1", b"other")
    await make(world, rule(repositories="app"))
    artifacts = "/projects/team/repositories/app/artifacts"
    for asked in ("true", "false"):
        parameters = {"with_immutable_status": asked}
        answers = [
            (await world.call("guest", "GET", path, params=parameters)).json()
            for path in (IMAGE, artifacts, f"{IMAGE}/tags", "/projects/team/artifacts")
        ]
        one, (many,), tags, all_ = answers
        kept = {"v1": asked == "true", "latest": False}
        for found in (one["tags"], many["tags"], tags):
            assert {tag["name"]: tag["immutable"] for tag in found} == kept
        other = next(a for a in all_ if a["repository_name"] == "team/other")
        assert [tag["immutable"] for tag in other["tags"]] == [False]


async def test_a_robot_with_the_right_to_it_makes_rules(world: World) -> None:
    """The rights of project robots hold those of the resource."""
    answer = await world.call("projectAdmin", "GET", "/permissions")
    pairs = {(p["resource"], p["action"]) for p in answer.json()["project"]}
    assert {("immutable-tag", each) for each in ("create", "list", "update", "delete")} <= pairs
