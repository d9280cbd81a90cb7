"""Two replicas on PostgreSQL and S3, of which one may die at any moment."""

import hashlib
import json
import os
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.support.databases import PostgresServer
from tests.support.images import MANIFEST
from tests.support.redis_server import RedisServer
from tests.support.serving import Registry
from tests.support.stores import Bucket

REPOSITORY = "library/shared"


class Client:
    """Speaks to either replica, with one token for both."""

    def __init__(self, replicas: list[Registry]) -> None:
        self.replicas = replicas
        first = replicas[0]
        pair = b64encode(f"{first.username}:{first.password}".encode()).decode()
        scope = f"repository:{REPOSITORY}:pull,push"
        _, _, body = self.ask(
            0, "GET", f"/service/token?service=harbor-registry&scope={scope}", auth=f"Basic {pair}"
        )
        self._auth = f"Bearer {json.loads(body)['token']}"

    def ask(
        self,
        replica: int,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        auth: str = "",
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and body."""
        sent = {"Authorization": auth or self._auth}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        port = self.replicas[replica].port
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as wire:
            wire.request(method, path, body, sent)
            answer = wire.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()

    def begin(self, replica: int) -> str:
        """Start an upload; its location."""
        status, headers, _ = self.ask(replica, "POST", f"/v2/{REPOSITORY}/blobs/uploads/")
        assert status == 202
        return headers["location"]

    def chunk(self, replica: int, location: str, start: int, data: bytes) -> str:
        """Send a chunk; the next location."""
        status, headers, body = self.ask(
            replica,
            "PATCH",
            location,
            data,
            Content_Range=f"{start}-{start + len(data) - 1}",
            Content_Type="application/octet-stream",
        )
        assert status == 202, body
        return headers["location"]

    def close(self, replica: int, location: str, data: bytes) -> int:
        """Close an upload; the status."""
        mark = "&" if "?" in location else "?"
        return self.ask(replica, "PUT", f"{location}{mark}digest={digest(data)}")[0]

    def push(self, replica: int, data: bytes) -> None:
        """Push a blob at once."""
        path = f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest(data)}"
        assert self.ask(replica, "POST", path, data)[0] == 201

    def tag(self, replica: int, name: str, config: bytes) -> str:
        """Point a tag at an image of one config; its digest."""
        self.push(replica, config)
        entry = {"mediaType": "application/vnd.oci.image.config.v1+json"}
        descriptor = entry | {"digest": digest(config), "size": len(config)}
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": []}
        body = json.dumps(document).encode()
        path = f"/v2/{REPOSITORY}/manifests/{name}"
        status, _, answer = self.ask(replica, "PUT", path, body, Content_Type=MANIFEST)
        assert status == 201, answer
        return digest(body)

    def tagged(self, replica: int, name: str) -> str:
        """The digest of a tag, or nothing."""
        status, headers, _ = self.ask(replica, "HEAD", f"/v2/{REPOSITORY}/manifests/{name}")
        assert status in (200, 404)
        return headers["docker-content-digest"] if status == 200 else ""

    def read(self, replica: int, data: bytes) -> bytes:
        """A blob's bytes."""
        status, _, body = self.ask(replica, "GET", f"/v2/{REPOSITORY}/blobs/{digest(data)}")
        assert status == 200
        return body


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture(params=["redis", "without redis"])
def replicas(
    request: pytest.FixtureRequest,
    postgres_server: PostgresServer,
    seaweed: Bucket,
    tmp_path: Path,
) -> Iterator[list[Registry]]:
    """Two processes that started at the same moment on an empty database."""
    name = f"replicas_{os.urandom(4).hex()}"
    postgres_server.sql(f"CREATE DATABASE {name}")
    settings: dict[str, object] = {
        "database.url": postgres_server.url(name),
        "storage.driver": "s3",
        "storage.s3": seaweed.section(),
        "storage.redirect.disable": True,
        "auth.secret_key": "one key for both replicas",
    }
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("own_redis")
        settings["redis.url"] = server.url
    found = [
        Registry(tmp_path / f"replica{number}", settings=settings, password="Moorage-12345")
        for number in range(2)
    ]
    starts = [threading.Thread(target=replica.start) for replica in found]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    try:
        yield found
    finally:
        for replica in found:
            replica.kill()


def test_chunks_may_alternate_between_replicas(replicas: list[Registry]) -> None:
    """No session belongs to a process."""
    client = Client(replicas)
    data = os.urandom(600_000)
    location = client.begin(0)
    for number in range(6):
        start = number * 100_000
        location = client.chunk(number % 2, location, start, data[start : start + 100_000])
    assert client.close(1, location, data) == 201
    for replica in range(2):
        assert client.read(replica, data) == data


def test_a_replica_may_die_between_chunks(replicas: list[Registry]) -> None:
    """The other one goes on where it was."""
    client = Client(replicas)
    data = os.urandom(300_000)
    location = client.begin(0)
    location = client.chunk(0, location, 0, data[:100_000])
    replicas[0].kill()
    status, headers, _ = client.ask(1, "GET", location)
    assert (status, headers["range"]) == (204, "0-99999")
    location = client.chunk(1, location, 100_000, data[100_000:])
    assert client.close(1, location, data) == 201
    replicas[0].start()
    assert client.read(0, data) == data


def test_a_replica_may_die_during_a_chunk(replicas: list[Registry]) -> None:
    """The client learns what is safe, and sends the rest elsewhere."""
    client = Client(replicas)
    data = os.urandom(8 << 20)
    location = client.begin(0)
    location = client.chunk(0, location, 0, data[:100_000])
    with closing(HTTPConnection("127.0.0.1", replicas[0].port)) as wire:
        wire.putrequest("PATCH", location)
        wire.putheader("Authorization", client._auth)
        wire.putheader("Content-Range", f"100000-{len(data) - 1}")
        wire.putheader("Content-Length", str(len(data) - 100_000))
        wire.endheaders()
        wire.send(data[100_000 : 3 << 20])
        time.sleep(0.2)
        replicas[0].kill()
    status, headers, _ = client.ask(1, "GET", location)
    assert status == 204
    safe = int(headers["range"].partition("-")[2]) + 1
    assert safe >= 100_000
    location = client.chunk(1, location, safe, data[safe:])
    assert client.close(1, location, data) == 201
    assert client.read(1, data) == data


def test_a_moved_tag_is_seen_at_once_everywhere(replicas: list[Registry]) -> None:
    """By readers that held the old one, on whichever replica it was moved."""
    client = Client(replicas)
    for number in range(20):
        moved = client.tag(number % 2, "latest", b'{"n":%d}' % number)
        for replica in (0, 1, 0, 1):
            assert client.tagged(replica, "latest") == moved


def test_a_deleted_tag_is_gone_at_once_everywhere(replicas: list[Registry]) -> None:
    """No cache brings it back."""
    client = Client(replicas)
    for number in range(5):
        client.tag(0, "gone", b'{"g":%d}' % number)
        assert client.tagged(1, "gone")
        pair = b64encode(f"{replicas[0].username}:{replicas[0].password}".encode()).decode()
        path = f"/v2/{REPOSITORY}/manifests/gone"
        assert client.ask(number % 2, "DELETE", path, auth=f"Basic {pair}")[0] == 202
        for replica in (0, 1, 0, 1):
            assert client.tagged(replica, "gone") == ""


@pytest.mark.parametrize("replicas", ["redis"], indirect=True)
@pytest.mark.parametrize("trouble", ["kill", "hang", "flush"])
def test_redis_may_fail(replicas: list[Registry], own_redis: RedisServer, trouble: str) -> None:
    """Nothing old is read, nothing is refused, and pushes are waited for a few seconds at most."""
    client = Client(replicas)
    client.tag(0, "latest", b'{"before":1}')
    getattr(own_redis, trouble)()
    for number in range(6):
        began = time.monotonic()
        moved = client.tag(number % 2, "latest", b'{"during":%d}' % number)
        assert time.monotonic() - began < 45  # it takes some six, and Redis never answers
        for replica in (0, 1):
            assert client.tagged(replica, "latest") == moved


def test_there_is_one_administrator_and_one_project(replicas: list[Registry]) -> None:
    """However many processes began together."""
    client = Client(replicas)
    pair = b64encode(f"{replicas[0].username}:{replicas[0].password}".encode()).decode()
    for replica in range(2):
        for path in ("/api/v2.0/users", "/api/v2.0/projects"):
            status, _, body = client.ask(replica, "GET", path, auth=f"Basic {pair}")
            assert status == 200
            assert len(json.loads(body)) == 1
