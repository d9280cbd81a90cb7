"""A client that costs next to nothing, so that the figures are the server's.

Blocking sockets, one connection each; request heads are made before the clock starts. Bodies are
sent by sendfile and received with MSG_TRUNC: the kernel counts the bytes and drops them.
"""

import json
import select
import socket
import time
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

_DISCARD = bytearray(4 << 20)


class WireError(Exception):
    """An answer other than the expected one."""


class Wire:
    """One connection to `host:port` with the same headers on every request."""

    def __init__(self, host: str, headers: str = "") -> None:
        self._host = host
        self._open()
        self._fixed = f"Host: {host}\r\n{headers}\r\n"
        self._rest = b""

    def _open(self) -> None:
        name, _, port = self._host.partition(":")
        self.socket = socket.create_connection((name, int(port)), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def head(self, method: str, path: str, headers: str = "") -> bytes:
        """The bytes of a request's head; `headers` are lines that end in CRLF."""
        return f"{method} {path} HTTP/1.1\r\n{headers}{self._fixed}".encode()

    def ask(self, head: bytes, body: bytes = b"") -> tuple[int, str]:
        """Send a request, drop the body of its answer; the status and Location."""
        self.socket.sendall(head + body)
        return self._answer(head.startswith(b"HEAD"))

    def send_file(self, head: bytes, file: Path) -> tuple[int, str]:
        """The same with the body from a file."""
        self.socket.sendall(head)
        with file.open("rb") as source:
            self.socket.sendfile(source)
        return self._answer(False)

    def fileno(self) -> int:
        """The number of the connection's file."""
        return self.socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def _answer(self, bodyless: bool) -> tuple[int, str]:
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            more = self.socket.recv(65536)
            if not more:
                raise WireError("closed within an answer")
            data += more
        head, data = data[:end].decode("latin-1"), data[end + 4 :]
        first, *lines = head.split("\r\n")
        fields = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
        status = int(first.split()[1])
        length = int(fields.get("content-length", 0))
        if bodyless or status in (204, 304):
            length = 0
        elif "transfer-encoding" in fields:
            raise WireError(f"chunked answer: {head}")
        self._rest = data[length:]
        length -= len(data) - len(self._rest)
        while length:
            count = self.socket.recv_into(_DISCARD, min(length, len(_DISCARD)), socket.MSG_TRUNC)
            if not count:
                raise WireError("closed within a body")
            length -= count
        if fields.get("connection") == "close":  # nginx does after a thousand requests
            self.close()
            self._open()
        return status, fields.get("location", "")


def expect(answer: tuple[int, str], *statuses: int) -> str:
    """The Location of an answer with one of these statuses; raises WireError for others."""
    if answer[0] not in statuses:
        raise WireError(f"answer {answer[0]} instead of {statuses}")
    return answer[1]


def target(location: str) -> str:
    """The path and query of a Location, relative or absolute, ready for more parameters."""
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}&" if parts.query else f"{parts.path}?"


def push(
    wire: Wire, repository: str, digest: str, body: bytes | Path, steps: Sequence[str]
) -> None:
    """Push one blob in the requests that `steps` names: POST, PUT or POST, PATCH, PUT."""
    size = len(body) if isinstance(body, bytes) else body.stat().st_size
    carried = f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n"

    def carry(head: bytes) -> tuple[int, str]:
        return wire.ask(head, body) if isinstance(body, bytes) else wire.send_file(head, body)

    start = wire.head("POST", f"/v2/{repository}/blobs/uploads/", "Content-Length: 0\r\n")
    location = expect(wire.ask(start), 202)
    if "PATCH" in steps:
        location = expect(carry(wire.head("PATCH", target(location).rstrip("?&"), carried)), 202)
        close = wire.head("PUT", f"{target(location)}digest={digest}", "Content-Length: 0\r\n")
        expect(wire.ask(close), 201)
    else:
        expect(carry(wire.head("PUT", f"{target(location)}digest={digest}", carried)), 201)


def heads(host: str, headers: str, path: str, connections: int, seconds: float) -> int:
    """HEAD requests for a while, one at a time on each connection; how many were answered.

    wrk cannot: it waits for the body that Content-Length announces.
    """
    wires = [Wire(host, headers) for _ in range(connections)]
    head = wires[0].head("HEAD", path, "Accept: application/vnd.oci.image.manifest.v1+json\r\n")
    count = 0
    with select.epoll() as ready:
        sockets = {wire.fileno(): wire.socket for wire in wires}
        for number, each in sockets.items():
            ready.register(number, select.EPOLLIN)
            each.sendall(head)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for number, _ in ready.poll(1):
                answer = sockets[number].recv(65536)
                if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"\r\n\r\n"):
                    raise WireError(f"unexpected answer: {answer!r}")
                count += 1
                sockets[number].sendall(head)
    for wire in wires:
        wire.close()
    return count


def bearer(url: str, username: str, password: str, repository: str) -> str:
    """The header line with a token for pulling from and pushing to a repository."""
    query = f"service=harbor-registry&scope=repository:{repository}:pull,push"
    basic = b64encode(f"{username}:{password}".encode()).decode()
    request = Request(f"{url}/service/token?{query}", headers={"Authorization": f"Basic {basic}"})
    with urlopen(request, timeout=30) as answer:
        return f"Authorization: Bearer {json.load(answer)['token']}\r\n"
