"""A proxy in front of an object store that breaks what it is told to break.

proxy.rule("GET", "/blobs/", Truncate(100_000), times=1)

Status(503)     the answer is this status; the store never sees the request
Swallow()       the store does it, and the connection ends without an answer
Truncate(n)     the answer's body ends after n bytes although more were announced
Hang(seconds)   no answer for a while, then the connection ends
Length(n)       the answer to HEAD names another length
Reply(bytes)    the store does it, and the body of the answer is another one
"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}


@dataclass(frozen=True)
class Status:
    """An answer of the proxy's own."""

    code: int


@dataclass(frozen=True)
class Swallow:
    """A lost answer."""


@dataclass(frozen=True)
class Truncate:
    """An answer that ends early, after this many bytes."""

    length: int


@dataclass(frozen=True)
class Hang:
    """No answer for these seconds."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """Another body under the store's status."""

    body: bytes


@dataclass(frozen=True)
class Length:
    """Another length in the answer to HEAD."""

    length: int


Fault = Length | Status | Swallow | Truncate | Hang | Reply


@dataclass
class _Rule:
    method: str
    fragment: str
    fault: Fault
    times: int


class StoreProxy:
    """Listens on the loopback interface until `close`; `url` stands for the store's own."""

    def __init__(self, upstream: str, *, anonymous: bool = False) -> None:
        """anonymous: take the caller's credentials out of each request."""
        self.seen: list[tuple[str, str]] = []
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        parts = urlsplit(upstream)
        assert parts.hostname is not None
        assert parts.port is not None
        upstream_host, upstream_port = parts.hostname, parts.port

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(inner) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    inner.close_connection = True

            def forward(inner) -> None:
                body = inner.rfile.read(int(inner.headers.get("Content-Length") or 0))
                fault = self._match(inner.command, unquote(inner.path))
                if isinstance(fault, Status):
                    inner.send_response(fault.code)
                    inner.send_header("Content-Length", "0")
                    inner.end_headers()
                    return
                if isinstance(fault, Hang):
                    time.sleep(fault.seconds)
                    inner.drop()
                    return
                with closing(HTTPConnection(upstream_host, upstream_port, timeout=60)) as there:
                    there.putrequest(
                        inner.command, inner.path, skip_host=True, skip_accept_encoding=True
                    )
                    for name, value in inner.headers.items():
                        if name.lower() == "connection" or (
                            anonymous and name.lower() == "authorization"
                        ):
                            continue
                        there.putheader(name, value)
                    there.endheaders(body)
                    answer = there.getresponse()
                    content = answer.read()
                if isinstance(fault, Swallow):
                    inner.drop()
                    return
                if isinstance(fault, Reply):
                    content = fault.body
                inner.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP:
                        inner.send_header(name, value)
                length = len(content)
                if inner.command == "HEAD":
                    length = int(answer.getheader("Content-Length") or 0)
                if isinstance(fault, Length):
                    length = fault.length
                inner.send_header("Content-Length", str(length))
                inner.end_headers()
                if isinstance(fault, Truncate):
                    inner.wfile.write(content[: fault.length])
                    inner.drop()
                    return
                inner.wfile.write(content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

            def drop(inner) -> None:
                inner.wfile.flush()
                inner.close_connection = True
                inner.connection.shutdown(socket.SHUT_RDWR)

            def log_message(inner, *arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def rule(self, method: str, fragment: str, fault: Fault, *, times: int = 1) -> None:
        """Break the next requests of a method whose path and query hold `fragment`."""
        self._rules.append(_Rule(method, fragment, fault, times))

    def count(self, matches: Callable[[str, str], bool]) -> int:
        """How many requests there were of which `matches(method, path)` is true."""
        return sum(matches(*each) for each in list(self.seen))

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _match(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.seen.append((method, path))
            for rule in self._rules:
                if rule.times and rule.method == method and rule.fragment in path:
                    rule.times -= 1
                    return rule.fault
        return None
