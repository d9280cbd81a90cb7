"""What belongs to one project is not reached through another: ids of `other` in paths of `team`.

The routes come from the served document, so a new one is tried as well, and a new parameter has to
say what it names.
"""

import re
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select
from tests.api.test_access import LETTERS, ROUTES
from tests.api.world import World
from tests.support.content import ALICE, sha256

from moorage.db import tables
from moorage.db.queries import Query
from moorage.jobs import NewTask, enqueue
from moorage.projects.selectors import Selector
from moorage.webhooks.records import Target

pytestmark = pytest.mark.anyio

HOOK = {
    "name": "hook",
    "description": "",
    "enabled": True,
    "targets": [{"type": "http", "address": "https://example.org/stolen"}],
    "event_types": ["PUSH_ARTIFACT"],
}
NO_IDS = {"project_name", "project_name_or_id", "meta_name", "addition"}
"""Parameters that name the project itself, or nothing that belongs to one."""

BODIES: dict[tuple[str, str], Any] = {
    ("PUT", "/projects/{project_name_or_id}/members/{mid}"): {"role_id": 1},
    ("PUT", "/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}"): {
        "disabled": True
    },
    ("PUT", "/projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}"): HOOK,
    ("PATCH", "/projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}"): {
        "enabled": False
    },
}
"""What would change something, if it was allowed."""

KEPT = (
    tables.project_members,
    tables.immutable_rules,
    tables.labels,
    tables.manifest_labels,
    tables.tags,
    tables.manifests,
    tables.repositories,
    tables.artifact_trash,
    tables.webhook_policies,
    tables.executions,
    tables.tasks,
)


async def possessions(world: World) -> dict[str, Any]:
    """Things of `other`: a value for every parameter."""
    root, project = world.people["sysadmin"], world.projects["other"]
    api = world.services
    member = await api.members.add(root, project, 3, username="stranger")
    every = Selector("doublestar", "repoMatches", "**"), Selector("doublestar", "matches", "x*")
    rule = await api.immutable_rules.create(root, project, every[:1], every[1:])
    digest = sha256(await world.content.push_image("other/app", "v1"))
    label = await api.labels.create(root, project, "mine")
    await world.content.manifests.add_label(root, "other/app", digest, label)
    targets = [Target("http", "https://example.org/hook")]
    hook = await api.webhooks.create(root, project, HOOK, targets)
    run = partial(enqueue, trigger="EVENT", vendor_id=hook)
    execution = await world.content.db.run(run, "WEBHOOK", [NewTask("WEBHOOK")])
    (task,) = (await api.history.tasks_of(execution or 0, Query())).items
    gone = sha256(await world.content.push_image("other/app", "v2", config=b"{} "))
    await world.content.manifests.delete(ALICE, "other/app", gone)
    return {
        "mid": member,
        "immutable_rule_id": rule,
        "repository_name": "app",
        "reference": "v1",
        "tag_name": "v1",
        "label_id": label,
        "digest": gone,
        "webhook_policy_id": hook,
        "execution_id": execution,
        "task_id": task.id,
        "addition": "build_history",
        "meta_name": "severity",
    }


async def state(world: World) -> list[Any]:
    """Everything that could have changed."""
    found: list[Any] = []
    async with world.content.db.read() as tx:
        for table in KEPT:
            rows = await tx.execute(select(table).order_by(*table.primary_key))
            found += [tuple(row) for row in rows]
    return found


def crossing() -> list[tuple[str, str, Any]]:
    """(method, route, body) of the routes that name more than the project."""
    found = []
    for method, route, *_, body in ROUTES:
        names = set(re.findall(r"{(\w+)}", route))
        if route.startswith("/projects/{") and names - NO_IDS:
            found.append((method, route, BODIES.get((method, route), body)))
    return found


async def test_no_role_of_one_project_reaches_into_another(world: World) -> None:
    """403 or 404 for everybody, 401 for nobody, and nothing is changed.

    CVE-2022-31666, CVE-2022-31669.
    """
    things = await possessions(world)
    before, wrong = await state(world), []
    assert len(crossing()) > 20
    for method, route, body in crossing():
        path = route.format(project_name="team", project_name_or_id="team", **things)
        for letter, name in LETTERS.items():
            answer = await world.call(name, method, path, json=body)
            empty = answer.content in (b"[]", b"null")
            refused = answer.status_code in (400, 401, 403, 404, 422)
            if not refused and not (method == "GET" and empty):
                wrong.append(f"{letter} {method} {route}: {answer.status_code} {answer.text[:80]}")
    assert wrong == []
    assert await state(world) == before


async def test_a_label_of_another_project_is_none_here(world: World) -> None:
    """Neither read, nor changed, nor put onto an artifact."""
    things = await possessions(world)
    await world.content.push_image("team/app", "v1")
    before = await state(world)
    path = f"/labels/{things['label_id']}"
    mine = "/projects/team/repositories/app/artifacts/v1/labels"
    for name in ("projectAdmin", "developer", "stranger", ""):
        for method in ("GET", "PUT", "DELETE"):
            if (name, method) == ("stranger", "GET"):
                continue  # a guest of the other project
            answer = await world.call(name, method, path, json={"name": "stolen"})
            assert answer.status_code in (401, 403, 404), (name, method)
        answer = await world.call(name, "POST", mine, json={"id": things["label_id"]})
        assert answer.status_code in (401, 403, 404)
    assert await state(world) == before


async def test_nothing_is_copied_out_of_a_project_that_one_cannot_pull_from(world: World) -> None:
    """By tag, by digest, and however it is written."""
    await possessions(world)
    before = await state(world)
    for source in ("other/app:v1", "other/app:v2", "other%2Fapp:v1", "team/../other/app:v1"):
        path = f"/projects/team/repositories/app/artifacts?from={source}"
        answer = await world.call("projectAdmin", "POST", path)
        assert answer.status_code in (400, 403, 404), source
    assert await state(world) == before
