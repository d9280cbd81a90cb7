"""The two ways to the API: a question goes there, an answer comes back.

core in this process   ─► InProcess     the API's own ASGI application, called straight
core somewhere else    ─► OverHttp      an HTTP client of `portal.core_url`
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Protocol
from urllib.parse import unquote

import httpx2
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Scope

log = logging.getLogger(__name__)

TIMEOUT = 30.0
"""Seconds that an API somewhere else may take for an answer."""
HOST = "core"
"""What the API of this process is called."""


class Unreachable(Exception):
    """The API does not answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request; path and query are escaped, headers are ASCII."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    status: int
    headers: Headers
    content: bytes

    @property
    def text(self) -> str:
        """Of a document."""
        return self.content.decode("utf-8", "replace")


class Core(Protocol):
    """Where the API is."""

    async def ask(self, question: Question) -> Answer:
        """Its answer, whatever that says; raises Unreachable."""


class InProcess:
    """Calls an application of this process; the visitor's address comes in a header of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def ask(self, question: Question) -> Answer:
        """Like a server would have it; raises nothing."""
        call = _Call(question.content)
        try:
            await self._app(_scope(question), call.receive, call.send)
        except Exception:
            log.exception("%s %s failed", question.method, question.path)
        if not call.whole:
            return Answer(500, Headers(), b"")
        return Answer(call.status, Headers(raw=call.headers), b"".join(call.body))


class _Call:
    """One request to an application, and its whole answer."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self._ended = asyncio.Event()

    @property
    def whole(self) -> bool:
        """Whether the answer is all there; a piece of one would look like a shorter one."""
        return self._ended.is_set()

    async def receive(self) -> Message:
        """The body at once; then nothing, until there is an answer."""
        if self._content is None:
            await self._ended.wait()
            return {"type": "http.disconnect"}
        content, self._content = self._content, None
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(self, message: Message) -> None:
        """A part of the answer."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self.body.append(message.get("body", b""))
            if not message.get("more_body", False):
                self._ended.set()


def _scope(question: Question) -> Scope:
    headers = [(b"host", HOST.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in question.headers]
    if question.content or question.method != "GET":
        headers.append((b"content-length", b"%d" % len(question.content)))
    address = next((value for name, value in question.headers if name == "X-Forwarded-For"), "")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": question.method,
        "headers": headers,
        "scheme": "http",
        "path": unquote(question.path),
        "raw_path": question.path.encode(),
        "query_string": question.query.encode(),
        "server": (HOST, None),
        "client": (address, 0),
        "root_path": "",
    }


class OverHttp:
    """Asks over a transport of httpx2."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, url: str) -> None:
        self._client = httpx2.AsyncClient(
            transport=transport,
            base_url=url,
            timeout=TIMEOUT,
            trust_env=False,
            follow_redirects=False,
            # The client is everybody's: a cookie that it kept would sign one visitor in as another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def __aenter__(self) -> "OverHttp":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def ask(self, question: Question) -> Answer:
        """Its answer; raises Unreachable. What no client would send, no server takes either."""
        url = f"{question.path}?{question.query}" if question.query else question.path
        headers = list(question.headers)
        try:
            answer = await self._client.request(
                question.method, url, content=question.content, headers=headers
            )
        except httpx2.InvalidURL:
            return Answer(414, Headers(), b"")
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise Unreachable from error
        found = [(name.lower(), value) for name, value in answer.headers.raw]
        return Answer(answer.status_code, Headers(raw=found), answer.content)
