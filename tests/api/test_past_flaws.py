"""Flaws that registries had before: each of them, tried here.

    a body that names what the caller may not set   CVE-2019-16097
    a name or a User-Agent that opens something     GHSA-wrw5-gmvj-gf23, GHSA-xvh7-74g6-29xw
    a GET that shows a secret                       CVE-2026-18255, GHSA-prh4-vhfh-24mj
    an answer, or its work, that tells who exists   GHSA-6qj9-33j4-rvhg, GO-2022-0704
    a name that writes lines of its own into a log

Others have their place beside what they are about, and `docs/test_flaws` lists them all: ids of
other projects in `test_access_across`, tokens of other classes in `test_access_tokens` (unit) and
`test_federation`, mounts in `protocol`, addresses in `test_outgoing`, archives in `test_additions`,
filters and sorts in `test_past_flaws_lists`.
"""

import base64
import dataclasses
import json
import logging
from typing import Any

import httpx2
import pytest
from sqlalchemy import select
from tests.api.test_access import ROUTES
from tests.api.world import World
from tests.support.accounts import PASSWORD, Replica, in_project, in_system
from tests.support.content import sha256

from moorage.access.principals import Principal
from moorage.accounts.passwords import Passwords
from moorage.api.app import create_api
from moorage.db import tables
from moorage.signin.pages import SigninPages
from moorage.telemetry import logs

pytestmark = pytest.mark.anyio

TEAM = "/projects/team"


# --- bodies ---

PRIVILEGED: dict[str, Any] = {
    "id": 4711,
    "user_id": 1,
    "owner_id": 4711,
    "owner_name": "stranger",
    "project_id": 3,
    "registry_id": 0,
    "sysadmin": True,
    "sysadmin_flag": True,
    "has_admin_role": True,
    "admin_role_in_auth": True,
    "admin_in_auth": True,
    "role": 1,
    "role_name": "projectAdmin",
    "current_user_role_id": 1,
    "creator": "user:1",
    "creator_ref": 1,
    "creator_type": "local",
    "editable": True,
    "revision": 0,
    "digest": "sha256:" + "0" * 64,
    "immutable": True,
    "storage_limit": -1,
    "quota": {"hard": -1},
    "creation_time": "2001-01-01T00:00:00Z",
    "update_time": "2001-01-01T00:00:00Z",
    "created_at": "2001-01-01T00:00:00Z",
    "pull_count": 4711,
    "expires_at": -1,
    "password_hash": "x",
    "secret_hash": "x",
    "cli_secret_hash": "x",
}
"""What a body might say that is the server's to say."""

SELECTORS = {
    "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "k*"}],
    "scope_selectors": {
        "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
    },
}
PULL = {
    "kind": "project",
    "namespace": "team",
    "access": [{"resource": "repository", "action": "pull"}],
}
RULE = {
    "name": "r",
    "issuer": "https://issuer.example",
    "audience": "x",
    "claims": [{"claim": "sub", "pattern": "x"}],
}

HOOK = {
    "name": "hook",
    "targets": [{"type": "http", "address": "https://example.org"}],
    "event_types": ["PUSH_ARTIFACT"],
}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/projects"): {"project_name": "fresh"},
    ("PUT", "/projects/{project_name_or_id}"): {"metadata": {"severity": "low"}},
    ("POST", "/projects/{project_name_or_id}/metadatas"): {"auto_scan": "true"},
    ("PUT", "/projects/{project_name_or_id}/metadatas/{meta_name}"): {"severity": "high"},
    ("POST", "/projects/{project_name_or_id}/members"): {
        "role_id": 5,
        "member_user": {"username": "stranger"},
    },
    ("PUT", "/projects/{project_name_or_id}/members/{mid}"): {"role_id": 5},
    ("POST", "/projects/{project_name_or_id}/webhook/policies"): HOOK,
    ("PUT", "/projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}"): HOOK,
    ("PATCH", "/projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}"): {
        "enabled": False
    },
    ("PUT", "/projects/{project_name_or_id}/scanner"): {"uuid": "none"},
    ("PUT", "/projects/{project_name}/repositories/{repository_name}"): {"description": "text"},
    (
        "POST",
        "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/tags",
    ): {"name": "v2"},
    (
        "POST",
        "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}/labels",
    ): {"id": 1},
    ("POST", "/projects/{project_name_or_id}/immutabletagrules"): SELECTORS,
    ("PUT", "/projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}"): SELECTORS,
    ("POST", "/retentions"): {"scope": {"level": "project", "ref": 1}},
    ("POST", "/retentions/preview"): {"scope": {"level": "project", "ref": 1}},
    ("PUT", "/retentions/{id}"): {"algorithm": "or"},
    ("POST", "/retentions/{id}/executions"): {"dry_run": True},
    ("PATCH", "/retentions/{id}/executions/{eid}"): {"action": "stop"},
    ("POST", "/labels"): {"name": "fresh", "scope": "p"},
    ("PUT", "/labels/{label_id}"): {"name": "changed"},
    ("POST", "/robots"): {"name": "fresh", "level": "project", "permissions": [PULL]},
    ("PUT", "/robots/{robot_id}"): {"description": "text"},
    ("PATCH", "/robots/{robot_id}"): {"secret": ""},
    ("POST", "/robots/{robot_id}/federation-rules"): RULE,
    ("PUT", "/robots/{robot_id}/federation-rules/{rule_id}"): RULE,
    ("POST", "/robots/{robot_id}/federation-rules/try"): {"claims": {}},
    ("POST", "/users"): {
        "username": "fresh",
        "password": PASSWORD,
        "email": "fresh@example.com",
        "realname": "F",
    },
    ("POST", "/users/current/tokens"): {"name": "fresh"},
    ("PUT", "/users/{user_id}"): {"realname": "N", "email": "n@example.com"},
    ("PUT", "/users/{user_id}/password"): {
        "old_password": PASSWORD,
        "new_password": "Another1horse",
    },
    ("PUT", "/users/{user_id}/cli_secret"): {},
}
"""What the administrator of a project, a user himself or nobody may send, in its smallest form."""


