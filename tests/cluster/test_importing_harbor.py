"""One registry as the Harbor, another one to carry it into; and a Harbor with its quirks."""

import base64
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.pushing import Pusher
from tests.support.serving import Registry

pytestmark = pytest.mark.slow

ALLOWED = {"outgoing.allow": ["127.0.0.0/8"]}


def call(registry: Registry, method: str, path: str, body: Any = None) -> Any:
    """One request as the administrator; what came back."""
    auth = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    request = urllib.request.Request(
        f"{registry.url}/api/v2.0/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {auth}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error.read()!r}") from error
    with answer:
        text = answer.read()
        return json.loads(text) if text else answer.headers.get("Location", "")


def furnish(theirs: Registry) -> None:
    """Some of everything that is carried."""
    for name in ("alice", "bob"):
        user = {"username": name, "email": f"{name}@example.com", "realname": name,
                "password": "A-long-Pa55word", "comment": ""}  # fmt: skip
        call(theirs, "POST", "users", user)
    call(theirs, "POST", "labels", {"name": "global", "scope": "g", "color": "#FF0000"})
    body = {"project_name": "team", "metadata": {"public": "true", "auto_scan": "true"}}
    call(theirs, "POST", "projects", {**body, "storage_limit": 5 << 20})
    project = call(theirs, "GET", "projects/team")["project_id"]
    call(theirs, "POST", "labels", {"name": "own", "scope": "p", "project_id": project})
    for name, role in (("alice", 1), ("bob", 3)):
        member = {"role_id": role, "member_user": {"username": name}}
        call(theirs, "POST", "projects/team/members", member)
    selector = {"kind": "doublestar", "decoration": "matches", "pattern": "v*"}
    place = {"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}
    rule = {"tag_selectors": [selector], "scope_selectors": {"repository": [place]},
            "action": "immutable", "template": "immutable_template", "disabled": True}  # fmt: skip
    call(theirs, "POST", "projects/team/immutabletagrules", rule)
    retention = {
        "algorithm": "or",
        "scope": {"level": "project", "ref": project},
        "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 1 * * *"}},
        "rules": [{"action": "retain", "template": "latestPushedK",
                   "params": {"latestPushedK": 5}, "tag_selectors": [selector],
                   "scope_selectors": {"repository": [place]}}],
    }  # fmt: skip
    call(theirs, "POST", "retentions", retention)
    hook = {"name": "hook", "enabled": True, "event_types": ["PUSH_ARTIFACT"],
            "targets": [{"type": "http", "address": "http://127.0.0.1:1/x"}]}  # fmt: skip
    call(theirs, "POST", "projects/team/webhook/policies", hook)
    access = [{"resource": "repository", "action": action} for action in ("pull", "push")]
    for level, namespace, name in (("project", "team", "ci"), ("system", "*", "mirror")):
        robot = {"name": name, "level": level, "duration": 30, "disable": False,
                 "description": "of the tests",
                 "permissions": [{"kind": "project", "namespace": namespace,
                                  "access": access}]}  # fmt: skip
        call(theirs, "POST", "robots", robot)
    others(theirs)
    call(theirs, "PUT", "configurations", {"banner_message": "", "token_expiration": 45})
    payload = Pusher(theirs).image("team/app", "v1", b"a layer")
    assert payload
    path = "projects/team/repositories/app"
    call(theirs, "PUT", path, {"description": "an application"})
    labels = call(theirs, "GET", f"labels?scope=p&project_id={project}")
    call(theirs, "POST", f"{path}/artifacts/v1/labels", {"id": labels[0]["id"]})
    call(theirs, "POST", f"{path}/artifacts/v1/tags", {"name": "stable"})


