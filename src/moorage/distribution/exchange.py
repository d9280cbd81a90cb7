"""One request and its answer, in plain ASGI.

headers, query, body ─► handler ─► answer | stream
                                      │
            refused before its body was read: answer at once, then drain, then close
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from moorage.distribution.bodies import Body
from moorage.distribution.options import Options
from moorage.distribution.problems import Problem, body_of
from moorage.distribution.turns import Turns
from moorage.errors import Invalid

Headers = list[tuple[bytes, bytes]]

VERSION = (b"docker-distribution-api-version", b"registry/2.0")
JSON = (b"content-type", b"application/json; charset=utf-8")
EMPTY = (b"content-length", b"0")
_BODILESS = (204, 304)
_MAX_QUERY = 8192
_MAX_FIELDS = 256
_LARGE = 8 << 20
"""Bytes from which on it pays to notice that a client stopped reading."""


class Truncated(Exception):
    """The content ended early: the connection must break, so that the client notices."""


class Exchange:
    """Reads one request and sends its answer once."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, options: Options, turns: Turns
    ) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.started = False
        self._receive = receive
        self._send = send
        self._options = options
        self._turns = turns
        # The first of several equal headers counts, as proxies have it.
        self._headers: dict[bytes, bytes] = dict(reversed(list(scope["headers"])))
        self.body = self._body()
        self._query: dict[str, list[str]] | None = None

    def header(self, name: bytes) -> bytes | None:
        """A request header by its lower-case name."""
        return self._headers.get(name)

    def text(self, name: bytes) -> str:
        """The same as text, empty when absent."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def raw_path(self) -> bytes:
        """The path as it came over the wire."""
        raw: bytes | None = self.scope.get("raw_path")
        return raw if raw else self.scope["path"].encode("utf-8", "surrogateescape")

    @property
    def address(self) -> str:
        """The client's address, for counting its attempts to log in."""
        client = self.scope.get("client")
        return client[0] if client else ""

    def parameters(self, name: str) -> list[str]:
        """All values of a query parameter; raises Invalid for a hostile query string."""
        if self._query is None:
            self._query = self._parse_query(self.scope.get("query_string", b""))
        return self._query.get(name, [])

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, None when absent."""
        values = self.parameters(name)
        return values[0] if values else None

    async def answer(
        self, status: int, headers: Sequence[tuple[bytes, bytes]] = (), body: bytes = b""
    ) -> None:
        """Send a whole response; `content-length` may be given for a HEAD."""
        fields = [VERSION, *headers]
        if status not in _BODILESS and not any(name == b"content-length" for name, _ in headers):
            fields.append((b"content-length", b"%d" % len(body)))
        if self._options.notice and status < 400:
            fields.append(warning(self._options.notice))
        if self.method == "HEAD":
            body = b""
        if self.body.pending:
            await self._refuse(status, fields, body)
            return
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        await self._send({"type": "http.response.body", "body": body})

    async def problem(
        self,
        problem: Problem,
        message: str,
        detail: Any = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Send an error in the form of the OCI specification."""
        fields = [JSON, *headers]
        if problem.retry_after is not None:
            fields.append((b"retry-after", b"%d" % problem.retry_after))
        await self.answer(problem.status, fields, body_of(problem.code, message, detail))

    async def stream(
        self,
        status: int,
        headers: Sequence[tuple[bytes, bytes]],
        content: AsyncIterator[bytes],
        length: int,
    ) -> None:
        """Send `length` bytes of content; raises Truncated rather than send fewer or more."""
        fields = [VERSION, *headers, (b"content-length", b"%d" % length)]
        if self._options.notice:
            fields.append(warning(self._options.notice))
        # The first piece is read before anything is sent: a missing object is still a clean error.
        first = await anext(content, b"") if length else b""
        if length and not first:
            raise Truncated("the store has no bytes for this blob")
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        watcher = Watcher(self._receive) if length > _LARGE else None
        try:
            with self._turns.sending():
                sent = await self._send_pieces(first, content, length, watcher)
        finally:
            if watcher is not None:
                watcher.stop()
            await close(content)
        if sent < length and not (watcher is not None and watcher.gone):
            raise Truncated(f"{length} bytes were promised, the store had {sent}")

    async def _send_pieces(
        self, first: bytes, content: AsyncIterator[bytes], length: int, watcher: "Watcher | None"
    ) -> int:
        left = length - len(first)
        if left < 0:
            raise Truncated("the store has more bytes than the blob")
        await self._send({"type": "http.response.body", "body": first, "more_body": left > 0})
        while left:
            await self._turns.take()
            if watcher is not None and watcher.gone:
                break
            piece = await anext(content, b"")
            if not piece:
                break
            left -= len(piece)
            if left < 0:
                raise Truncated("the store has more bytes than the blob")
            await self._send({"type": "http.response.body", "body": piece, "more_body": left > 0})
        return length - left

    async def send_file(self, status: int, headers: Headers, path: str, length: int) -> None:
        """Let the server send a file by itself (ASGI extension `http.response.pathsend`)."""
        fields = [VERSION, *headers, (b"content-length", b"%d" % length)]
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        await self._send({"type": "http.response.pathsend", "path": path})

    def offers(self, extension: str) -> bool:
        """Whether the server knows an ASGI extension."""
        return extension in (self.scope.get("extensions") or {})

    async def _refuse(self, status: int, fields: Headers, body: bytes) -> None:
        """Answer although the body is still coming, then read it within bounds.

        Closing with unread bytes would reset the connection, and a proxy between would say 502
        instead of passing on what we said. A client that waits for `100 Continue` sends nothing.
        """
        silent = self.body.stalled or self.text(b"expect").lower() == "100-continue"
        length = self.body.length
        if silent or length is None or length > self._options.drain_bytes:
            fields.append((b"connection", b"close"))
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        if silent:
            await self._send({"type": "http.response.body", "body": body})
            return
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        await self.body.drain()
        await self._send({"type": "http.response.body", "body": b""})

    def _body(self) -> Body:
        announced = self._headers.get(b"content-length", b"")
        length = int(announced) if announced.isdigit() else None
        chunked = b"transfer-encoding" in self._headers or (
            length is None
            and self.scope.get("http_version", "1.1").startswith(("2", "3"))
            and self.method in ("POST", "PUT", "PATCH")
        )
        return Body(self._receive, None if chunked else length, chunked, self._options)

    @staticmethod
    def _parse_query(query: bytes) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        if not query:
            return found
        if len(query) > _MAX_QUERY:
            raise Invalid("the query string is too long")
        try:
            pairs = parse_qsl(
                query.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS
            )
        except ValueError:
            raise Invalid("the query string is not valid") from None
        for name, value in pairs:
            if "\x00" in value:
                raise Invalid(f"the parameter {name} holds a NUL")
            found.setdefault(name, []).append(value)
        return found


class Watcher:
    """Notices while we send that the client has gone."""

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._task = asyncio.ensure_future(self._watch(receive))

    async def _watch(self, receive: Receive) -> None:
        # What comes first is the request's own, empty, body.
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone = True

    def stop(self) -> None:
        """Stop listening."""
        self._task.cancel()


async def close(content: AsyncIterator[bytes]) -> None:
    """Release what a half-read stream holds."""
    closer = getattr(content, "aclose", None)
    if closer is not None:
        await closer()


def warning(text: str) -> tuple[bytes, bytes]:
    """A `Warning` header (OCI distribution-spec, "Warnings")."""
    safe = "".join(c for c in text if c.isprintable() and c not in '"\\')[:200]
    return (b"warning", f'299 - "{safe}"'.encode("ascii", "replace"))
