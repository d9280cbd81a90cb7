"""Tag retention over REST."""

from typing import Any

import pytest
from tests.api.world import MEMBERS, World
from tests.support.accounts import in_project
from tests.support.content import sha256
from tests.support.jobs import ended, started, worker, working
from tests.support.retention import kind

from moorage.accounts.records import Permission

pytestmark = pytest.mark.anyio

WHO = "developer"
POLICIES = "/retentions"
MANAGERS = {"sysadmin", "projectAdmin", "maintainer", "developer"}
"""Who may do everything with the policy of `team`."""


def selector(decoration: str, pattern: str, **more: str) -> dict[str, str]:
    """One selector as a client sends it."""
    return {"kind": "doublestar", "decoration": decoration, "pattern": pattern, **more}


def rule(template: str = "latestPushedK", count: Any = 1, **more: Any) -> dict[str, Any]:
    """What Harbor's portal sends."""
    return {
        "disabled": False,
        "action": "retain",
        "template": template,
        "params": {template: count},
        "tag_selectors": [selector("matches", "**", extras='{"untagged":true}')],
        "scope_selectors": {"repository": [selector("repoMatches", "**")]},
        **more,
    }


def policy(*rules: Any, project: int = 1, cron: str = "", **more: Any) -> dict[str, Any]:
    """A whole policy."""
    return {
        "algorithm": "or",
        "rules": list(rules),
        "trigger": {"kind": "Schedule", "settings": {"cron": cron}, "references": {}},
        "scope": {"level": "project", "ref": project},
        **more,
    }


async def make(world: World, body: Any, who: str = WHO) -> str:
    """Make a policy; where it is."""
    answer = await world.call(who, "POST", POLICIES, json=body)
    assert (answer.status_code, answer.content) == (201, b""), answer.text
    return str(answer.headers["Location"]).removeprefix("/api/v2.0")


async def apply(world: World, path: str, *, dry_run: bool = False) -> str:
    """Apply a policy; where the execution is, which has ended."""
    answer = await world.call(WHO, "POST", f"{path}/executions", json={"dry_run": dry_run})
    assert answer.status_code == 201, answer.text
    found = str(answer.headers["Location"]).removeprefix("/api/v2.0")
    async with working(worker(world.content.db, kind(world.content))):
        await ended(world.content.db, int(found.rpartition("/")[2]))
    return found


async def get(world: World, path: str, who: str = WHO, **parameters: str) -> Any:
    """What is answered."""
    answer = await world.call(who, "GET", path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_policy_is_read_as_it_was_sent(world: World) -> None:
    sent = policy(
        rule(),
        rule("always", 0, params={}, disabled=True, priority=2),
        rule("lastXDays", 3, tag_selectors=[selector("excludes", "x")]),
        cron="0 0 2 * * *",
    )
    path = await make(world, sent)
    found = await get(world, path)
    number = int(path.rpartition("/")[2])
    assert found == {
        "id": number,
        "algorithm": "or",
        "rules": [
            {key: value for key, value in sent["rules"][0].items() if key != "disabled"},
            {"id": 1, **sent["rules"][1]},
            {
                "id": 2,
                **{key: value for key, value in sent["rules"][2].items() if key != "disabled"},
            },
        ],
        "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 2 * * *"}, "references": {}},
        "scope": {"level": "project", "ref": 1},
    }
    assert (await world.call(WHO, "PUT", path, json=found)).status_code == 200
    assert await get(world, path) == found
    metadata = (await get(world, "/projects/team"))["metadata"]
    assert metadata["retention_id"] == str(number)
    assert (await world.call(WHO, "DELETE", path)).status_code == 200
    assert "retention_id" not in (await get(world, "/projects/team"))["metadata"]
    assert (await world.call("sysadmin", "GET", path)).status_code == 404


