"""The audit log: every change and pull by its name, who may read it, and what is never in it."""

from typing import Any

import pytest
from sqlalchemy import insert, select, text
from tests.api.world import World
from tests.support.content import sha256

from moorage.accounts.records import Permission
from moorage.artifacts.records import Resolved
from moorage.artifacts.statistics import PullCounts
from moorage.audit import Recorder
from moorage.audit.entries import RENDERINGS
from moorage.config.configuration import AUDIT_EVENTS
from moorage.db import tables
from moorage.db.types import from_now
from moorage.events import Outbox
from moorage.events.facts import TYPES

pytestmark = pytest.mark.anyio


async def told(world: World) -> list[Any]:
    """The rows of the log, the oldest first, once it heard of everything."""
    hear = Recorder(world.configurations).hear
    outbox = Outbox(world.content.db, {kind: [hear] for kind in RENDERINGS})
    while await outbox.dispatch():
        pass
    async with world.content.db.read() as tx:
        rows = (await tx.execute(select(tables.audit_log).order_by(tables.audit_log.c.id))).all()
    return list(rows)


async def forget(world: World) -> None:
    """Empty the log."""
    await told(world)
    async with world.content.db.write() as tx:
        await tx.execute(tables.audit_log.delete())


async def done(world: World, name: str, method: str, path: str, json: Any = None) -> Any:
    """A request that succeeds."""
    answer = await world.call(name, method, path, json=json)
    assert answer.is_success, answer.text
    return answer


def test_every_fact_has_a_row() -> None:
    """A new kind of fact has to say what the log tells of it."""
    assert set(RENDERINGS) == set(TYPES.values())


async def test_a_day_of_a_project(world: World) -> None:
    """Each change by operation, type, resource and who made it, in their order."""
    await forget(world)
    root, admin = "sysadmin", "projectAdmin"
    made = await done(world, root, "POST", "/projects", {"project_name": "day"})
    project = made.headers["location"]
    path = project.removeprefix("/api/v2.0")
    add = {"role_id": 2, "member_user": {"username": "stranger"}}
    member = (await done(world, root, "POST", f"{path}/members", add)).headers["location"]
    member = member.removeprefix("/api/v2.0")
    await done(world, root, "PUT", member, {"role_id": 3})
    await done(world, root, "DELETE", member)
    await done(world, root, "PUT", path, {"metadata": {"public": "true"}})
    await done(world, root, "POST", f"{path}/metadatas", {"severity": "high"})
    await done(world, root, "DELETE", path)
    label = {"name": "stable", "scope": "p", "project_id": world.projects["team"]}
    where = (await done(world, admin, "POST", "/labels", label)).headers["location"]
    where = where.removeprefix("/api/v2.0")
    await done(world, admin, "PUT", where, {**label, "name": "steady"})
    digest = sha256(await world.content.push_image("team/app", "v1"))
    artifact = "/projects/team/repositories/app/artifacts/v1"
    label_id = int(where.rpartition("/")[2])
    await done(world, "developer", "POST", f"{artifact}/labels", {"id": label_id})
    await done(world, "developer", "DELETE", f"{artifact}/labels/{label_id}")
    await done(world, admin, "DELETE", where)
    repository = "/projects/team/repositories/app"
    await done(world, "developer", "PUT", repository, {"description": "An app."})
    await done(world, "developer", "POST", f"{artifact}/tags", {"name": "v2"})
    await done(world, "maintainer", "DELETE", f"{artifact}/tags/v2")
    await done(world, "maintainer", "DELETE", artifact)
    rows = [
        (row.username, row.operation, row.resource_type, row.resource, row.successful)
        for row in await told(world)
    ]
    assert rows == [
        (root, "create", "project", "day", True),
        (root, "create", "member", "stranger", True),
        (root, "update", "member", "stranger", True),
        (root, "delete", "member", "stranger", True),
        (root, "update", "project", "day", True),
        (root, "update", "project", "day", True),
        (root, "delete", "project", "day", True),
        (admin, "create", "label", "stable", True),
        (admin, "update", "label", "steady", True),
        ("alice", "create", "artifact", "team/app:v1", True),
        ("developer", "update", "artifact", f"team/app@{digest}", True),
        ("developer", "update", "artifact", f"team/app@{digest}", True),
        (admin, "delete", "label", "steady", True),
        ("developer", "update", "repository", "team/app", True),
        ("developer", "create", "artifact", "team/app:v2", True),
        ("maintainer", "delete", "artifact", "team/app:v2", True),
        ("maintainer", "delete", "artifact", "team/app:v1", True),
    ]