def loaded(body: Any) -> Any:
    """The body with everything privileged in each of its objects."""
    if isinstance(body, dict):
        inner = {key: loaded(value) for key, value in body.items()}
        return {**PRIVILEGED, **inner}
    return [loaded(item) for item in body] if isinstance(body, list) else body


async def _facts(world: World) -> dict[str, Any]:
    """What no body may change: who administers, who owns what, ids, limits and times."""
    columns = {
        "users": ("id", "username", "sysadmin", "admin_in_auth", "created_at"),
        "projects": ("id", "name", "owner_id", "created_at"),
        "project_members": ("id", "project_id", "user_id", "group_id", "created_at"),
        "quotas": ("project_id", "hard", "used"),
        "robots": ("id", "name", "project_id", "creator", "created_at", "disabled"),
        "robot_permissions": ("robot_id", "kind", "project_id", "resource", "action"),
        "labels": ("id", "project_id", "created_at"),
        "immutable_rules": ("id", "project_id", "created_at"),
        "retention_policies": ("id", "project_id", "created_at"),
        "repositories": ("id", "project_id", "name", "pull_count", "created_at"),
        "manifests": ("id", "repository_id", "digest", "pushed_by", "pull_count"),
        "access_tokens": ("id", "user_id", "digest", "created_at"),
        "federation_rules": ("id", "robot_id", "creator", "created_at"),
    }
    found = {}
    async with world.content.db.read() as tx:
        for name, chosen in columns.items():
            table = getattr(tables, name)
            rows = await tx.execute(select(*(table.c[column] for column in chosen)))
            found[name] = {tuple(row) for row in rows}
    return found


@pytest.fixture
async def stage(world: World) -> dict[str, Any]:
    """Things for every parameter; nia, whose project `team` is, has a password."""
    root, api = world.people["sysadmin"], world.services
    nia = await api.users.create(root, "nia", PASSWORD)
    team = world.projects["team"]
    await api.members.add(root, team, 1, user_id=nia)
    world.people["nia"] = Principal("user", nia, "nia")
    await world.content.push_image("team/app", "v1")
    body = {"self_registration": True}
    assert (await world.call("sysadmin", "PUT", "/configurations", body)).status_code == 200
    await api.labels.create(root, team, "first")
    permissions = [in_project("team", "repository:pull")]
    made = await api.robots.create(
        root, name="first", level="project", permissions=permissions, duration=7
    )
    path = f"/robots/{made.robot.id}/federation-rules"
    rule = await world.call("nia", "POST", path, RULE | {"name": "first"})
    immutable = await world.call("nia", "POST", f"{TEAM}/immutabletagrules", SELECTORS)
    members = (await world.call("nia", "GET", f"{TEAM}/members")).json()
    token = await world.call("nia", "POST", "/users/current/tokens", {"name": "first"})
    return {
        "project_name": "team",
        "project_name_or_id": "team",
        "repository_name": "app",
        "reference": "v1",
        "meta_name": "severity",
        "mid": next(m["id"] for m in members if m["entity_name"] == "guest"),
        "label_id": 1,
        "webhook_policy_id": 1,
        "robot_id": made.robot.id,
        "rule_id": rule.headers["location"].rpartition("/")[2],
        "immutable_rule_id": immutable.headers["location"].rpartition("/")[2],
        "user_id": nia,
        "token_id": token.json()["id"],
        "id": 1,  # of the first policy and of its first execution
        "eid": 1,
        "tid": 1,
    }