async def test_templates_and_selectors_are_offered_as_in_harbor(world: World) -> None:
    found = await get(world, f"{POLICIES}/metadatas", "stranger")
    assert {each["rule_template"]: (each["params"] or [{}])[0] for each in found["templates"]} == {
        "latestPushedK": {"type": "int", "unit": "COUNT", "required": True},
        "latestPulledN": {"type": "int", "unit": "COUNT", "required": True},
        "nDaysSinceLastPush": {"type": "int", "unit": "DAYS", "required": True},
        "nDaysSinceLastPull": {"type": "int", "unit": "DAYS", "required": True},
        "always": {},
    }
    assert {each["action"] for each in found["templates"]} == {"retain"}
    assert found["tag_selectors"] == [
        {"display_text": "Tags", "kind": "doublestar", "decorations": ["matches", "excludes"]}
    ]


WRONG: list[tuple[Any, int]] = [
    (policy(algorithm="and"), 400),
    (policy(scope={"level": "system", "ref": 1}), 400),
    (policy(rule("latest")), 400),
    (policy(rule(params={})), 400),
    (policy(rule(count=-1)), 400),
    (policy(rule(count="x")), 400),
    (policy(rule(action="delete")), 400),
    (policy(rule(tag_selectors=[])), 400),
    (policy(rule(tag_selectors=[selector("matches", "**", extras="{")])), 400),
    (policy(rule(scope_selectors={})), 400),
    (policy(rule(scope_selectors={"project": [selector("repoMatches", "**")]})), 400),
    (policy(rule(tag_selectors=[selector("matches", "[")])), 400),
    (policy(cron="* * * * *"), 400),
    (policy(cron="* 0 0 * * *"), 400),
    (policy(trigger={"kind": "Event"}), 400),
    (policy(trigger={"settings": {"cron": 7}}), 400),
    (policy(*(rule(count=number) for number in range(16))), 400),
    (policy(rule(), rule(id=5, priority=1)), 409),
    (policy(rule(priority=-1)), 422),
    (policy(rules="all"), 400),
]


async def test_a_wrong_policy_is_refused(world: World) -> None:
    """Told what is wrong, and nothing is made or changed."""
    for body, status in WRONG:
        answer = await world.call(WHO, "POST", POLICIES, json=body)
        assert answer.status_code == status, (body, answer.text)
    path = await make(world, policy(rule()))
    before = await get(world, path)
    for body, status in WRONG:
        answer = await world.call(WHO, "PUT", path, json=body)
        assert answer.status_code == status, (body, answer.text)
        assert answer.json()["errors"][0]["message"]
    again = await world.call(WHO, "POST", POLICIES, json=policy(rule()))
    assert again.status_code == 400
    assert "already has retention policy" in again.json()["errors"][0]["message"]
    assert await get(world, path) == before


async def test_a_policy_does_not_change_its_project(world: World) -> None:
    """Not even for somebody who may do anything in both."""
    path = await make(world, policy(rule()))
    for who in ("sysadmin", WHO):
        answer = await world.call(who, "PUT", path, json=policy(project=world.projects["other"]))
        assert answer.status_code == 404
    without = {"rules": [], "trigger": {"settings": {"cron": ""}}}
    assert (await world.call(WHO, "PUT", path, json=without)).status_code == 200
    found = await get(world, path)
    assert (found["scope"]["ref"], found["rules"]) == (world.projects["team"], None)


async def test_an_execution_is_seen_with_its_repositories_and_their_logs(world: World) -> None:
    old = sha256(await world.content.push_image("team/a/b", "v1", b"1"))
    await world.content.push_image("team/a/b", "v2", b"2")
    path = await make(world, policy(rule()))
    dry = await apply(world, path, dry_run=True)
    real = await apply(world, path)
    listed = await get(world, f"{path}/executions")
    assert [(each["id"], each["dry_run"]) for each in listed] == [
        (int(real.rpartition("/")[2]), False),
        (int(dry.rpartition("/")[2]), True),
    ]
    assert {(each["policy_id"], each["status"], each["trigger"]) for each in listed} == {
        (int(path.rpartition("/")[2]), "Success", "MANUAL")
    }
    (task,) = await get(world, f"{real}/tasks")
    assert (task["repository"], task["total"], task["retained"]) == ("team/a/b", 2, 1)
    assert (task["status"], task["status_code"], task["job_id"]) == (
        "Success",
        3,
        str(task["id"]),
    )
    answer = await world.call(WHO, "GET", f"{real}/tasks/{task['id']}")
    assert answer.headers["content-type"].startswith("text/plain")
    (line,) = (each for each in answer.text.splitlines() if old in each)
    assert line.rstrip(" |").endswith("DEL")
    assert (await world.call(WHO, "GET", f"{dry}/tasks/{task['id']}")).status_code == 404
    gone = f"/projects/team/repositories/a%252Fb/artifacts/{old}"
    assert (await world.call(WHO, "GET", gone)).status_code == 404


