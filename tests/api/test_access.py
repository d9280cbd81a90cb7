"""Who may call what: every route by every role and by nobody.

Letters: S sysadmin, A projectAdmin, M maintainer, D developer, G guest, L limitedGuest,
X signed in but no member, N nobody.
"""

from typing import Any

import pytest
from tests.api.world import World

from moorage.web.measured import operation

pytestmark = pytest.mark.anyio

LETTERS = {
    "S": "sysadmin",
    "A": "projectAdmin",
    "M": "maintainer",
    "D": "developer",
    "G": "guest",
    "L": "limitedGuest",
    "X": "stranger",
    "N": "",
}

ALL = "SAMDGLXN"
SIGNED = "SAMDGLX"
MEMBERS = "SAMDGL"
REPO = "/projects/{project_name}/repositories/{repository_name}"
ARTIFACT = REPO + "/artifacts/{reference}"
PROJECT = "/projects/{project_name_or_id}"

ROBOT = {
    "name": "x",
    "level": "system",
    "permissions": [
        {"kind": "system", "namespace": "/", "access": [{"resource": "catalog", "action": "read"}]}
    ],
}

HOOKS = PROJECT + "/webhook"
HOOK = HOOKS + "/policies/{webhook_policy_id}"
RULES = "/robots/{robot_id}/federation-rules"
RULE = {
    "name": "x",
    "issuer": "https://issuer.example",
    "audience": "x",
    "claims": [{"claim": "sub", "pattern": "x"}],
}

NOWHERE = {"scope": {"level": "project", "ref": 99999}}

PARAMS = {
    ("GET", "/search"): {"q": "x"},
    ("GET", "/search/artifacts"): {"q": "x"},
    ("GET", HOOKS + "/jobs"): {"policy_id": "99999"},
    ("HEAD", "/projects"): {"project_name": "team"},
    ("GET", "/users/search"): {"username": "x"},
    ("GET", "/labels"): {"scope": "g"},
    ("GET", "/usergroups/search"): {"groupname": "x"},
}
"""What a route needs beside its path."""

