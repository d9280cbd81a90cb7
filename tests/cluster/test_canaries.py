"""What a real process tells about its callers: their request's id, and never their secrets."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.replicas import Calls
from tests.support.serving import Registry

REPOSITORY = "library/told"


@pytest.fixture(params=["debug", "info"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A server that says all it can say, and one as people run it."""
    made = Registry(tmp_path / "a", settings={"log.level": request.param})
    with made.running():
        yield made


def basic(username: str, password: str) -> dict[str, str]:
    """Credentials as clients send them."""
    pair = b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def secrets_in_use(registry: Registry, calls: Calls) -> list[str]:
    """Send, and be given, every kind of secret; returns them."""
    found = [registry.password, b64encode(f"admin:{registry.password}".encode()).decode()]
    calls.push_blob(REPOSITORY, b"{}")

    scope = f"service=harbor-registry&scope=repository:{REPOSITORY}:pull"
    token = str(calls.json(f"/service/token?{scope}")["token"])
    bearer = {"Authorization": f"Bearer {token}"}
    assert calls.ask("GET", f"/v2/{REPOSITORY}/tags/list", headers=bearer).status == 200
    found += [token, token.rpartition(".")[2]]

    wrong = "Canary1WrongPassword"
    assert calls.ask("GET", "/v2/", headers=basic("admin", wrong)).status == 401
    broken = {"Authorization": f"Bearer {token[:-4]}AAAA"}
    assert calls.ask("GET", "/v2/", headers=broken).status == 401
    assert calls.ask("GET", "/v2/?password=Canary2Query&token=Canary3Query").status == 200
    found += [wrong, token[:-4], "Canary2Query", "Canary3Query"]

    kind = {"Content-Type": "application/json"}
    new = "Canary4Password"
    user = {"username": "carol", "password": new, "email": "c@example.org", "realname": "Carol"}
    made = calls.ask("POST", "/api/v2.0/users", json.dumps(user).encode(), kind)
    assert made.status == 201, made
    assert calls.ask("GET", "/v2/", headers=basic("carol", new)).status == 200
    access = [{"resource": "repository", "action": "pull"}]
    permission = {"kind": "project", "namespace": "library", "access": access}
    robot = {"name": "ci", "level": "project", "duration": 1, "permissions": [permission]}
    made = calls.ask("POST", "/api/v2.0/robots", json.dumps(robot).encode(), kind)
    assert made.status == 201, made
    answer = json.loads(made.body)
    assert calls.ask("GET", "/v2/", headers=basic(answer["name"], answer["secret"])).status == 200
    return [*found, new, answer["secret"], "$argon2"]


def lines(registry: Registry) -> list[dict[str, object]]:
    """Each line of the log; only what people read at the start is no JSON."""
    written = registry.log().splitlines()
    return [json.loads(line) for line in written if not line.startswith("Moorage is ready at ")]


def test_no_secret_is_written(registry: Registry) -> None:
    """However much is logged: no password, token, hash or key, in the log or the figures."""
    calls = Calls(registry)
    canaries = secrets_in_use(registry, calls)
    canaries.append((registry.folder / "data" / "secret_key").read_text().strip())
    figures = calls.ask("GET", "/metrics").body.decode()
    assert registry.stop() == 0
    assert lines(registry)
    for canary in canaries:
        assert canary not in registry.log()
        assert canary not in figures


def test_a_request_is_found_in_the_log(registry: Registry) -> None:
    """An id that came with a request is on its answer and on what was logged of it."""
    calls = Calls(registry)
    calls.push_blob(REPOSITORY, b"{}")
    kept = {"X-Request-Id": "canary-request-7"}
    assert calls.ask("GET", "/v2/", headers=kept).headers["x-request-id"] == "canary-request-7"
    other = calls.ask("GET", "/v2/", headers={"X-Request-Id": 'a "b" <c>'}).headers
    assert other["x-request-id"].isalnum()

    # Nothing can be stored any more: a failure that is the server's own.
    blobs = registry.folder / "data" / "blobs"
    blobs.rename(registry.folder / "moved")
    blobs.write_text("not a directory")
    path = f"/v2/{REPOSITORY}/blobs/uploads/?digest=sha256:{'0' * 64}"
    failed = calls.ask("POST", path, b"some bytes", kept)
    assert failed.status >= 500
    assert str(registry.folder).encode() not in failed.body
    (told,) = (line for line in lines(registry) if line.get("request_id") == "canary-request-7")
    assert told["level"] == "warning"
    assert str(told["event"]).startswith(f"POST /v2/{REPOSITORY}/blobs/uploads/: ")
    assert "sha256" not in str(told["event"])  # the query stays out


def test_figures_of_a_process(registry: Registry) -> None:
    """What dashboards ask for is there after the first requests, and names no repository."""
    calls = Calls(registry)
    calls.push_blob(REPOSITORY, b"{}")
    calls.ask("GET", "/api/v2.0/ping")
    figures = calls.ask("GET", "/metrics").body.decode()
    for name in (
        "registry_http_requests_total{",
        "registry_http_request_duration_seconds_bucket{",
        "registry_http_in_flight_requests{",
        "registry_storage_action_seconds_count{",
        "harbor_core_http_request_total{",
        "harbor_core_http_inflight_requests ",
        "process_resident_memory_bytes ",
        "moorage_info{",
    ):
        assert f"\n{name}" in figures, name
    assert REPOSITORY not in figures
    assert calls.ask("GET", "/metrics?comp=nothing").status == 400