async def test_an_execution_waits_and_is_stopped(world: World) -> None:
    """A second one is refused until then."""
    await world.content.push_image("team/app", "v1")
    path = await make(world, policy(rule("nothing", 0)))
    made = await world.call(WHO, "POST", f"{path}/executions", json={})
    execution = made.headers["Location"].removeprefix("/api/v2.0")
    again = await world.call(WHO, "POST", f"{path}/executions", json={"dry_run": False})
    assert again.status_code == 409
    number = int(execution.rpartition("/")[2])
    assert await started(world.content.db) == [(WHO, "RETENTION", number)]
    wrong = await world.call(WHO, "PATCH", execution, json={"action": "start"})
    assert wrong.status_code == 400
    (task,) = await get(world, f"{execution}/tasks")
    assert (task["status"], task["status_code"], task["total"]) == ("Pending", 0, 0)
    stopped = await world.call(WHO, "PATCH", execution, json={"action": "stop"})
    assert stopped.status_code == 200
    (found,) = await get(world, f"{path}/executions")
    assert found["status"] == "Stopped"
    assert (await world.call(WHO, "POST", f"{path}/executions", json={})).status_code == 201


async def test_a_preview_shows_each_artifact_with_the_rules_that_keep_it(world: World) -> None:
    for tag in ("v1", "v2", "v3"):
        await world.content.push_image("team/app", tag, tag.encode())
    chosen = [selector("matches", "v1", extras='{"untagged":false}')]
    body = policy(rule(), rule("always", tag_selectors=chosen))
    path = f"{POLICIES}/preview"
    answer = await world.call(WHO, "POST", path, json=body, params={"page_size": "2"})
    assert answer.status_code == 200
    assert answer.headers["X-Total-Count"] == "3"
    assert 'rel="next"' in answer.headers["Link"]
    one, two = answer.json()
    assert (one["repository"], one["tags"], one["retained"]) == ("team/app", ["v1"], True)
    assert (one["reason"], one["rules"]) == ("rule", [{"id": 1, "template": "always"}])
    assert (two["tags"], two["retained"], two["rules"]) == (["v2"], False, None)
    later = await world.call(WHO, "POST", path, json=body, params={"page_size": "2", "page": "2"})
    assert [each["rules"] for each in later.json()] == [[{"id": 0, "template": "latestPushedK"}]]
    for wrong, status in WRONG[:4]:
        assert (await world.call(WHO, "POST", path, json=wrong)).status_code == status
    assert "retention_id" not in (await get(world, "/projects/team"))["metadata"]
    assert len(await get(world, "/projects/team/repositories/app/artifacts")) == 3


# --- who may


async def routes(world: World, path: str, execution: str, task: int) -> list[Any]:
    """Every call about one policy that changes little, in an order in which each works."""
    here = world.projects["team"]
    return [
        ("GET", path, None),
        ("PUT", path, policy(rule())),
        ("GET", f"{path}/executions", None),
        ("GET", f"{execution}/tasks", None),
        ("GET", f"{execution}/tasks/{task}", None),
        ("PATCH", execution, {"action": "stop"}),
        ("POST", f"{path}/executions", {"dry_run": True}),
        ("POST", POLICIES, policy(rule(), project=here)),
        ("POST", f"{POLICIES}/preview", policy(rule(), project=here)),
    ]