# (method, route, who may on the private project, who may on the public one, body)
ROUTES: list[tuple[str, str, str, str, Any]] = [
    ("GET", "/health", ALL, ALL, None),
    ("GET", "/ping", ALL, ALL, None),
    ("GET", "/systeminfo", ALL, ALL, None),
    ("GET", "/systeminfo/volumes", "S", "S", None),
    ("GET", "/systeminfo/getcert", ALL, ALL, None),
    ("GET", "/configurations", "S", "S", None),
    ("PUT", "/configurations", "S", "S", {"token_expiration": 0}),
    ("GET", "/internalconfig", "S", "S", None),
    ("GET", "/search", ALL, ALL, None),
    ("GET", "/search/artifacts", ALL, ALL, None),
    ("GET", "/statistics", SIGNED, SIGNED, None),
    ("GET", "/projects", ALL, ALL, None),
    ("HEAD", "/projects", SIGNED, SIGNED, None),
    ("POST", "/projects", SIGNED, SIGNED, {"project_name": "team"}),
    ("GET", PROJECT, MEMBERS, ALL, None),
    ("PUT", PROJECT, "SA", "S", {}),
    ("DELETE", PROJECT, "SA", "S", None),
    ("GET", PROJECT + "/_deletable", "SA", "S", None),
    ("GET", PROJECT + "/summary", MEMBERS, ALL, None),
    ("GET", "/usage", "S", "S", None),
    ("GET", PROJECT + "/usage", MEMBERS, "S", None),
    ("GET", PROJECT + "/usage/pulls", MEMBERS, ALL, None),
    ("GET", PROJECT + "/usage/pulls/repositories", MEMBERS, ALL, None),
    ("GET", PROJECT + "/usage/pulls/callers", "SA", "S", None),
    ("GET", PROJECT + "/usage/storage", MEMBERS, "S", None),
    ("GET", PROJECT + "/usage/storage/repositories", MEMBERS, "S", None),
    ("GET", REPO + "/usage/pulls", MEMBERS, ALL, None),
    ("GET", REPO + "/usage/pulls/artifacts", MEMBERS, ALL, None),
    ("GET", REPO + "/usage/pulls/tags", MEMBERS, ALL, None),
    ("GET", REPO + "/usage/pulls/callers", "SA", "S", None),
    ("GET", REPO + "/usage/storage", MEMBERS, "S", None),
    ("GET", PROJECT + "/artifacts", MEMBERS, ALL, None),
    ("GET", PROJECT + "/members", "SAMDG", "S", None),
    ("POST", PROJECT + "/members", "SA", "S", {"role_id": 9}),
    ("GET", PROJECT + "/members/{mid}", "SAMDG", "S", None),
    ("PUT", PROJECT + "/members/{mid}", "SA", "S", {"role_id": 2}),
    ("DELETE", PROJECT + "/members/{mid}", "SA", "S", None),
    ("GET", PROJECT + "/metadatas", "SAM", "S", None),
    ("POST", PROJECT + "/metadatas", "SA", "S", {"no_such": "1"}),
    ("GET", PROJECT + "/metadatas/{meta_name}", "SAM", "S", None),
    ("PUT", PROJECT + "/metadatas/{meta_name}", "SA", "S", {"no_such": "1"}),
    ("DELETE", PROJECT + "/metadatas/{meta_name}", "SA", "S", None),
    ("GET", "/repositories", ALL, ALL, None),
    ("GET", "/projects/{project_name}/repositories", MEMBERS, ALL, None),
    ("GET", REPO, MEMBERS, "S", None),
    ("PUT", REPO, "SAMD", "S", {}),
    ("DELETE", REPO, "SAM", "S", None),
    ("GET", REPO + "/artifacts", MEMBERS, ALL, None),
    ("POST", REPO + "/artifacts", "SAMD", "S", None),
    ("GET", ARTIFACT, MEMBERS, ALL, None),
    ("DELETE", ARTIFACT, "SAM", "S", None),
    ("GET", ARTIFACT + "/accessories", MEMBERS, ALL, None),
    ("GET", ARTIFACT + "/additions/vulnerabilities", MEMBERS, ALL, None),
    ("GET", ARTIFACT + "/additions/{addition}", MEMBERS, ALL, None),
    ("POST", ARTIFACT + "/tags", "SAMD", "S", {"name": "x"}),
    ("GET", ARTIFACT + "/tags", MEMBERS, ALL, None),
    ("DELETE", ARTIFACT + "/tags/{tag_name}", "SAM", "S", None),
    ("GET", REPO + "/tags", MEMBERS, ALL, None),
    ("GET", REPO + "/tag-history", MEMBERS, ALL, None),
    ("GET", ARTIFACT + "/layers", MEMBERS, ALL, None),
    ("POST", ARTIFACT + "/labels", "SAMD", "S", {"id": 99999}),
    ("DELETE", ARTIFACT + "/labels/{label_id}", "SAMD", "S", None),
    ("GET", PROJECT + "/immutabletagrules", "SAM", "S", None),
    ("POST", PROJECT + "/immutabletagrules", "SAM", "S", {}),
    ("PUT", PROJECT + "/immutabletagrules/{immutable_rule_id}", "SAM", "S", {}),
    ("DELETE", PROJECT + "/immutabletagrules/{immutable_rule_id}", "SAM", "S", None),
    ("GET", "/retentions/metadatas", SIGNED, SIGNED, None),
    ("POST", "/retentions", "S", "S", NOWHERE),  # who else, where it is there: test_retentions
    ("POST", "/retentions/preview", "S", "S", NOWHERE),
    ("GET", "/retentions/{id}", "S", "S", None),
    ("PUT", "/retentions/{id}", "S", "S", {}),
    ("DELETE", "/retentions/{id}", "S", "S", None),
    ("POST", "/retentions/{id}/executions", "S", "S", {}),
    ("GET", "/retentions/{id}/executions", "S", "S", None),
    ("PATCH", "/retentions/{id}/executions/{eid}", "S", "S", {"action": "stop"}),
    ("GET", "/retentions/{id}/executions/{eid}/tasks", "S", "S", None),
    ("GET", "/retentions/{id}/executions/{eid}/tasks/{tid}", "S", "S", None),
    ("GET", "/projects/{project_name}/trash", "SAM", "S", None),
    ("POST", REPO + "/trash/{digest}/restore", "SAM", "S", None),
    ("GET", "/icons/{digest}", ALL, ALL, None),
    ("GET", "/quotas", "S", "S", None),
    ("GET", "/quotas/{id}", "S", "S", None),
    ("PUT", "/quotas/{id}", "S", "S", {}),
    ("GET", HOOKS + "/policies", "SAM", "S", None),
    ("POST", HOOKS + "/policies", "SA", "S", {}),
    ("GET", HOOK, "SAM", "S", None),
    ("PUT", HOOK, "SA", "S", {}),
    ("PATCH", HOOK, "SA", "S", {"enabled": False}),
    ("DELETE", HOOK, "SA", "S", None),
    ("POST", HOOK + "/test", "SA", "S", None),
    ("GET", HOOK + "/executions", "SAM", "S", None),
    ("GET", HOOK + "/executions/{execution_id}/tasks", "SAM", "S", None),
    ("GET", HOOK + "/executions/{execution_id}/tasks/{task_id}/log", "SAM", "S", None),
    ("GET", HOOKS + "/lasttrigger", "SAM", "S", None),
    ("GET", HOOKS + "/events", "SAM", "S", None),
    ("GET", HOOKS + "/jobs", "SAM", "S", None),
    ("GET", "/system/gc", "S", "S", None),
    ("GET", "/system/gc/schedule", "S", "S", None),
    ("POST", "/system/gc/schedule", "S", "S", {}),
    ("PUT", "/system/gc/schedule", "S", "S", {}),
    ("GET", "/system/purgeaudit", "S", "S", None),
    ("GET", "/system/purgeaudit/schedule", "S", "S", None),
    ("POST", "/system/purgeaudit/schedule", "S", "S", {}),
    ("PUT", "/system/purgeaudit/schedule", "S", "S", {}),
    ("GET", "/system/gc/{gc_id}", "S", "S", None),
    ("PUT", "/system/gc/{gc_id}", "S", "S", None),
    ("GET", "/system/gc/{gc_id}/log", "S", "S", None),
    ("GET", "/system/purgeaudit/{purge_id}", "S", "S", None),
    ("PUT", "/system/purgeaudit/{purge_id}", "S", "S", None),
    ("GET", "/system/purgeaudit/{purge_id}/log", "S", "S", None),
    ("GET", "/jobservice/pools", "S", "S", None),
    ("GET", "/jobservice/pools/{pool_id}/workers", "S", "S", None),
    ("PUT", "/jobservice/jobs/{job_id}", "S", "S", None),
    ("GET", "/jobservice/jobs/{job_id}/log", "S", "S", None),
    ("GET", "/jobservice/queues", "S", "S", None),
    ("PUT", "/jobservice/queues/{job_type}", "S", "S", {"action": "resume"}),
    ("GET", "/schedules", "S", "S", None),
    ("GET", "/schedules/{job_type}/paused", SIGNED, SIGNED, None),
    ("GET", "/users", "S", "S", None),
    ("POST", "/users", "S", "S", {}),
    ("GET", "/users/current", SIGNED, SIGNED, None),
    ("GET", "/users/current/permissions", SIGNED, SIGNED, None),
    ("GET", "/users/current/tokens", SIGNED, SIGNED, None),
    ("POST", "/users/current/tokens", SIGNED, SIGNED, {}),
    ("DELETE", "/users/current/tokens/{token_id}", SIGNED, SIGNED, None),
    ("GET", "/users/{user_id}/tokens", "S", "S", None),
    ("DELETE", "/users/{user_id}/tokens/{token_id}", "S", "S", None),
    ("GET", "/users/search", SIGNED, SIGNED, None),
    ("GET", "/users/{user_id}", "S", "S", None),
    ("PUT", "/users/{user_id}", "S", "S", {}),
    ("DELETE", "/users/{user_id}", "S", "S", None),
    ("PUT", "/users/{user_id}/sysadmin", "S", "S", {"sysadmin_flag": False}),
    ("PUT", "/users/{user_id}/password", "S", "S", {"new_password": "x"}),
    ("PUT", "/users/{user_id}/cli_secret", "S", "S", {"secret": "x"}),
    ("GET", "/usergroups", "S", "S", None),
    ("POST", "/usergroups", "S", "S", {}),
    ("GET", "/usergroups/search", SIGNED, SIGNED, None),
    ("GET", "/usergroups/{group_id}", "S", "S", None),
    ("PUT", "/usergroups/{group_id}", "S", "S", {}),
    ("DELETE", "/usergroups/{group_id}", "S", "S", None),
    ("POST", "/system/oidc/ping", "S", "S", {}),
    ("POST", "/ldap/ping", "S", "S", {}),
    ("GET", "/ldap/users/search", "S", "S", None),
    ("POST", "/ldap/users/import", "S", "S", {}),
    ("GET", "/ldap/groups/search", "S", "S", None),
    ("GET", "/registries", "S", "S", None),
    ("POST", "/registries", "S", "S", {}),
    ("POST", "/registries/ping", "S", "S", {}),
    ("GET", "/registries/{id}", "S", "S", None),
    ("PUT", "/registries/{id}", "S", "S", {}),
    ("DELETE", "/registries/{id}", "S", "S", None),
    ("GET", "/registries/{id}/info", "S", "S", None),
    ("GET", "/replication/adapters", "S", "S", None),
    ("GET", "/replication/adapterinfos", "S", "S", None),
    ("GET", "/replication/policies", "S", "S", None),
    ("POST", "/replication/policies", "S", "S", {}),
    ("POST", "/replication/policies/preview", "S", "S", {}),
    ("GET", "/replication/policies/{id}", "S", "S", None),
    ("PUT", "/replication/policies/{id}", "S", "S", {}),
    ("DELETE", "/replication/policies/{id}", "S", "S", None),
    ("POST", "/replication/executions", "S", "S", {}),
    ("GET", "/replication/executions", "S", "S", None),
    ("GET", "/replication/executions/{id}", "S", "S", None),
    ("PUT", "/replication/executions/{id}", "S", "S", None),
    ("GET", "/replication/executions/{id}/tasks", "S", "S", None),
    ("POST", "/replication/executions/{id}/tasks/{task_id}/retry", "S", "S", None),
    ("GET", "/replication/executions/{id}/tasks/{task_id}/log", "S", "S", None),
    ("GET", "/scanners", "S", "S", None),
    ("POST", "/scanners", "S", "S", {"name": "x", "url": "x"}),
    ("POST", "/scanners/ping", "S", "S", {"name": "x", "url": "x"}),
    ("GET", "/scanners/{registration_id}", "S", "S", None),
    ("PUT", "/scanners/{registration_id}", "S", "S", {"name": "x", "url": "x"}),
    ("DELETE", "/scanners/{registration_id}", "S", "S", None),
    ("PATCH", "/scanners/{registration_id}", "S", "S", {}),
    ("GET", "/scanners/{registration_id}/metadata", "S", "S", None),
    ("GET", PROJECT + "/scanner", MEMBERS, ALL, None),
    ("PUT", PROJECT + "/scanner", "SA", "S", {"uuid": "none"}),
    ("GET", PROJECT + "/scanner/candidates", "SA", "S", None),
    ("GET", "/robots", "S", "S", None),
    ("POST", "/robots", "S", "S", ROBOT),
    ("GET", "/federation-rules", "S", "S", None),
    ("GET", RULES, "S", "S", None),
    ("POST", RULES, "S", "S", RULE),
    ("POST", RULES + "/try", "S", "S", {}),
    ("GET", RULES + "/{rule_id}", "S", "S", None),
    ("PUT", RULES + "/{rule_id}", "S", "S", RULE),
    ("DELETE", RULES + "/{rule_id}", "S", "S", None),
    ("GET", "/robots/{robot_id}", "S", "S", None),
    ("PUT", "/robots/{robot_id}", "S", "S", {}),
    ("PATCH", "/robots/{robot_id}", "S", "S", {}),
    ("DELETE", "/robots/{robot_id}", "S", "S", None),
    ("GET", "/labels", SIGNED, SIGNED, None),
    ("POST", "/labels", "S", "S", {"scope": "g"}),
    ("GET", "/labels/{label_id}", SIGNED, SIGNED, None),  # whose it is: see test_labels
    ("PUT", "/labels/{label_id}", SIGNED, SIGNED, {"name": "x"}),
    ("DELETE", "/labels/{label_id}", SIGNED, SIGNED, None),
    ("GET", "/permissions", "SA", "SA", None),
    ("GET", "/audit-logs", SIGNED, SIGNED, None),  # what each sees: see test_audit
    ("GET", "/auditlog-exts", SIGNED, SIGNED, None),
    ("GET", "/auditlog-exts/events", "S", "S", None),
    ("GET", "/projects/{project_name}/logs", "SA", "S", None),
    ("GET", "/projects/{project_name}/auditlog-exts", "SA", "S", None),
]


