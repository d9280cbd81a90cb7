"""A stream of four gibibytes, in and out, does not fill the memory."""

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.support.requirements import require
from tests.support.serving import Registry

pytestmark = pytest.mark.slow

MIB = 1 << 20
SIZE = 4 << 30
ROOM = 64  # MiB that the process may grow
PIECE = bytes(range(256)) * (MIB // 256)


def peak(registry: Registry) -> float:
    """The most memory that the process ever had, in MiB."""
    status = Path(f"/proc/{registry.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def pieces() -> Iterator[bytes]:
    for _ in range(SIZE // MIB):
        yield PIECE


def test_a_push_and_a_pull_of_four_gibibytes(tmp_path: Path) -> None:
    """Measured against the same process after a small push and pull."""
    require()
    registry = Registry(tmp_path / "registry")
    digest = hashlib.sha256()
    for piece in pieces():
        digest.update(piece)
    pair = b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    auth = {"Authorization": f"Basic {pair}"}

    def push(body: Iterator[bytes] | bytes, name: str) -> None:
        path = f"/v2/library/large/blobs/uploads/?digest={name}"
        with closing(HTTPConnection("127.0.0.1", registry.port, timeout=600)) as wire:
            wire.request("POST", path, body, auth, encode_chunked=not isinstance(body, bytes))
            answer = wire.getresponse()
            assert answer.status == 201, answer.read()

    def pull(name: str) -> int:
        with closing(HTTPConnection("127.0.0.1", registry.port, timeout=600)) as wire:
            wire.request("GET", f"/v2/library/large/blobs/{name}", headers=auth)
            answer = wire.getresponse()
            assert answer.status == 200
            return sum(len(data) for data in iter(lambda: answer.read(MIB), b""))

    with registry.running():
        small = "sha256:" + hashlib.sha256(PIECE).hexdigest()
        push(PIECE, small)
        assert pull(small) == MIB
        before = peak(registry)
        large = f"sha256:{digest.hexdigest()}"
        auth["Transfer-Encoding"] = "chunked"
        push(pieces(), large)
        del auth["Transfer-Encoding"]
        assert peak(registry) - before < ROOM
        assert pull(large) == SIZE
        assert peak(registry) - before < ROOM