async def test_only_those_who_may_in_its_project_reach_a_policy(world: World) -> None:
    """Everybody else reads what he reads of one that is not there.

    CVE-2022-31670.
    """
    await world.content.push_image("team/app", "v1")
    path = await make(world, policy(rule()))
    execution = await apply(world, path, dry_run=True)
    (task,) = await get(world, f"{execution}/tasks")
    tried = await routes(world, path, execution, task["id"])
    for who in ("", "stranger", "sysadmin", *MEMBERS):
        for method, where, body in tried:
            answer = await world.call(who, method, where, json=body)
            refused = answer.status_code in (401, 403)
            assert refused == (who not in MANAGERS), (who, method, where, answer.text)
            if refused and where != POLICIES and "preview" not in where:
                nowhere = where.replace(path, f"{POLICIES}/4711", 1)
                absent = await world.call(who, method, nowhere, json=body)
                assert (absent.status_code, absent.text) == (answer.status_code, answer.text)
    for who in ("", "stranger", "guest", "limitedGuest"):
        assert (await world.call(who, "DELETE", path)).status_code in (401, 403)
    assert (await world.call("maintainer", "DELETE", path)).status_code == 200


async def test_an_execution_of_another_policy_is_not_found(world: World) -> None:
    """Nor its tasks and logs, whoever asks with a policy of his own; nothing is stopped.

    CVE-2022-31670.
    """
    await world.content.push_image("other/app", "v1")
    mine = await make(world, policy(rule()))
    theirs = await make(world, policy(rule(), project=world.projects["other"]), "sysadmin")
    await world.content.push_image("team/app", "v1")
    ours = await apply(world, mine, dry_run=True)
    made = await world.call("sysadmin", "POST", f"{theirs}/executions", json={})
    number = made.headers["Location"].rpartition("/")[2]
    (task,) = await get(world, f"{theirs}/executions/{number}/tasks", "sysadmin")
    for who in (WHO, "sysadmin"):
        for method, where, body in (
            ("PATCH", f"{mine}/executions/{number}", {"action": "stop"}),
            ("GET", f"{mine}/executions/{number}/tasks", None),
            ("GET", f"{mine}/executions/{number}/tasks/{task['id']}", None),
            ("GET", f"{ours}/tasks/{task['id']}", None),
        ):
            assert (await world.call(who, method, where, json=body)).status_code == 404
    (found,) = await get(world, f"{theirs}/executions", "sysadmin")
    assert found["status"] == "Pending"


async def test_a_robot_does_what_its_pairs_say(world: World) -> None:
    """In its project and in no other; none may preview, as no robot may hold `operate`."""
    await world.content.push_image("team/app", "v1")
    pairs = {each: f"tag-retention:{each}" for each in ("create", "read", "update", "list")}
    for name, pair in pairs.items():
        await world.robot(name, in_project("team", pair))
    everything = in_project("other", *pairs.values(), "tag-retention:delete")
    assert isinstance(everything, Permission)
    await world.robot("elsewhere", everything)
    path = await make(world, policy(rule()), "create")
    execution = await apply(world, path, dry_run=True)
    (task,) = await get(world, f"{execution}/tasks")
    wanted = {
        ("GET", path): "read",
        ("PUT", path): "update",
        ("GET", f"{path}/executions"): "list",
        ("GET", f"{execution}/tasks"): "list",
        ("GET", f"{execution}/tasks/{task['id']}"): "read",
        ("PATCH", execution): "update",
        ("POST", f"{path}/executions"): "update",
        ("POST", POLICIES): "create",
        ("POST", f"{POLICIES}/preview"): "operate",
    }
    for method, where, body in await routes(world, path, execution, task["id"]):
        for name in (*pairs, "elsewhere"):
            answer = await world.call(name, method, where, json=body)
            opened = answer.status_code != 403
            assert opened == (wanted[method, where] == name), (name, method, where, answer.text)