async def test_no_body_sets_what_is_the_servers_to_say(world: World, stage: dict[str, Any]) -> None:
    """Neither at the top nor inside; what there was stays, and what is new is the caller's own.

    CVE-2019-16097.
    """
    team = world.projects["team"]
    before = await _facts(world)
    worked = set()
    for (method, route), body in BODIES.items():
        caller = "" if (method, route) == ("POST", "/users") else "nia"
        sent = {"project_id": team, **body} if route == "/labels" else body
        if route.endswith("/labels"):
            sent = {**sent, "id": stage["label_id"]}
        answer = await world.call(caller, method, route.format(**stage), loaded(sent))
        assert answer.status_code < 500, (method, route, answer.text)
        if answer.is_success:
            worked.add((method, route))
    after = await _facts(world)
    assert len(worked) >= 22, set(BODIES) - worked  # the others refuse fields that are no texts
    for name, rows in before.items():
        assert rows <= after[name], name
    assert {row[1] for row in after["users"] if row[2] or row[3]} == {"sysadmin"}
    nia = stage["user_id"]
    (fresh,) = (row for row in after["projects"] if row[1] == "fresh")
    assert (fresh[2], fresh[3].year > 2001) == (nia, True)
    for name, place in (
        ("labels", 1),
        ("immutable_rules", 1),
        ("retention_policies", 1),
        ("robots", 2),
    ):
        assert {row[place] for row in after[name]} == {team}
    assert {row[1] for row in after["access_tokens"]} == {nia}
    for rows in after.values():
        assert 4711 not in {row[0] for row in rows}


async def test_every_body_of_the_document_was_thought_of(world: World) -> None:
    """A new one that others than system administrators may send has to be tried."""
    letters = {(method, route): private for method, route, private, *_ in ROUTES}
    himself = {key for key in BODIES if "{user_id}" in key[1] or "{robot_id}" in key[1]}
    himself |= {("POST", "/users"), ("POST", "/labels"), ("POST", "/robots")}
    writing = set()
    for path, item in world.app.openapi()["paths"].items():
        for method, operation in item.items():
            if "requestBody" in operation:
                writing.add((method.upper(), path.removeprefix("/api/v2.0")))
    others = {key for key in writing if letters[key] != "S"}
    assert others - set(BODIES) == set()
    assert {key for key in writing if "{user_id}" in key[1]} - himself == {
        ("PUT", "/users/{user_id}/sysadmin")
    }
    assert {key for key in writing if "{robot_id}" in key[1]} - himself == set()


# --- names ---


@pytest.mark.parametrize(
    "agent",
    [
        "cosign/v2.4.0 (linux; amd64)",
        "harbor-scanner-trivy",
        "harbor-registry-client",
        "harbor-jobservice",
        "Go-http-client/1.1 moorage",
        "ClairV4",
    ],
)
async def test_no_user_agent_opens_anything(world: World, agent: str) -> None:
    """It says what somebody would like to be.

    GHSA-wrw5-gmvj-gf23.
    """
    for name, path in (("stranger", TEAM), ("", TEAM), ("guest", "/users"), ("", "/quotas")):
        async with world.client(name) as client:
            answer = await client.get(path, headers={"User-Agent": agent})
            assert answer.status_code in (401, 403), (name, path)


async def test_no_name_of_an_account_opens_anything(world: World) -> None:
    """Neither that of a part of the system, nor the administrator's in other letters.

    GHSA-xvh7-74g6-29xw, Harbor c0800603.
    """
    root, api = world.people["sysadmin"], world.services
    for name in ("scanner-trivy", "proxy-cache", "harbor-core", "admin"):
        made = await api.robots.create(
            root, name=name, level="system", permissions=[in_system("catalog:read")], duration=1
        )
        world.people[name] = Principal("robot", made.robot.id, made.robot.name)
    for name in ("admin", "Admin", "SYSADMIN", "root", "harbor", "moorage", "scanner-x"):
        user_id = await api.users.create(root, name, PASSWORD)
        world.people[f"user {name}"] = Principal("user", user_id, name)
    for name, who in world.people.items():
        if name in ("scanner-trivy", "proxy-cache", "harbor-core") or name.startswith("user "):
            for path in (TEAM, "/users", "/quotas", "/configurations", "/robots"):
                answer = await world.call(name, "GET", path)
                assert answer.status_code == 403, (who, path)


# --- secrets ---


