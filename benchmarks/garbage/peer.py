"""The same images in Debian's docker-registry and in Moorage, both on one S3 server; then collect.

Both are pushed to over HTTP, nine of ten manifests are deleted over HTTP, and both collect what is
left over: the peer offline, as it has to, Moorage while it serves. What counts is the time from
the order to the end of it, with every object deleted.
"""

import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from tests.support.content import descriptor, image, sha256
from tests.support.databases import running_postgres
from tests.support.images import MANIFEST
from tests.support.peers import DockerRegistry
from tests.support.replicas import Calls
from tests.support.requirements import path_of
from tests.support.serving import Registry
from tests.support.stores import SeaweedServer

REPOSITORIES = 10
LAYERS = 10  # of an image, beside its config
BYTES = 4096  # of a layer
AT_ONCE = 8
WORKERS = 4
GC = "/api/v2.0/system/gc"


@dataclass(frozen=True)
class Image:
    """One to push."""

    repository: str
    blobs: Sequence[bytes]
    payload: bytes


@dataclass(frozen=True)
class Collection:
    """What one registry did."""

    blobs: int
    seconds: float

    @property
    def rate(self) -> float:
        """Blobs a second."""
        return self.blobs / self.seconds


def images(count: int) -> list[Image]:
    """Images that share no blob; the same for everybody."""
    rng = random.Random(4711)
    found = []
    for number in range(count):
        config = json.dumps({"number": number}).encode()
        layers = [rng.randbytes(BYTES) for _ in range(LAYERS)]
        repository = f"library/r{number % REPOSITORIES}"
        found.append(Image(repository, [config, *layers], image(config, layers)))
    return found


class _Wire:
    """Requests on one connection."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._wire = HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = headers

    def ask(self, status: int, method: str, path: str, body: bytes = b"", kind: str = "") -> str:
        """The location that a request of this status is answered with."""
        headers = {**self._headers, "Content-Type": kind or "application/octet-stream"}
        self._wire.request(method, path, body, headers)
        answer = self._wire.getresponse()
        said = answer.read()
        assert answer.status == status, (method, path, answer.status, said[:300])
        return (answer.getheader("location") or "").partition(f":{self._wire.port}")[2] or (
            answer.getheader("location") or ""
        )

    def push(self, found: Image) -> None:
        root = f"/v2/{found.repository}"
        for blob in found.blobs:
            where = self.ask(202, "POST", f"{root}/blobs/uploads/")
            mark = "&" if "?" in where else "?"
            self.ask(201, "PUT", f"{where}{mark}digest={sha256(blob)}", blob)
        digest = sha256(found.payload)
        self.ask(201, "PUT", f"{root}/manifests/{digest}", found.payload, MANIFEST)


def fill(port: int, every: Sequence[Image], headers: Mapping[str, str]) -> None:
    """Push all, and delete nine of ten."""

    def some(start: int) -> None:
        wire = _Wire(port, headers)
        for number, found in list(enumerate(every))[start::AT_ONCE]:
            wire.push(found)
            if number % 10:
                path = f"/v2/{found.repository}/manifests/{sha256(found.payload)}"
                wire.ask(202, "DELETE", path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(some, range(AT_ONCE)))


def _theirs(peer: DockerRegistry) -> Collection:
    began = time.monotonic()
    gone = peer.collect()
    return Collection(gone, time.monotonic() - began)


def _ours(calls: Calls) -> Collection:
    body = {
        "schedule": {"type": "Manual"},
        "parameters": {"workers": WORKERS},
    }
    json_type = {"Content-Type": "application/json"}
    began = time.monotonic()
    made = calls.ask("POST", f"{GC}/schedule", json.dumps(body).encode(), json_type)
    assert made.status == 201, made
    where = made.headers["location"]
    while True:
        found = calls.json(where)
        if found["job_status"] in ("Success", "Error", "Stopped"):
            break
        time.sleep(0.05)
    lasted = time.monotonic() - began
    assert found["job_status"] == "Success", found
    done = json.loads(str(found["job_parameters"]))
    assert done["deleted_objects"] == done["purged_blobs"], done
    return Collection(done["purged_blobs"], lasted)


def compare(folder: Path, count: int) -> tuple[Collection, Collection]:
    """Theirs and ours, of so many images."""
    every = images(count)
    with ExitStack() as stack:
        (folder / "seaweed").mkdir()
        store = SeaweedServer(folder / "seaweed", path_of("weed"))
        stack.callback(store.kill)
        store.start()
        peer = DockerRegistry(folder / "peer", store.bucket())
        stack.callback(peer.stop)
        peer.start()
        fill(peer.port, every, {})
        database = stack.enter_context(running_postgres(durable=True))
        database.sql("CREATE DATABASE moorage")
        settings = {
            "database.url": database.url("moorage"),
            "storage.driver": "s3",
            "storage.s3": store.bucket().section(),
            "gc.enabled": False,  # only when told to
            "gc.lease_seconds": 0,
            "gc.drain_seconds": 0,
            "gc.trash_seconds": 0,
        }
        ours = Registry(folder / "moorage", settings=settings)
        stack.enter_context(ours.running())
        calls = Calls(ours)
        project = json.dumps({"project_name": "library"}).encode()
        made = calls.ask(
            "POST", "/api/v2.0/projects", project, {"Content-Type": "application/json"}
        )
        assert made.status in (201, 409), made
        fill(ours.port, every, {"Authorization": calls.authorization})
        peer.stop()  # nobody may push while it collects
        theirs, own = _theirs(peer), _ours(calls)
        peer.start()
        for found in every[::10]:
            _whole(Calls(ours), found)
        kept = f"/v2/{every[0].repository}/manifests/{sha256(every[0].payload)}"
        _Wire(peer.port, {"Accept": MANIFEST}).ask(200, "GET", kept)
    expected = sum(len(each.blobs) for number, each in enumerate(every) if number % 10)
    assert own.blobs == expected, (own, expected)
    return theirs, own


def _whole(calls: Calls, found: Image) -> None:
    for blob in found.blobs:
        path = f"/v2/{found.repository}/blobs/{sha256(blob)}"
        assert calls.ask("HEAD", path).status in (200, 307), descriptor(blob)


if __name__ == "__main__":
    import sys
    import tempfile

    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as place:
        for each in compare(Path(place), int(sys.argv[1])):
            print(each, f"{each.rate:,.0f} blobs a second")