def fill(route: str, project: str) -> str:
    """The route with names in it: of things that are not there, so that nothing changes."""
    return route.format(
        project_name_or_id=project,
        project_name=project,
        repository_name="none",
        reference="none",
        addition="files",
        tag_name="none",
        digest="sha256:" + "0" * 64,
        meta_name="severity",
        mid=99999,
        immutable_rule_id=99999,
        id=99999,
        eid=99999,
        tid=99999,
        user_id=99999,
        token_id=99999,
        robot_id=99999,
        rule_id=99999,
        registration_id="none",
        group_id=99999,
        label_id=99999,
        gc_id=99999,
        webhook_policy_id=99999,
        execution_id=99999,
        task_id=99999,
        purge_id=99999,
        pool_id="none",
        job_id=99999,
        job_type="all",
    )


@pytest.mark.parametrize("project", ["team", "open"])
async def test_every_route_opens_to_the_roles_of_the_table_alone(
    world: World, project: str
) -> None:
    """401 to nobody and 403 to the others; whoever may gets the answer of the handler.

    CVE-2024-22278.
    """
    await world.content.push_image(f"{project}/app", "v1")
    wrong = []
    for method, route, private, public, body in ROUTES:
        for letter, name in LETTERS.items():
            answer = await world.call(
                name,
                method,
                fill(route, project),
                json=body,
                params=PARAMS.get((method, route)),
            )
            refused = answer.status_code in (401, 403)
            expected = letter not in (private if project == "team" else public)
            if refused != expected or answer.status_code >= 500:
                wrong.append(f"{letter} {method} {route}: {answer.status_code} {answer.text[:80]}")
            if refused and answer.status_code != (403 if name else 401):
                wrong.append(
                    f"{letter} {method} {route}: {answer.status_code} is the wrong refusal"
                )
    assert wrong == []


