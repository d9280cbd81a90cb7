"""Replication over the REST API: policies, previews, runs, their tasks and logs."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.api.world import World
from tests.support.jobs import ended, started, worker, working
from tests.support.otherregistry import OtherRegistry

from moorage.jobs import Kind
from moorage.replication import KIND, PLAN, MoveJob, PlanJob

pytestmark = pytest.mark.anyio

POLICIES, RUNS = "/replication/policies", "/replication/executions"


@pytest.fixture
async def other() -> AsyncIterator[OtherRegistry]:
    async with OtherRegistry().serving() as found:
        yield found


async def register(world: World, other: OtherRegistry) -> int:
    sent = {"name": "other", "type": "docker-registry", "url": other.url}
    answer = await world.call("sysadmin", "POST", "/registries", json=sent)
    return int(answer.headers["location"].rpartition("/")[2])


def pulling(registry: int, **more: Any) -> dict[str, Any]:
    return {
        "name": "mirror",
        "src_registry": {"id": registry},
        "dest_namespace": "team",
        "dest_namespace_replace_count": 1,
        "filters": [{"type": "name", "value": "up/**"}],
        "trigger": {"type": "manual"},
        "enabled": True,
        "override": True,
        **more,
    }


async def made(world: World, path: str, sent: Any) -> str:
    answer = await world.call("sysadmin", "POST", path, json=sent)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"].removeprefix("/api/v2.0"))


async def test_a_preview_moves_nothing(world: World, other: OtherRegistry) -> None:
    """It says of each artifact what would become of it."""
    registry = await register(world, other)
    other.push("up/app", "v1", "v2")
    other.push("up/new", "v1", layers=(b"new",))
    await world.content.push_image("team/app", "v1")
    await world.content.push_image("team/app", "v2", layers=(b"other",))
    answer = await world.call("sysadmin", "POST", f"{POLICIES}/preview", json=pulling(registry))
    assert answer.status_code == 200, answer.text
    shown = {each["src_resource"]: each["outcome"] for each in answer.json()}
    assert shown == {"up/app:[v1,v2]": "override", "up/new:v1": "new"}
    assert answer.headers["x-total-count"] == "2"
    assert other.asked("GET", "/blobs/") == []
    assert (await world.call("sysadmin", "GET", POLICIES)).json() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"filters": [{"type": "name", "value": 5}]},
        {"filters": [{"type": "name", "value": ["a"]}]},
        {"filters": [{"type": "name", "value": "{a,b}" * 40}]},
        {"filters": [{"type": "label", "value": {"a": 1}}]},
        {"filters": [{"type": "colour", "value": "red"}]},
        {"dest_namespace": "UP"},
        {"dest_namespace_replace_count": -7},
        {"src_registry": None},
    ],
)
async def test_a_preview_of_what_would_be_no_policy(
    world: World, other: OtherRegistry, wrong: dict[str, Any]
) -> None:
    """It is refused as the policy itself is, before anybody is asked."""
    said = pulling(await register(world, other)) | wrong
    other.requests.clear()
    for path in (f"{POLICIES}/preview", POLICIES):
        answer = await world.call("sysadmin", "POST", path, json=said)
        assert answer.status_code == 400, (path, answer.text)
    assert other.requests == []


async def test_a_run_with_a_task_that_fails(world: World, other: OtherRegistry) -> None:
    """Counted, narrowed, logged, and done again."""
    registry = await register(world, other)
    other.push("up/app", "v1")
    bad = other.push("up/bad", "v1", layers=(b"bad",))
    payload = other.manifests["up/bad", bad]
    other.swapped[bad] = b"{}"
    policy = await made(world, POLICIES, pulling(registry, speed=-1, copy_by_chunk=True))
    number = int(policy.rpartition("/")[2])
    kinds = Kind(PLAN, PlanJob(world.replicating)), Kind(KIND, MoveJob(world.replicating))
    async with working(worker(world.content.db, *kinds, bell=world.bell)):
        path = await made(world, RUNS, {"policy_id": number})
        await ended(world.content.db, int(path.rpartition("/")[2]))
        run = (await world.call("sysadmin", "GET", path)).json()
        assert (run["status"], run["total"], run["failed"], run["succeed"]) == ("Failed", 2, 1, 1)
        failed = await world.call("sysadmin", "GET", f"{path}/tasks?status=Failed")
        (task,) = failed.json()
        assert (task["src_resource"], task["dst_resource"]) == ("up/bad:v1", "team/bad:v1")
        assert "another manifest" in task["message"]
        log = await world.call("sysadmin", "GET", f"{path}/tasks/{task['id']}/log")
        assert "another manifest" in log.text
        images = await world.call("sysadmin", "GET", f"{path}/tasks?resource_type=chart")
        assert images.json() == []
        del other.swapped[bad]
        assert payload
        again = await made(world, f"{path}/tasks/{task['id']}/retry", None)
        await ended(world.content.db, int(again.rpartition("/")[2]))
    both = [("sysadmin", KIND, int(each.rpartition("/")[2])) for each in (path, again)]
    assert await started(world.content.db) == both
    assert (await world.call("sysadmin", "GET", again)).json()["status"] == "Succeed"
    listed = await world.call("sysadmin", "GET", f"{RUNS}?policy_id={number}&status=Failed")
    assert [each["id"] for each in listed.json()] == [run["id"]]
    other_trigger = await world.call("sysadmin", "GET", f"{RUNS}?trigger=scheduled")
    assert other_trigger.json() == []


async def test_what_is_wrong_is_said(world: World, other: OtherRegistry) -> None:
    """400 for a policy that cannot be, 404 for one that is not, 412 for one that is off."""
    registry = await register(world, other)
    for wrong in (
        {"src_registry": None},
        {"dest_registry": {"id": registry}},
        {"trigger": {"type": "scheduled", "trigger_settings": {"cron": "* * * * * *"}}},
        {"filters": [{"type": "size", "value": "1"}]},
        {"filters": [{"type": "tag", "value": {"a": 1}}]},
        {"src_registry": {"id": 99}},
    ):
        sent = pulling(registry) | wrong
        answer = await world.call("sysadmin", "POST", POLICIES, json=sent)
        assert answer.status_code == 400, (wrong, answer.text)
    path = await made(world, POLICIES, pulling(registry, enabled=False))
    number = int(path.rpartition("/")[2])
    off = await world.call("sysadmin", "POST", RUNS, json={"policy_id": number})
    assert off.status_code == 412
    assert (
        await world.call("sysadmin", "POST", POLICIES, json=pulling(registry))
    ).status_code == 409
    assert (await world.call("sysadmin", "POST", RUNS, json={"policy_id": 99})).status_code == 404
    assert (await world.call("sysadmin", "GET", f"{RUNS}/99/tasks")).status_code == 404
    used = await world.call("sysadmin", "DELETE", f"/registries/{registry}")
    assert used.status_code == 412
    assert (await world.call("sysadmin", "DELETE", path)).status_code == 200
    assert (await world.call("sysadmin", "GET", path)).status_code == 404


async def test_a_policy_is_printed_as_it_was_said(world: World, other: OtherRegistry) -> None:
    """With filters of every sort, and its schedule."""
    registry = await register(world, other)
    conditions = [
        {"type": "name", "value": "up/**", "decoration": "matches"},
        {"type": "tag", "value": ">=1", "decoration": "excludes", "kind": "semver"},
        {"type": "label", "value": ["a"], "decoration": "matches"},
    ]
    times = {"type": "scheduled", "trigger_settings": {"cron": "0 30 2 * * *"}}
    sent = pulling(registry, filters=conditions, trigger=times, single_active_replication=True)
    path = await made(world, POLICIES, sent)
    shown = (await world.call("sysadmin", "GET", path)).json()
    assert (shown["filters"], shown["trigger"]) == (conditions, times)
    assert shown["src_registry"]["id"] == registry
    assert shown["dest_registry"]["id"] == 0
    assert shown["single_active_replication"] is True
    assert shown["dest_namespace_replace_count"] == 1
    changed = await world.call("sysadmin", "PUT", path, json=pulling(registry, name="new"))
    assert changed.status_code == 200
    assert (await world.call("sysadmin", "GET", path)).json()["trigger"] == {"type": "manual"}


@pytest.mark.parametrize("value", ["\0", "up/\ud800", ["\ud800"]])
async def test_a_filter_that_no_database_stores_is_refused(
    world: World, other: OtherRegistry, value: Any
) -> None:
    """Kept, it would let no list of policies be printed any more."""
    kind = "label" if isinstance(value, list) else "name"
    sent = pulling(await register(world, other), filters=[{"type": kind, "value": value}])
    for path in (POLICIES, f"{POLICIES}/preview"):
        content = json.dumps(sent).encode()
        headers = {"Content-Type": "application/json"}
        answer = await world.call("sysadmin", "POST", path, content=content, headers=headers)
        assert answer.status_code == 422, answer.text
    assert (await world.call("sysadmin", "GET", POLICIES)).json() == []
