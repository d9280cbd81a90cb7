"""Replicas over PostgreSQL and S3 are one registry: frozen ones, late chunks, deletes, tokens."""

import hashlib
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.support.databases import PostgresServer
from tests.support.images import digest_of
from tests.support.jobworker import frozen
from tests.support.redis_server import RedisServer
from tests.support.replicas import Calls, Replicas, manifest
from tests.support.stores import Bucket, SeaweedServer

MIB = 1 << 20


@pytest.fixture(scope="module", params=["database only", "redis"])
def replicas(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    seaweed_server: SeaweedServer,
) -> Iterator[Replicas]:
    """Two running replicas, with Redis and without."""
    redis = ""
    if request.param == "redis":
        process: RedisServer = request.getfixturevalue("redis_process")
        redis = process.url
    folder = tmp_path_factory.mktemp("replicas")
    made = Replicas(folder, postgres_server, seaweed_server.bucket(), redis=redis)
    try:
        yield made.start()
    finally:
        made.kill()


@pytest.fixture
def pair(replicas: Replicas) -> list[Calls]:
    """Requests to either."""
    return replicas.calls


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> str:
    """A repository of this test alone."""
    return f"library/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"


def test_a_chunk_that_comes_twice(pair: list[Calls], fresh: str) -> None:
    """A proxy that repeats a chunk at the other replica changes nothing."""
    data = b"a" * MIB + b"b" * MIB
    where = pair[0].open(fresh)
    assert pair[0].chunk(where, 0, data[:MIB]).status == 202
    again = pair[1].chunk(where, 0, data[:MIB])
    assert again.status == 416
    assert again.headers["range"] == f"0-{MIB - 1}"
    digest = digest_of(data)
    assert pair[1].ask("PUT", f"{where}?digest={digest}", data[MIB:]).status == 201
    assert pair[0].content(fresh, digest) == data
    assert pair[0].ask("GET", where).status == 404  # the session ended on every replica


def test_a_replica_that_wakes_up_again(replicas: Replicas, pair: list[Calls], fresh: str) -> None:
    """A frozen replica's late chunk does no harm to an upload that went on without it."""
    late, data = b"late" * MIB, b"on time" * MIB
    where = pair[0].open(fresh)
    with closing(HTTPConnection("127.0.0.1", pair[0].port, timeout=30)) as wire:
        wire.putrequest("PATCH", where)
        wire.putheader("Authorization", pair[0].authorization)
        wire.putheader("Content-Length", str(len(late)))
        wire.putheader("Content-Range", f"0-{len(late) - 1}")
        wire.endheaders()
        wire.send(late[:MIB])
        time.sleep(0.3)
        freeze(replicas)
        try:
            assert pair[1].arrived(where) == 0
            assert pair[1].chunk(where, 0, data).status == 202
        finally:
            replicas.registries[0].signal(signal.SIGCONT)
        wire.send(late[MIB:])
        assert wire.getresponse().status == 416
    assert pair[0].arrived(where) == len(data)
    digest = digest_of(data)
    assert pair[0].ask("PUT", f"{where}?digest={digest}").status == 201
    assert pair[1].content(fresh, digest) == data


def freeze(replicas: Replicas) -> None:
    """Stop the first replica where it holds no lock: others wait for that, and then give up."""
    first = replicas.registries[0]
    open_ = (
        "SELECT 1 FROM pg_stat_activity WHERE xact_start < now() AND datname = "
        "current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    until = time.monotonic() + 120
    while True:
        first.signal(signal.SIGSTOP)
        while not frozen(first.pid):
            time.sleep(0.01)
        if not replicas.rows(open_):
            return
        first.signal(signal.SIGCONT)
        assert time.monotonic() < until, "it is never outside of a transaction"
        time.sleep(0.05)


def test_a_delete_is_seen_at_once(pair: list[Calls], fresh: str) -> None:
    """What one replica deleted the other has forgotten too, however often it was asked before."""
    config = pair[0].push_blob(fresh, b"{}")
    document = manifest(config, 2, 0)
    targets = [
        f"/v2/{fresh}/manifests/other",
        f"/v2/{fresh}/manifests/{digest_of(document)}",
        f"/v2/{fresh}/blobs/{config}",
    ]
    for tag in ("latest", "other"):
        assert pair[0].push_manifest(fresh, tag, document).status == 201
    paths = [f"/v2/{fresh}/manifests/latest", *targets]
    for _ in range(3):
        assert [pair[1].ask("GET", path).status for path in paths] == [200] * 4
    for target in targets:
        assert pair[1].ask("GET", target).status == 200
        assert pair[0].ask("DELETE", target).status == 202
        assert pair[1].ask("GET", target).status == 404
        assert pair[1].ask("HEAD", target).status == 404
    assert [pair[1].ask("GET", path).status for path in paths] == [404] * 4


def test_an_absence_is_not_remembered(pair: list[Calls], fresh: str) -> None:
    """Who asked for a tag before it was pushed gets it right afterwards, wherever that was."""
    path = f"/v2/{fresh}/manifests/latest"
    for _ in range(3):
        assert [calls.ask("GET", path).status for calls in pair] == [404, 404]
    config = pair[0].push_blob(fresh, b"{}")
    document = manifest(config, 2, 1)
    assert pair[0].push_manifest(fresh, "latest", document).status == 201
    assert [calls.ask("GET", path).body for calls in pair] == [document] * 2


def test_a_token_is_good_everywhere(pair: list[Calls], fresh: str) -> None:
    """A token that one replica signed opens the other one, for the repository that it names."""
    pair[0].push_blob(fresh, b"{}")
    query = f"service=harbor-registry&scope=repository:{fresh}:pull"
    token = pair[0].json(f"/service/token?{query}")["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    for calls in pair:
        blob = f"/v2/{fresh}/blobs/{digest_of(b'{}')}"
        assert calls.ask("GET", blob, headers=bearer).status == 200
        other = calls.ask("GET", f"/v2/{fresh}-other/tags/list", headers=bearer)
        assert other.status == 401


def test_all_start_on_an_empty_database(
    tmp_path: Path, postgres_server: PostgresServer, seaweed: Bucket
) -> None:
    """Replicas that meet an empty database together make one schema, one administrator, one key."""
    made = Replicas(tmp_path, postgres_server, seaweed, count=3, empty=True, password=False)
    try:
        made.start()
        logs = [registry.log() for registry in made.registries]
        assert sum(log.count("This password is shown once") for log in logs) == 1
        assert not any("Traceback" in log for log in logs)
        assert made.rows("SELECT count(*) FROM users WHERE sysadmin") == ["1"]
        assert made.rows("SELECT name FROM projects") == ["library"]
        assert made.rows("SELECT count(*) FROM alembic_version") == ["1"]
        assert made.rows("SELECT count(*) FROM signing_keys") == ["1"]
    finally:
        made.kill()