async def test_a_day_of_the_installation(world: World) -> None:
    """Users, robot accounts, rules, limits and settings."""
    await forget(world)
    root = "sysadmin"
    new = {"username": "carol", "email": "c@x.org", "realname": "C", "password": "Secret-1234"}
    where = (await done(world, root, "POST", "/users", new)).headers["location"]
    where = where.removeprefix("/api/v2.0")
    await done(world, root, "PUT", where, {"realname": "Carol", "email": "c@x.org"})
    await done(world, root, "PUT", f"{where}/sysadmin", {"sysadmin_flag": True})
    await done(world, root, "PUT", f"{where}/password", {"new_password": "Secret-5678"})
    await done(world, root, "DELETE", where)
    robot = {
        "name": "ci",
        "level": "project",
        "duration": 1,
        "permissions": [
            {
                "kind": "project",
                "namespace": "team",
                "access": [{"resource": "repository", "action": "pull"}],
            }
        ],
    }
    made = (await done(world, root, "POST", "/robots", robot)).json()
    await done(world, root, "PATCH", f"/robots/{made['id']}", {})
    await done(world, root, "DELETE", f"/robots/{made['id']}")
    await done(world, root, "PUT", "/configurations", {"token_expiration": 45})
    quota = (await done(world, root, "GET", "/quotas")).json()[0]["id"]
    await done(world, root, "PUT", f"/quotas/{quota}", {"hard": {"storage": 1 << 30}})
    scope = {"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}
    rule = {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
        "scope_selectors": {"repository": [scope]},
    }
    rules = "/projects/team/immutabletagrules"
    made_rule = await done(world, root, "POST", rules, rule)
    number = made_rule.headers["location"].rpartition("/")[2]
    await done(world, root, "PUT", f"{rules}/{number}", {"disabled": True})
    await done(world, root, "DELETE", f"{rules}/{number}")
    rows = [(row.operation, row.resource_type, row.resource) for row in await told(world)]
    assert {row.username for row in await told(world)} == {root}
    kinds = [f"{operation}_{kind}" for operation, kind, _ in rows]
    assert kinds == [
        "create_user",
        "update_user",
        "update_user",
        "update_user",
        "delete_user",
        "create_robot",
        "update_robot",
        "delete_robot",
        "update_configuration",
        "update_quota",
        "create_immutable_rule",
        "update_immutable_rule",
        "delete_immutable_rule",
    ]
    assert rows[5][2] == "robot$team+ci"
    assert {kind for kind in kinds if kind in AUDIT_EVENTS} == {
        "create_user",
        "update_user",
        "delete_user",
        "create_robot",
        "delete_robot",
        "update_configuration",
    }


async def test_pulls_are_told_with_their_number_and_who_pulled(world: World) -> None:
    """Counted in memory, written in one row for each tag and caller."""
    await world.content.push_image("team/app", "v1")
    await forget(world)
    counts = PullCounts(world.content.db)
    async with world.content.db.read() as tx:
        row = (await tx.execute(select(tables.manifests))).one()
    resolved = Resolved(row.repository_id, row.id, row.digest, row.media_type, row.payload_size)
    for name in ("bob", "bob", "robot$team+ci"):
        counts.add(resolved, "v1", name)
    await counts.flush()
    rows = [
        (row.username, row.operation, row.resource, row.description) for row in await told(world)
    ]
    digest = resolved.digest
    assert sorted(rows) == [
        ("bob", "pull", "team/app:v1", f"{digest}, pulled 2 times"),
        ("robot$team+ci", "pull", "team/app:v1", f"{digest}, pulled once"),
    ]


async def test_who_may_not_list_the_log_of_a_project_reads_none_of_it(world: World) -> None:
    """Administrators of projects read theirs, those of the installation all, others nothing."""
    await forget(world)
    for project in ("team", "open"):
        await world.content.push_image(f"{project}/app", "v1")
    await done(world, "sysadmin", "PUT", "/configurations", {"token_expiration": 45})
    await told(world)

    async def seen(name: str) -> set[str]:
        found = set()
        for path in ("/audit-logs", "/auditlog-exts"):
            answer = await done(world, name, "GET", path)
            found |= {row["resource"] for row in answer.json() or []}
        return found

    assert await seen("sysadmin") == {"team/app:v1", "open/app:v1", "configuration"}
    assert await seen("projectAdmin") == {"team/app:v1"}
    for name in ("maintainer", "developer", "guest", "stranger"):
        assert await seen(name) == set()
    assert (await world.call("", "GET", "/auditlog-exts")).status_code == 401
    await world.robot("reader", Permission("system", "/", frozenset({("audit-log", "list")})))
    assert await seen("reader") == {"team/app:v1", "open/app:v1", "configuration"}
    for path in ("/projects/team/logs", "/projects/team/auditlog-exts"):
        rows = (await done(world, "projectAdmin", "GET", path)).json()
        assert [row["resource"] for row in rows] == ["team/app:v1"]
        assert (await world.call("maintainer", "GET", path)).status_code == 403


async def test_the_log_is_narrowed_sorted_and_paged(world: World) -> None:
    """By its columns; the newest first unless asked otherwise."""
    async with world.content.db.write() as tx:
        rows = [
            {
                "occurred_at": from_now(-100.0 + n),
                "username": f"user{n % 3}",
                "operation": "create" if n % 2 else "delete",
                "resource_type": "artifact",
                "resource": f"team/app:v{n}",
                "project_id": world.projects["team"],
                "successful": n != 5,
            }
            for n in range(12)
        ]
        for row in rows:
            await tx.execute(insert(tables.audit_log).values(row))

    async def names(query: str, path: str = "/auditlog-exts") -> list[str]:
        rows = (await done(world, "sysadmin", "GET", f"{path}?{query}")).json() or []
        return [row["resource"].removeprefix("team/app:") for row in rows]

    assert (await names("page_size=3")) == ["v11", "v10", "v9"]
    assert (await names("page=2&page_size=3")) == ["v8", "v7", "v6"]
    assert (await names("sort=op_time&page_size=2")) == ["v0", "v1"]
    assert (await names("q=username=user1,operation=create")) == ["v7", "v1"]
    assert (await names("q=resource=~APP:v1")) == ["v11", "v10", "v1"]
    assert (await names("q=operation_result=false")) == ["v5"]
    assert "v5" not in await names("page_size=50", "/audit-logs")
    answer = await done(world, "sysadmin", "GET", "/auditlog-exts?page_size=5")
    assert answer.headers["x-total-count"] == "12"
    assert 'rel="next"' in answer.headers["link"]


async def test_the_types_of_events_say_which_are_on(world: World) -> None:
    """All of them at first."""
    events = (await done(world, "sysadmin", "GET", "/auditlog-exts/events")).json()
    assert [event["event_type"] for event in events] == list(AUDIT_EVENTS)
    assert all(event["enabled"] for event in events)
    off = {"disabled_audit_log_event_types": "pull_artifact"}
    await done(world, "sysadmin", "PUT", "/configurations", off)
    events = (await done(world, "sysadmin", "GET", "/auditlog-exts/events")).json()
    assert [event["event_type"] for event in events if not event["enabled"]] == ["pull_artifact"]
    wrong = {"disabled_audit_log_event_types": "pull_artefact"}
    answer = await world.call("sysadmin", "PUT", "/configurations", json=wrong)
    assert answer.status_code == 400


async def test_no_secret_reaches_the_log(world: World) -> None:
    """Canaries in every field that holds a secret: none is in any table that the log fills.

    GHSA-prh4-vhfh-24mj, Harbor 3fc70d01, Harbor 2fbbf4c5.
    """
    canary = "Canary-7f3a9"
    new = {"username": "carol", "email": "c@x.org", "realname": "C", "password": f"{canary}-pass"}
    where = (await done(world, "sysadmin", "POST", "/users", new)).headers["location"]
    user = where.removeprefix("/api/v2.0")
    change = {"new_password": f"{canary}-next"}
    await done(world, "sysadmin", "PUT", f"{user}/password", change)
    robot = {
        "name": "ci",
        "level": "system",
        "duration": 1,
        "permissions": [
            {
                "kind": "system",
                "namespace": "/",
                "access": [{"resource": "catalog", "action": "read"}],
            }
        ],
    }
    made = (await done(world, "sysadmin", "POST", "/robots", robot)).json()
    own = {"secret": f"{canary}-Robot1"}
    await done(world, "sysadmin", "PATCH", f"/robots/{made['id']}", own)
    values = {"ldap_search_password": f"{canary}-ldap", "oidc_client_secret": f"{canary}-oidc"}
    await done(world, "sysadmin", "PUT", "/configurations", values)
    async with world.content.db.read() as tx:
        waiting = list((await tx.execute(select(tables.outbox.c.payload))).scalars())
    assert waiting
    await told(world)
    async with world.content.db.read() as tx:
        for table in ("audit_log", "audit_forwards"):
            rows = (await tx.execute(text(f"SELECT * FROM {table}"))).all()
            waiting.extend(str(row) for row in rows)
    assert all(canary not in str(row) and made["secret"] not in str(row) for row in waiting)