async def test_the_table_knows_every_route(world: World) -> None:
    """A new route has to say who may call it."""
    known = {(method, "/api/v2.0" + route) for method, route, *_ in ROUTES}
    paths = world.app.openapi()["paths"]
    served = {(method.upper(), path) for path, item in paths.items() for method in item}
    assert served - known == {("GET", "/api/version")}
    assert known - served == set()


async def test_metrics_know_every_resource(world: World) -> None:
    """What they do not know they count as `other`."""
    paths = [path for path in world.app.openapi()["paths"] if path.startswith("/api/v2.0/")]
    assert {path for path in paths if operation(path) == "other"} == set()


@pytest.mark.parametrize(
    ("name", "status"), [("", 401), ("stranger", 403), ("projectAdmin", 403), ("sysadmin", 404)]
)
async def test_a_missing_project_answers_as_a_forbidden_one(
    world: World, name: str, status: int
) -> None:
    """Only a system administrator learns that it is not there."""
    for path in ("/projects/nope", "/projects/99999", "/projects/nope/repositories"):
        assert (await world.call(name, "GET", path)).status_code == status


async def test_a_role_that_was_taken_away_is_gone_at_once(world: World) -> None:
    """The answer to the next request does not come from a cache that remembers it."""
    assert (await world.call("developer", "GET", "/projects/team")).status_code == 200
    page = (await world.call("sysadmin", "GET", "/projects/team/members")).json()
    member = next(item for item in page if item["entity_name"] == "developer")
    path = f"/projects/team/members/{member['id']}"
    assert (await world.call("projectAdmin", "DELETE", path)).status_code == 200
    assert (await world.call("developer", "GET", "/projects/team")).status_code == 403