def others(theirs: Registry) -> None:
    """Another registry, a project that is a cache of it, and what is replicated to it."""
    account = {"type": "basic", "access_key": theirs.username, "access_secret": theirs.password}
    other = {"name": "twin", "type": "harbor", "url": theirs.url, "credential": account,
             "description": "beside us"}  # fmt: skip
    number = int(call(theirs, "POST", "registries", other).rpartition("/")[2])
    cache = {"project_name": "cache", "registry_id": number, "metadata": {"public": "false"}}
    call(theirs, "POST", "projects", cache)
    chosen = call(theirs, "GET", "projects/cache")["metadata"]["retention_id"]
    policy = call(theirs, "GET", f"retentions/{chosen}")
    policy["rules"][0]["params"] = {"nDaysSinceLastPull": 30}
    call(theirs, "PUT", f"retentions/{chosen}", policy)
    trigger = {"type": "scheduled", "trigger_settings": {"cron": "0 0 2 * * *"}}
    policy = {"name": "away", "dest_registry": {"id": number}, "trigger": trigger,
              "filters": [{"type": "name", "value": "team/**"}], "dest_namespace": "copies",
              "dest_namespace_replace_count": 1, "override": True, "speed": 100,
              "replicate_deletion": True, "enabled": True}  # fmt: skip
    call(theirs, "POST", "replication/policies", policy)
    back = {"name": "home", "src_registry": {"id": number}, "enabled": False}
    call(theirs, "POST", "replication/policies", back)


def judge_others(theirs: Registry, ours: Registry) -> None:
    """What `others` made is here: the registry without its secret, the policies not enabled."""
    (other,) = call(ours, "GET", "registries")
    assert (other["name"], other["type"], other["url"]) == ("twin", "harbor", theirs.url)
    assert other["credential"]["access_key"] == theirs.username
    assert not other["credential"].get("access_secret")
    cache = call(ours, "GET", "projects/cache")
    assert cache["registry_id"] == other["id"]
    (rule,) = call(ours, "GET", f"retentions/{cache['metadata']['retention_id']}")["rules"]
    assert rule["params"] == {"nDaysSinceLastPull": 30}
    away, home = sorted(call(ours, "GET", "replication/policies"), key=lambda each: each["name"])
    (wanted,) = call(theirs, "GET", "replication/policies?q=name=away")
    own = ("id", "src_registry", "dest_registry", "creation_time", "update_time", "enabled")
    assert {k: v for k, v in away.items() if k not in own} == {
        k: v for k, v in wanted.items() if k not in own
    }
    assert (away["dest_registry"]["id"], away.get("enabled", False)) == (other["id"], False)
    assert (home["src_registry"]["id"], home.get("enabled", False)) == (other["id"], False)


