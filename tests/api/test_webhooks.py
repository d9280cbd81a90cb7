"""Webhooks over the API: policies, a test, and what became of what was told."""

from typing import Any

import pytest
from tests.api.world import World
from tests.support.accounts import SECRET_KEY
from tests.support.jobs import ended, started, worker, working
from tests.support.receivers import Receiver

from moorage.access.secretbox import SecretBox
from moorage.clock import SystemClock
from moorage.jobs import Kind
from moorage.webhooks import Delivery, WebhookPolicies

pytestmark = pytest.mark.anyio

PATH = "/projects/team/webhook"


def policy(address: str = "https://example.org/hook", **more: Any) -> dict[str, Any]:
    target = {"type": "http", "address": address, "auth_header": "canary-header"}
    return {
        "name": "ci",
        "enabled": True,
        "targets": [target],
        "event_types": ["PUSH_ARTIFACT", "DELETE_ARTIFACT"],
        **more,
    }


async def made(world: World, **more: Any) -> int:
    answer = await world.call("projectAdmin", "POST", f"{PATH}/policies", json=policy(**more))
    assert answer.status_code == 201, answer.text
    location = answer.headers["location"]
    assert location.startswith(f"/api/v2.0{PATH}/policies/")
    return int(location.rpartition("/")[2])


async def test_what_is_written_is_read_but_for_its_secrets(world: World) -> None:
    number = await made(world)
    answer = await world.call("maintainer", "GET", f"{PATH}/policies/{number}")
    assert "canary" not in answer.text
    found = answer.json()
    assert found["targets"] == [
        {"type": "http", "address": "https://example.org/hook", "payload_format": "Default"}
    ]
    assert (found["name"], found["creator"], found["enabled"]) == ("ci", "projectAdmin", True)
    assert found["event_types"] == ["PUSH_ARTIFACT", "DELETE_ARTIFACT"]
    assert found["project_id"] == world.projects["team"]


async def test_bodies_that_cannot_be(world: World) -> None:
    bad: tuple[dict[str, Any], ...] = (
        {"name": ""},
        {"targets": []},
        {"targets": [{"type": "http", "address": "gopher://x"}]},
        {"event_types": ["NO_SUCH"]},
    )
    for wrong in bad:
        answer = await world.call("sysadmin", "POST", f"{PATH}/policies", json=policy(**wrong))
        assert answer.status_code == 400, wrong
    number = await made(world)
    again = await world.call("sysadmin", "POST", f"{PATH}/policies", json=policy())
    assert again.status_code == 409
    path = f"{PATH}/policies/{number}"
    assert (await world.call("sysadmin", "PUT", path, json=policy(name=""))).status_code == 400
    assert (await world.call("sysadmin", "GET", path)).json()["name"] == "ci"


async def test_a_switch_changes_nothing_else(world: World) -> None:
    """Nor does it need to know anything else: what its targets need stays."""
    number = await made(world)
    path = f"{PATH}/policies/{number}"
    before = (await world.call("maintainer", "GET", path)).json()
    for enabled in (False, True, True):
        answer = await world.call("projectAdmin", "PATCH", path, json={"enabled": enabled})
        assert answer.status_code == 200, answer.text
        found = (await world.call("maintainer", "GET", path)).json()
        assert found.pop("update_time") > before["update_time"]
        assert found == {k: v for k, v in before.items() if k != "update_time"} | {
            "enabled": enabled
        }
    opened = await WebhookPolicies(world.content.db, SecretBox(SECRET_KEY)).opened(number)
    assert opened is not None
    assert opened.targets[0].auth_header == "canary-header"
    assert (await world.call("projectAdmin", "PATCH", path, json={})).status_code == 422


async def test_a_policy_counts_in_its_own_project_only(world: World) -> None:
    """Its id means nothing in the paths of another.

    CVE-2022-31666.
    """
    number = await made(world)
    for method, more in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/executions")):
        path = f"/projects/other/webhook/policies/{number}{more}"
        assert (await world.call("sysadmin", method, path)).status_code == 404, path
        assert (await world.call("projectAdmin", method, path)).status_code == 403, path
    jobs = await world.call(
        "sysadmin", "GET", "/projects/other/webhook/jobs", params={"policy_id": number}
    )
    assert jobs.status_code == 404


async def test_a_test_tells_the_targets_and_its_log_says_how(
    world: World, receiver: Receiver
) -> None:
    """The log holds the status, and nothing that the receiver said or that only it may know.

    CVE-2020-13788.
    """
    number = await made(
        world, targets=[{"type": "http", "address": receiver.url, "auth_header": "canary-header"}]
    )
    path = f"{PATH}/policies/{number}"
    answer = await world.call("projectAdmin", "POST", f"{path}/test")
    assert answer.status_code == 202
    execution = int(answer.headers["location"].rpartition("/")[2])
    assert await started(world.content.db) == [("projectAdmin", "WEBHOOK", execution)]
    policies = WebhookPolicies(world.content.db, SecretBox(SECRET_KEY))
    tell = Delivery(policies, world.guard, SystemClock(), "9", 2.0)
    async with working(worker(world.content.db, Kind("WEBHOOK", tell))):
        await ended(world.content.db, execution)
    (told,) = receiver.told
    assert told.json["event_data"]["custom_attributes"]["Details"].startswith("a test of PUSH")
    (run,) = (await world.call("maintainer", "GET", f"{path}/executions")).json()
    assert (run["status"], run["trigger"], run["vendor_id"]) == ("Success", "MANUAL", number)
    assert run["metrics"] == {"task_count": 1, "success_task_count": 1}
    tasks = (await world.call("maintainer", "GET", f"{path}/executions/{execution}/tasks")).json()
    assert [task["status"] for task in tasks] == ["Success"]
    log = f"{path}/executions/{execution}/tasks/{tasks[0]['id']}/log"
    said = await world.call("maintainer", "GET", log)
    assert "answered with status 200" in said.text
    assert "canary" not in said.text
    (job,) = (
        await world.call("maintainer", "GET", f"{PATH}/jobs", params={"policy_id": number})
    ).json()
    assert (job["event_type"], job["notify_type"]) == ("PUSH_ARTIFACT", "http")
    last = (await world.call("maintainer", "GET", f"{PATH}/lasttrigger")).json()
    times = {each["event_type"]: each["last_trigger_time"] for each in last}
    assert times["PUSH_ARTIFACT"] > "2020"
    assert times["DELETE_ARTIFACT"].startswith("0001")
    stopped = {"policy_id": number, "status": ["Stopped"]}
    none = await world.call("maintainer", "GET", f"{PATH}/jobs", params=stopped)
    assert none.json() == []