async def test_a_project_made_private_closes_at_once(world: World) -> None:
    """Nobody reads it any more."""
    assert (await world.call("", "GET", "/projects/open")).status_code == 200
    body = {"metadata": {"public": "false"}}
    assert (await world.call("sysadmin", "PUT", "/projects/open", json=body)).status_code == 200
    assert (await world.call("", "GET", "/projects/open")).status_code == 401


async def test_a_member_of_another_project_is_out_of_reach(world: World) -> None:
    """An administrator of one project cannot use ids of memberships elsewhere."""
    page = (await world.call("sysadmin", "GET", "/projects/other/members")).json()
    path = f"/projects/team/members/{page[0]['id']}"
    for method, body in (("GET", None), ("PUT", {"role_id": 5}), ("DELETE", None)):
        assert (await world.call("projectAdmin", method, path, json=body)).status_code == 404
    assert (await world.call("sysadmin", "GET", "/projects/other/members")).json() == page


async def test_a_token_of_the_registry_does_not_open_the_api(world: World) -> None:
    """It was issued for repositories, not for everything that its owner may do.

    CVE-2026-123710.
    """

    async def identify(authorization: bytes | None, address: str) -> Any:
        from moorage.web.callers import Caller

        return Caller(world.people["sysadmin"], "bearer", {"team/app": frozenset({"pull"})})

    world.services.callers.identify = identify  # type: ignore[method-assign]
    assert (await world.call("sysadmin", "GET", "/projects/team")).status_code == 401