async def test_no_get_shows_a_secret(world: World, stage: dict[str, Any]) -> None:
    """Whoever asks, whatever is asked: of robot accounts, users, tokens, scanners and settings.

    CVE-2026-18255, GHSA-prh4-vhfh-24mj.
    """
    robot = await world.call("nia", "PATCH", f"/robots/{stage['robot_id']}", {})
    token = await world.call("nia", "POST", "/users/current/tokens", {"name": "shown-once"})
    scanner = {
        "name": "scanner",
        "url": "http://127.0.0.1:7",
        "auth": "Bearer",
        "access_credential": "canary-credential",
    }
    assert (await world.call("sysadmin", "POST", "/scanners", scanner)).status_code == 201
    settings = {
        "ldap_search_password": "canary-ldap-password",
        "oidc_client_secret": "canary-oidc-secret",
    }
    changed = await world.call("sysadmin", "PUT", "/configurations", settings)
    assert changed.status_code == 200, changed.text
    canaries = [robot.json()["secret"], token.json()["secret"], "canary-", PASSWORD]
    hashes = []
    async with world.content.db.read() as tx:
        for column in (
            tables.users.c.password_hash,
            tables.robots.c.secret_hash,
            tables.access_tokens.c.digest,
        ):
            hashes += [value for value in (await tx.execute(select(column))).scalars() if value]
    things = {**stage, "addition": "build_history", "tag_name": "v1", "id": 1}
    things |= {"registration_id": "x", "group_id": 1, "digest": sha256(b"x")}
    things |= {"gc_id": 1, "purge_id": 1, "pool_id": "all", "job_id": "1", "job_type": "all"}
    things |= {"webhook_policy_id": 1, "execution_id": 1, "task_id": 1}
    shown = 0
    for method, route, *_ in ROUTES:
        if method != "GET":
            continue
        for name in ("sysadmin", "nia", "guest"):
            params = {"scope": "g", "q": "", "username": "n", "groupname": "x"}
            answer = await world.call(name, method, route.format(**things), params=params)
            shown += answer.status_code == 200
            for secret in (*canaries, *hashes):
                assert secret not in answer.text, (route, name)
    assert shown > 100


# --- who exists ---


class CountingPasswords(Passwords):
    """Counts the hashes that were compared, slow and quick."""

    def __init__(self) -> None:
        super().__init__(memory_kib=8, passes=1)
        self.compared = 0

    async def verify(self, encoded: str | None, password: str) -> bool:
        """As ever, and counted."""
        self.compared += 1
        return await super().verify(encoded, password)


async def test_wrong_credentials_cost_the_same_for_everybody(world: World) -> None:
    """One hash for who is there and who is not, with the same answer in every byte.

    GHSA-6qj9-33j4-rvhg, GO-2022-0704, GO-2023-2109.
    """
    counting = CountingPasswords()
    replica = Replica(world.content.db, passwords=counting)
    root = world.people["sysadmin"]
    await replica.keys.start()
    await replica.users.create(root, "nia", PASSWORD)
    api = create_api(dataclasses.replace(world.services, callers=replica.callers))
    pages = SigninPages(
        replica.callers, replica.sessions, replica.users, world.configurations, secure=True
    )
    answers = []
    for name in ("nia", "nobody-here"):
        counting.compared = 0
        basic = base64.b64encode(f"{name}:Wrong1horse".encode()).decode()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=api)) as client:
            headers = {"Authorization": f"Basic {basic}"}
            read = await client.get("http://test/api/v2.0/users/current", headers=headers)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=pages)) as client:
            form = {"principal": name, "password": "Wrong2horse"}
            login = await client.post("http://test/c/login", data=form)
        answers.append(
            (counting.compared, read.status_code, read.content, login.status_code, login.content)
        )
    assert answers[0] == answers[1]
    assert answers[0][0] == 2
    assert (answers[0][1], answers[0][3]) == (401, 401)
    await replica.close()


# --- logs ---

EVIL = "nia\r\n2026-01-01 root signed in\x1b[2J\u2028\u202e"


async def test_no_name_writes_lines_of_its_own(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Line breaks, escapes of terminals and turned text come out as one quoted line, or not."""
    caplog.set_level(logging.INFO)
    replica = Replica(world.content.db)
    assert await replica.callers.check(EVIL, "Wrong1horse", "10.0.0.1") is None
    assert await replica.callers.check("nia\x1b", "x", EVIL) is None
    answer = await world.call("sysadmin", "POST", "/projects", {"project_name": EVIL})
    assert answer.status_code == 400
    answer = await world.call("sysadmin", "POST", "/users", {"username": EVIL})
    assert answer.status_code == 400
    for record in caplog.records:
        assert not set(record.getMessage()) & set("\r\n\x1b\u2028\u202e"), record
    for line in (logs.one_line(EVIL), json.dumps({"event": EVIL})):
        assert len(line.splitlines()) == 1
    await replica.close()
