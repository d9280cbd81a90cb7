"""The served document and the server say the same, whoever calls and whatever is sent."""

import inspect
import json
import os
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from tests.support.content import LAYER, image, sha256
from tests.support.images import MANIFEST
from tests.support.requirements import path_of
from tests.support.serving import ROOT, Registry

from moorage.api.app import create_api

PASSWORD = "A-long-Pa55word"
PEOPLE = {"maintainer": 4, "guest": 3, "stranger": 0}


def document() -> dict[str, Any]:
    return create_api(None).openapi()  # type: ignore[arg-type]


def test_every_operation_has_a_name_and_its_errors() -> None:
    """Generated clients call operations by these names."""
    names = []
    for path in document()["paths"].values():
        for method, operation in path.items():
            names.append(operation["operationId"])
            assert {"401", "403", "404", "422", "503"} <= operation["responses"].keys()
            assert ("409" in operation["responses"]) == (method not in ("get", "head"))
    assert len(set(names)) == len(names)
    assert {"listProjects", "getArtifact", "updateConfigurations"} <= set(names)


def test_no_dependency_takes_a_thread() -> None:
    """FastAPI runs one that is not async in a thread, for each request anew."""
    app, seen = create_api(None), set()  # type: ignore[arg-type]

    def look(needed: Dependant) -> None:
        for each in needed.dependencies:
            if each.call is not None:
                seen.add(each.call)
            look(each)

    routers: list[Any] = [app.router]
    for router in routers:
        for route in router.routes:
            if hasattr(route, "dependant"):
                look(route.dependant)
            elif hasattr(route, "original_router"):
                routers.append(route.original_router)
    assert len(seen) > 20
    assert [each for each in seen if not inspect.iscoroutinefunction(each)] == []


class Site:
    """A server with a project, people in it, and something in its repository."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.ids: dict[str, int] = {}
        for name in ("victim", "root", *PEOPLE):
            body: Any = {"username": name, "password": PASSWORD, "realname": name}
            self.ids[name] = self.call("POST", "/users", body)
        self.call("PUT", f"/users/{self.ids['root']}/sysadmin", {"sysadmin_flag": True})
        self.call("POST", "/projects", {"project_name": "team"})
        for name, role in PEOPLE.items():
            if role:
                body = {"role_id": role, "member_user": {"username": name}}
                self.call("POST", "/projects/team/members", body)
        for data in (b"{}", b"layer"):
            self.send("POST", f"/v2/team/app/blobs/uploads/?digest={sha256(data)}", data, LAYER)
        manifest = image(b"{}", [b"layer"], annotations={"org.opencontainers.image.title": "app"})
        self.send("PUT", "/v2/team/app/manifests/v1", manifest, MANIFEST)

    def call(self, method: str, path: str, body: Any) -> int:
        """One request as the administrator; the id at the end of the answer's location."""
        sent = json.dumps(body).encode()
        last = self.send(method, f"/api/v2.0{path}", sent, "application/json").rpartition("/")[2]
        return int(last) if last.isdigit() else 0

    def send(self, method: str, path: str, body: bytes, kind: str) -> str:
        """One request as the administrator; the location that it is answered with."""
        pair = b64encode(f"admin:{self.registry.password}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}", "Content-Type": kind}
        request = urllib.request.Request(self.registry.url + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.headers.get("Location", ""))

    def names(self, caller: str) -> str:
        """What the paths name, for the hooks."""
        return json.dumps(
            {
                "caller": self.ids.get(caller, 0),
                "user_id": self.ids["victim"],
                "project_name": "team",
                "project_name_or_id": "team",
                "repository_name": "app",
                "reference": "v1",
                "tag_name": "v1",
                "meta_name": "severity",
            }
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Nobody can switch it to read-only, which would end the test too early."""
    path_of("schemathesis")
    settings = {"configuration.read_only": False, "configuration.auth_mode": "db_auth"}
    registry = Registry(tmp_path_factory.mktemp("openapi"), settings=settings)
    registry.start()
    yield Site(registry)
    registry.stop()


@pytest.mark.slow
@pytest.mark.parametrize("caller", ["root", "maintainer", "guest", "stranger", ""])
def test_the_server_answers_as_its_document_says(site: Site, caller: str, tmp_path: Path) -> None:
    """No 500, no status, type or schema that the document does not have."""
    command = [
        path_of("schemathesis"),
        "run",
        f"{site.registry.url}/api/v2.0/openapi.json",
        "--checks=not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance",
        "--phases=coverage,fuzzing",
        "--max-examples=8",
        "--continue-on-failure",
        "--suppress-health-check=all",
        "--generation-deterministic",
        "--no-color",
    ]
    if caller:
        command.append(f"--auth={caller}:{PASSWORD}")
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.support.schema_hooks",
            "SCHEMA_NAMES": site.names(caller),
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
