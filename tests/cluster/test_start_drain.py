"""The end of a process: asked to, insisted on, and without any notice."""

import hashlib
import json
import signal
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path

import pytest
from tests.support.images import MANIFEST
from tests.support.serving import Registry

PIECE = bytes(range(256)) * 256
REPOSITORY = "/v2/library/drained"


class Pushing:
    """A blob on its way, as slow as a test wants."""

    def __init__(self, registry: Registry, pieces: int, stack: ExitStack) -> None:
        basic = b64encode(f"{registry.username}:{registry.password}".encode()).decode()
        self._registry = registry
        self._headers = {"Authorization": f"Basic {basic}"}
        self._wire = stack.enter_context(closing(self._connection()))
        self.whole = PIECE * pieces
        self.digest = "sha256:" + hashlib.sha256(self.whole).hexdigest()
        self.sent = 0

    def _connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._registry.port, timeout=30)

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "x/y"
    ) -> tuple[HTTPResponse, bytes]:
        """One request on a connection of its own, and its answer's body."""
        with closing(self._connection()) as wire:
            wire.request(method, path, body, {**self._headers, "Content-Type": kind})
            answer = wire.getresponse()
            return answer, answer.read()

    def begin(self) -> str:
        """Open a session and send the head of a request that brings all of it.

        Returns its path when the server has asked for the body.
        """
        where = self.ask("POST", f"{REPOSITORY}/blobs/uploads/")[0].getheader("Location")
        assert where is not None
        self._wire.putrequest("PATCH", where)
        for name, value in self._headers.items():
            self._wire.putheader(name, value)
        self._wire.putheader("Content-Length", str(len(self.whole)))
        self._wire.putheader("Expect", "100-continue")
        self._wire.endheaders()
        told = b""
        while not told.endswith(b"\r\n\r\n"):
            told += self._wire.sock.recv(1)
        assert told.startswith(b"HTTP/1.1 100 ")
        return where

    def send(self, pieces: int) -> None:
        """Send some more."""
        part = self.whole[self.sent : self.sent + pieces * len(PIECE)]
        self._wire.send(part)
        self.sent += len(part)

    def answer(self) -> HTTPResponse:
        """The answer to what was sent."""
        answer = self._wire.getresponse()
        answer.read()
        return answer

    def go_on(self, where: str) -> int:
        """Ask what was kept, send the rest and close the session; the status."""
        kept, _ = self.ask("GET", where)
        assert kept.status == 204
        last = int((kept.getheader("Range") or "").removeprefix("0-"))
        rest = self.whole[last + 1 if last else 0 :]
        return self.ask("PUT", f"{where}?digest={self.digest}", rest)[0].status

    def stored(self) -> bool:
        """Whether the whole blob can be pulled."""
        answer, body = self.ask("GET", f"{REPOSITORY}/blobs/{self.digest}")
        return answer.status == 200 and body == self.whole


Push = Callable[[Registry, int], Pushing]


@pytest.fixture
def push() -> Iterator[Push]:
    """Makes pushes; their connections are closed at the end."""
    with ExitStack() as stack:
        yield lambda registry, pieces: Pushing(registry, pieces, stack)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A running server whose grace time is longer than any test."""
    registry = Registry(tmp_path / "a", settings={"http.grace_seconds": 60}).start()
    yield registry
    registry.kill()


def refuses(registry: Registry) -> bool:
    """Whether nobody listens any more, soon."""
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", registry.port), timeout=1).close()
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_an_upload_ends_before_the_process_does(registry: Registry, push: Push) -> None:
    """After SIGTERM nobody new is let in, and what runs is finished and stays."""
    upload = push(registry, 64)
    where = upload.begin()
    upload.send(32)
    registry.signal(signal.SIGTERM)
    assert refuses(registry)
    upload.send(32)
    answer = upload.answer()
    assert answer.status == 202
    assert answer.getheader("Range") == f"0-{len(upload.whole) - 1}"
    assert registry.ended() == 0
    assert "Traceback" not in registry.log()
    registry.start()
    assert upload.go_on(where) == 201
    assert upload.stored()


def test_idle_connections_hold_nothing_up(registry: Registry) -> None:
    """A client that keeps its connection open without a request is not waited for."""
    with (
        closing(HTTPConnection("127.0.0.1", registry.port, timeout=10)) as idle,
        socket.create_connection(("127.0.0.1", registry.port)),
    ):
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        assert registry.stop(45) == 0  # of 60 seconds of grace


def test_the_grace_time_ends(tmp_path: Path, push: Push) -> None:
    """An upload that does not come to its end is cut off; its session can go on afterwards."""
    registry = Registry(tmp_path / "a", settings={"http.grace_seconds": 1})
    with registry.running():
        upload = push(registry, 64)
        where = upload.begin()
        upload.send(32)
        began = time.monotonic()
        assert registry.stop(60) == 0  # its client would hold it up for ever
        assert time.monotonic() - began > 0.9
        with suppress(HTTPException, OSError):
            assert upload.answer().status >= 400
        registry.start()
        assert upload.go_on(where) == 201
        assert upload.stored()


def test_a_second_signal_ends_it_at_once(registry: Registry, push: Push) -> None:
    """Whoever presses Ctrl-C twice does not want to wait."""
    upload = push(registry, 64)
    upload.begin()
    upload.send(1)
    registry.signal(signal.SIGINT)
    assert refuses(registry)
    registry.signal(signal.SIGINT)
    registry.ended(45)  # of 60 seconds of grace


def test_a_process_that_is_killed(registry: Registry, push: Push) -> None:
    """What was acknowledged is there after the next start, and the folder is free again."""
    done = push(registry, 8)
    where = done.begin()
    done.send(8)
    assert done.answer().status == 202
    assert done.go_on(where) == 201
    half = push(registry, 64)
    where = half.begin()
    half.send(16)
    time.sleep(0.2)
    registry.kill()
    registry.start()
    assert done.stored()
    assert half.go_on(where) == 201
    assert half.stored()


def test_pulls_are_counted_before_the_end(registry: Registry, push: Push) -> None:
    """Statistics that are still in memory are written when the process ends in peace."""
    upload = push(registry, 1)
    where = upload.begin()
    upload.send(1)
    assert upload.answer().status == 202
    assert upload.go_on(where) == 201
    blob = {"mediaType": "x/y", "digest": upload.digest, "size": len(upload.whole)}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob, "layers": [blob]}
    body = json.dumps(manifest).encode()
    assert upload.ask("PUT", f"{REPOSITORY}/manifests/v1", body, MANIFEST)[0].status == 201
    for _ in range(3):
        assert upload.ask("GET", f"{REPOSITORY}/manifests/v1")[0].status == 200
    assert registry.stop() == 0
    registry.start()
    _, body = upload.ask("GET", "/api/v2.0/projects/library/repositories/drained")
    assert json.loads(body)["pull_count"] == 3
