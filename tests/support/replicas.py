"""Replicas of one registry over PostgreSQL and S3, and requests to each of them by turns.

Replicas(folder, server, bucket, redis)     replicas[0], replicas[1]
Calls(registry)                             requests of the administrator
"""

import json
import subprocess
import uuid
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

from tests.support.databases import PostgresServer
from tests.support.images import MANIFEST, digest_of
from tests.support.serving import Registry
from tests.support.stores import Bucket

PASSWORD = "Aa1-the-same-on-every-replica"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Calls:
    """Requests to one process, each on a connection of its own."""

    def __init__(self, registry: Registry) -> None:
        self.port = registry.port
        basic = b64encode(f"{registry.username}:{registry.password}".encode()).decode()
        self.authorization = f"Basic {basic}"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; header names of the answer are in lower case."""
        sent = {"Authorization": self.authorization, "Accept": f"{MANIFEST}, */*"}
        if body is not None:
            sent["Content-Type"] = "application/octet-stream"
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as wire:
            wire.request(method, path, body, sent | dict(headers or {}))
            answer = wire.getresponse()
            names = {name.lower(): text for name, text in answer.getheaders()}
            return Answer(answer.status, names, answer.read())

    def json(self, path: str) -> Mapping[str, object]:
        """A document."""
        found: Mapping[str, object] = json.loads(self.ask("GET", path).body)
        return found

    def open(self, repository: str) -> str:
        """The path of a new upload session."""
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert answer.status == 202, answer
        return answer.headers["location"]

    def chunk(self, where: str, start: int, data: bytes) -> Answer:
        """Send one chunk."""
        span = f"{start}-{start + len(data) - 1}"
        return self.ask("PATCH", where, data, {"Content-Range": span})

    def arrived(self, where: str) -> int:
        """How many bytes of a session are safe."""
        answer = self.ask("GET", where)
        assert answer.status == 204, answer
        first, last = answer.headers["range"].split("-")
        assert first == "0"
        # An empty session says `0-0`, as one with a single byte does; no test sends single bytes.
        return int(last) + 1 if last != "0" else 0

    def push_blob(self, repository: str, content: bytes) -> str:
        """Push a blob in one request; its digest."""
        digest = digest_of(content)
        path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
        answer = self.ask("POST", path, content)
        assert answer.status == 201, answer
        return digest

    def push_manifest(self, repository: str, reference: str, document: bytes) -> Answer:
        """Put a manifest."""
        path = f"/v2/{repository}/manifests/{reference}"
        return self.ask("PUT", path, document, {"Content-Type": MANIFEST})

    def content(self, repository: str, digest: str) -> bytes:
        """A blob's bytes from the registry itself."""
        answer = self.ask("GET", f"/v2/{repository}/blobs/{digest}")
        assert answer.status == 200, answer
        return answer.body


def manifest(config: str, size: int, number: int) -> bytes:
    """A small manifest that differs by its number."""
    blob = {"mediaType": "application/vnd.test.config", "digest": config, "size": size}
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob,
        "layers": [],
        "annotations": {"number": str(number)},
    }
    return json.dumps(document).encode()


class Replicas:
    """Some processes over the same database and bucket."""

    def __init__(
        self,
        folder: Path,
        server: PostgresServer,
        bucket: Bucket,
        *,
        count: int = 2,
        redis: str = "",
        empty: bool = False,
        password: bool = True,
        role: str | None = "registry",
        more: Mapping[str, object] | None = None,
    ) -> None:
        """`empty`: the database has no schema yet; not `password`: the first start makes one.

        `more` settings, by path.
        """
        self._server = server
        self._database = f"t{uuid.uuid4().hex}" if empty else server.fresh()
        if empty:
            server.sql(f"CREATE DATABASE {self._database}")
        settings: dict[str, object] = {
            "database.url": server.url(self._database),
            "auth.secret_key": "one secret key for every replica",
            "storage.driver": "s3",
            "storage.s3": bucket.section(),
            # What the tests look at is the replicas' own answer, not the bucket's.
            "storage.redirect.disable": True,
            **({"redis.url": redis} if redis else {}),
            **(more or {}),
        }
        self.database_url = server.url(self._database)
        kind = Registry if password else _Unset
        self.registries = [
            kind(folder / f"replica-{n}", settings=settings, role=role, password=PASSWORD)
            for n in range(count)
        ]
        self.calls = [Calls(registry) for registry in self.registries]

    def start(self) -> Self:
        """Start what does not run, all at the same moment, and wait until all are ready."""
        down = [each for each in self.registries if each.ready() != 200]
        for each in down:
            each.launch()
        for each in down:
            each.wait()
        return self

    def kill(self) -> None:
        """End all of them."""
        for each in self.registries:
            each.kill()

    def rows(self, query: str) -> list[str]:
        """The rows that a statement finds, columns separated by `|`."""
        done = subprocess.run(
            [
                *(str(self._server.binaries / "psql"), "-qAt", "-v", "ON_ERROR_STOP=1"),
                *(self._server.url(self._database), "-c", query),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.split("\n")[:-1]


class _Unset(Registry):
    """A server whose environment holds no password."""

    def environment(self) -> dict[str, str]:
        found = super().environment()
        del found["MOORAGE_AUTH__ADMIN_PASSWORD"]
        return found
