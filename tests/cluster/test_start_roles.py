"""Processes of one role each over PostgreSQL: in any order, without it, and behind nginx."""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from tests.support.databases import PostgresServer, running_postgres
from tests.support.images import digest_of
from tests.support.nginx import BLOBS, Nginx
from tests.support.serving import Registry

BLOB = b"a layer of some length" * 1000
DIGEST = digest_of(BLOB)
SECRET = "the same secret key on every replica"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of one's own, to stop and start, with an empty database."""
    with running_postgres() as server:
        server.sql("CREATE DATABASE moorage")
        yield server


Make = Callable[..., Registry]


@pytest.fixture
def make(tmp_path: Path, server: PostgresServer) -> Iterator[Make]:
    """Makes processes that share database, key and blobs."""
    made: list[Registry] = []

    def build(role: str | None, **settings: object) -> Registry:
        name = f"{role}-{len(made)}"
        named = {path.replace("__", "."): value for path, value in settings.items()}
        shared = {
            "database.url": server.url("moorage"),
            "auth.secret_key": SECRET,
            "storage.driver": "filesystem",
            "storage.filesystem.rootdirectory": tmp_path / "blobs",
        }
        registry = Registry(
            tmp_path / name, role=role, settings=shared | named, password="Pa55word"
        )
        made.append(registry)
        return registry

    yield build
    for registry in made:
        registry.kill()


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[HTTPResponse, bytes]:
    """A request of the administrator."""
    basic = {"Authorization": "Basic " + b64encode(b"admin:Pa55word").decode()}
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as wire:
        wire.request(method, path, body, {**basic, **(headers or {})})
        answer = wire.getresponse()
        return answer, answer.read()


def status(registry: Registry, path: str) -> int:
    """The status of one GET."""
    return ask(registry.port, "GET", path)[0].status


def until(found: Callable[[], object], wanted: object, seconds: float = 60) -> None:
    """Wait for a value."""
    end = time.monotonic() + seconds
    while (last := found()) != wanted:
        assert time.monotonic() < end, f"{last} is not {wanted}"
        time.sleep(0.1)


def parts(registry: Registry) -> Mapping[str, str]:
    """What the readiness page says of each part."""
    found: Mapping[str, str] = json.loads(ask(registry.port, "GET", "/readyz")[1])["parts"]
    return found


def test_roles_start_in_any_order_and_wait_for_the_database(
    make: Make, server: PostgresServer
) -> None:
    """Without its database a process lives and is not ready; with it, each answers its paths."""
    server.stop("fast")
    jobservice, core, registry, second = (
        make(role).launch() for role in ("jobservice", "core", "registry", "registry")
    )
    every = [jobservice, core, registry, second]
    for each in every:
        until(partial(each.ready, "/healthz"), 200)
        assert each.ready() == 503
    assert ask(registry.port, "GET", "/v2/")[0].getheader("Retry-After") is not None
    time.sleep(2)
    server.start()
    for each in every:
        each.wait(60)
        assert "Traceback" not in each.log()

    assert [status(registry, p) for p in ("/v2/", "/api/v2.0/ping")] == [200, 404]
    assert [status(core, p) for p in ("/v2/", "/api/v2.0/ping")] == [404, 200]
    assert [status(jobservice, p) for p in ("/v2/", "/api/v2.0/ping")] == [404, 404]
    token = "/service/token?service=harbor-registry&scope=repository:library/a:pull"
    assert [status(each, token) for each in every] == [404, 200, 200, 200]

    path = f"/v2/library/a/blobs/uploads/?digest={DIGEST}"
    assert ask(registry.port, "POST", path, BLOB)[0].status == 201
    answer, body = ask(second.port, "GET", f"/v2/library/a/blobs/{DIGEST}")
    assert (answer.status, body) == (200, BLOB)
    assert [each.stop() for each in every] == [0, 0, 0, 0]