def carry(ours: Registry, url: str, password: str, *more: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the report."""
    for name, text in (("theirs", password), ("ours", ours.password)):
        (ours.folder / name).write_text(text + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "moorage", "import", "harbor", url, "--to", ours.url,
         "--password-file", "theirs", "--to-password-file", "ours", "--json", *more],
        cwd=ours.folder, env=ours.environment(), capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def figures(report: dict[str, Any], what: str) -> dict[str, int]:
    """By kind."""
    return {kind: each[what] for kind, each in report["kinds"].items() if each[what]}


def test_one_registry_into_another(tmp_path: Path) -> None:
    """Everything once; a second run makes nothing; robots and people sign in with new secrets."""
    theirs = Registry(tmp_path / "theirs", settings=ALLOWED)
    ours = Registry(tmp_path / "ours", settings=ALLOWED)
    with theirs.running(), ours.running():
        furnish(theirs)
        Pusher(ours).image("library/other", "x", b"a layer")
        _, dry = carry(ours, theirs.url, theirs.password, "--dry-run")
        assert figures(dry, "made")["projects"] == 2
        assert figures(dry, "made")["replication policies"] == 2
        assert {each["name"] for each in call(ours, "GET", "projects")} == {"library"}
        secrets = ours.folder / "secrets.jsonl"
        more = ["--secrets-file", str(secrets)]
        _, first = carry(ours, theirs.url, theirs.password, *more)
        made = figures(first, "made")
        assert made == {
            "configuration": 1, "users": 2, "labels": 2, "projects": 2, "quotas": 1, "members": 2,
            "immutable tag rules": 1, "retention policies": 2, "webhook policies": 1, "robots": 2,
            "registries": 1, "replication policies": 2,
        }, first  # fmt: skip
        judge_others(theirs, ours)
        said = {(line["kind"], line["name"], line["why"]) for line in first["lines"]}
        without = ("registries", "twin", "is here without the secret of admin: enter it here")
        enable = "is enabled there: enable it here when it is time"
        assert {without, ("replication policies", "away", enable)} <= said
        assert secrets.stat().st_mode & 0o077 == 0
        entries = [json.loads(line) for line in secrets.read_text().splitlines()]
        known = {entry["name"]: entry["secret"] for entry in entries if "secret" in entry}
        assert set(known) == {"alice", "bob", "robot$team+ci", "robot$mirror"}
        for name in ("alice", "robot$team+ci"):
            auth = base64.b64encode(f"{name}:{known[name]}".encode()).decode()
            token = urllib.request.Request(
                f"{ours.url}/service/token?service=harbor-registry&scope=repository:team/app:pull",
                headers={"Authorization": f"Basic {auth}"},
            )
            urllib.request.urlopen(token, timeout=30).close()
        found = call(ours, "GET", "projects/team")
        assert found["metadata"]["auto_scan"] == "true"
        quota = call(ours, "GET", f"quotas?reference=project&reference_id={found['project_id']}")
        assert quota[0]["hard"]["storage"] == 5 << 20
        _, again = carry(ours, theirs.url, theirs.password, *more)
        assert figures(again, "made") == {}, again
        assert without in {(line["kind"], line["name"], line["why"]) for line in again["lines"]}
        Pusher(ours).image("team/app", "v1", b"a layer")
        _, tagged = carry(ours, theirs.url, theirs.password, *more, "--artifacts")
        assert figures(tagged, "made") == {"tags": 1, "labels of artifacts": 1, "descriptions": 1}
        tags = call(ours, "GET", "projects/team/repositories/app/artifacts/stable/tags")
        assert {tag["name"] for tag in tags} == {"v1", "stable"}


class Quirky(BaseHTTPRequestHandler):
    """A Harbor that says what real ones say: `null` for nothing, zeros left out, odd values."""

    ANSWERS: ClassVar[dict[str, Any]] = {
        "systeminfo": {"harbor_version": "v2.10.2-0000", "auth_mode": "oidc_auth"},
        "configurations": {
            "auth_mode": {"value": "oidc_auth", "editable": False},
            "robot_name_prefix": {"value": "bot_", "editable": True},
            "of_long_ago": {"value": 1, "editable": True},
            "oidc_client_secret": {"editable": True},
        },
        "users": [{"user_id": 1, "username": "admin"}, {"user_id": 7, "username": "carol"}],
        "usergroups": [{"id": 3, "group_name": "devs", "group_type": 3}],
        "labels": None,
        "projects": [
            {"project_id": 9, "name": "old", "metadata": {"public": "false", "retention_id": "4"}},
            {"project_id": 10, "name": "hub", "registry_id": 2, "metadata": {"public": "true"}},
        ],
        "quotas": None,
        "projects/old/members": [
            {"entity_type": "g", "entity_id": 3, "entity_name": "devs", "role_id": 2},
            {"entity_type": "u", "entity_id": 7, "entity_name": "carol", "role_id": 2},
        ],
        "projects/old/immutabletagrules": None,
        "retentions/4": None,
        "projects/old/webhook/policies": None,
        "replication/policies": [
            {
                "id": 1,
                "name": "copies",
                "src_registry": {"id": 2, "name": "closed"},
                "dest_registry": {"id": 0, "name": "Local"},
                "trigger": {"type": "manual"},
                "filters": None,
                "deletion": True,
            },
        ],
        "registries": [
            {
                "id": 2,
                "name": "closed",
                "type": "docker-registry",
                "url": "",
                "credential": {"type": "basic", "access_key": "me", "access_secret": "*****"},
            },
        ],
        "projects/hub/members": None,
        "projects/hub/immutabletagrules": None,
        "projects/hub/webhook/policies": None,
        "p2p/preheat/instances": None,
    }

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = url.path.removeprefix("/api/v2.0/")
        if path == "/v2/":
            self.registry()
            return
        query = parse_qs(url.query)
        body = self.ANSWERS.get(path, None)
        if path == "robots":
            body = self.robots(query["q"][0])
        if path == "registries":
            host = self.headers["Host"]
            body = [{**each, "url": f"http://{host}"} for each in self.ANSWERS[path]]
        if int(query.get("page", ["1"])[0]) > 1:
            body = None
        known = path in self.ANSWERS or path == "robots"
        answer = body if known else {"errors": [{"code": "NOT_FOUND", "message": "no"}]}
        text = json.dumps(answer).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def registry(self) -> None:
        """One that tells nobody anything without its account."""
        told = self.headers["Authorization"] == "Basic " + base64.b64encode(b"me:closed").decode()
        self.send_response(200 if told else 401)
        if not told:
            self.send_header("WWW-Authenticate", 'Basic realm="closed"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def robots(self, q: str) -> list[dict[str, Any]] | None:
        access = [{"resource": "repository", "action": "pull"}, {"resource": "helm", "action": "x"}]
        permissions = [{"kind": "project", "namespace": "old", "access": access}]
        if "Level=system" in q:
            return None
        if "ProjectID=9" not in q:
            return None
        return [
            {"id": 1, "name": "bot_old+ci", "level": "project", "expires_at": -1,
             "permissions": permissions},
            {"id": 2, "name": "bot_old+gone", "level": "project", "expires_at": 1600000000,
             "permissions": permissions},
        ]  # fmt: skip

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def quirky() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Quirky)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_harbor_with_its_quirks(tmp_path: Path, quirky: str) -> None:
    """What it lacks is nothing, what has no meaning here is told, the rest is there."""
    ours = Registry(tmp_path / "ours", settings=ALLOWED)
    with ours.running():
        status, report = carry(ours, quirky, "x", "--secrets-file", str(ours.folder / "s"))
        left = {(line["kind"], line["name"]) for line in report["lines"]}
        assert status == 1
        assert {
            ("configuration", "of_long_ago"), ("configuration", "auth_mode"),
            ("configuration", "oidc_client_secret"), ("users", "carol"), ("projects", "hub"),
            ("members", "old: carol"), ("robots", "bot_old+gone"), ("robots", "bot_old+ci"),
            ("registries", "closed"), ("replication policies", "copies"),
        } <= left, left  # fmt: skip
        made = figures(report, "made")
        assert (made["projects"], made["groups"], made["members"], made["robots"]) == (1, 1, 1, 1)
        secrets = [json.loads(line) for line in (ours.folder / "s").read_text().splitlines()]
        assert secrets[-1]["name"] == "bot_old+ci"
        (ours.folder / "others").write_text('{"name": "closed", "secret": "closed"}\n')
        known = ["--registry-secrets", str(ours.folder / "others")]
        _, more = carry(ours, quirky, "x", "--secrets-file", str(ours.folder / "s"), *known)
        assert figures(more, "made") == {"registries": 1, "projects": 1, "replication policies": 1}
        (policy,) = call(ours, "GET", "replication/policies")
        assert (policy["name"], policy["replicate_deletion"]) == ("copies", True)
        # Killed between the account and its secret: the next run asks for a new one.
        (ours.folder / "s").write_text('{"creating": "old+ci"}\n')
        _, again = carry(ours, quirky, "x", "--secrets-file", str(ours.folder / "s"))
        assert again["kinds"]["robots"]["made"] == 0
        assert "secret" in json.loads((ours.folder / "s").read_text().splitlines()[-1])