def test_a_database_that_goes_and_comes_back(make: Make, server: PostgresServer) -> None:
    """Meanwhile requests get a 503 that says to come back; afterwards all is well by itself."""
    registry = make(None).start()
    path = f"/v2/library/a/blobs/uploads/?digest={DIGEST}"
    assert ask(registry.port, "POST", path, BLOB)[0].status == 201
    server.stop()
    assert registry.ready() == 503
    assert registry.ready("/healthz") == 200
    assert parts(registry)["storage"] == "healthy"
    assert parts(registry)["database"] != "healthy"
    answer, _ = ask(registry.port, "POST", path, BLOB)
    assert answer.status == 503
    assert answer.getheader("Retry-After") is not None
    server.start()
    until(registry.ready, 200)
    assert ask(registry.port, "GET", f"/v2/library/a/blobs/{DIGEST}")[1] == BLOB


def test_replicas_agree_on_their_key(make: Make) -> None:
    """A replica with another secret key would encrypt what the others cannot read: it ends."""
    make("registry").start()
    other = make("registry", auth__secret_key="quite another key, by mistake").launch()
    assert other.ended() == 1
    assert "secret" in other.log()
    assert "Traceback" not in other.log()


def test_a_store_that_is_away_makes_nobody_unready(make: Make, tmp_path: Path) -> None:
    """All replicas would leave the balancer at once, and cached manifests are still served."""
    registry = make("registry").start()
    (tmp_path / "blobs").rename(tmp_path / "moved")
    assert registry.ready() == 200
    assert json.loads(ask(registry.port, "GET", "/readyz")[1])["status"] == "degraded"
    (tmp_path / "moved").rename(tmp_path / "blobs")
    assert json.loads(ask(registry.port, "GET", "/readyz")[1])["status"] == "ready"


def test_the_roles_behind_nginx(make: Make, tmp_path: Path) -> None:
    """The configuration that is shipped: routes, blobs from disk, nothing internal outside."""
    proxied = {"http__trusted_proxies": ["127.0.0.0/8"], "http__accel_redirect": BLOBS}
    registries = [make("registry", **proxied).start() for _ in range(2)]
    core = make("core", **proxied).start()
    with ExitStack() as stack:
        front = Nginx(
            tmp_path / "nginx",
            [each.port for each in registries],
            core=[core.port],
            blobs=tmp_path / "blobs",
        )
        stack.callback(front.stop)
        front.start()
        start, _ = ask(front.port, "POST", "/v2/library/a/blobs/uploads/")
        where = start.getheader("Location")
        assert start.status == 202
        assert where is not None
        assert where.startswith("/v2/")
        half = len(BLOB) // 2
        assert ask(front.port, "PATCH", where, BLOB[:half])[0].status == 202
        assert ask(front.port, "PUT", f"{where}?digest={DIGEST}", BLOB[half:])[0].status == 201

        blob = f"/v2/library/a/blobs/{DIGEST}"
        answer, body = ask(front.port, "GET", blob)
        assert (answer.status, body) == (200, BLOB)
        assert answer.getheader("Docker-Content-Digest") == DIGEST
        assert answer.getheader("ETag") == f'"{DIGEST}"'
        assert answer.getheader("Accept-Ranges") == "bytes"
        assert answer.getheader("Content-Length") == str(len(BLOB))
        part, body = ask(front.port, "GET", blob, headers={"Range": "bytes=5-9"})
        assert (part.status, body) == (206, BLOB[5:10])
        assert part.getheader("Docker-Content-Digest") == DIGEST
        assert ask(front.port, "HEAD", blob)[0].getheader("Content-Length") == str(len(BLOB))
        assert ask(front.port, "GET", "/v2/")[0].status == 200
        assert ask(front.port, "GET", "/api/v2.0/ping")[0].status == 200
        token = "/service/token?service=harbor-registry&scope=repository:library/a:pull"
        assert ask(front.port, "GET", token)[0].status == 200
        for hidden in ("/metrics", "/readyz", f"{BLOBS}blobs/x", "/"):
            assert ask(front.port, "GET", hidden)[0].status == 404, hidden

        # One replica leaves: whoever asks next is served by the other one.
        registries[0].kill()
        for _ in range(4):
            assert ask(front.port, "GET", blob)[1] == BLOB
