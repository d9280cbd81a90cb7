"""The portal's only way to anything: the REST API, typed by the shapes of `shapes`.

    core in this process   ─► InProcess     the API's own ASGI application
    core somewhere else    ─► an HTTP transport to `portal.core_url`

A call carries the visitor's cookies and address along, so the API sees who asks and from where.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx2
import orjson
from pydantic import TypeAdapter
from starlette.types import ASGIApp, Message, Scope

from moorage.portal.shapes import Shape
from moorage.telemetry.logs import REQUEST_ID, TRACEPARENT

log = logging.getLogger(__name__)
T = TypeVar("T", bound=Shape)

PREFIX = "/api/v2.0"
CSRF_HEADER = "X-Harbor-CSRF-Token"
_NESTED = (dict, list)
TIMEOUT = 30.0
"""Seconds that the API may take for an answer."""


class Problem(Exception):
    """The API said no: its status, its code and its message for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Visitor:
    """On whose behalf the API is asked."""

    cookies: str = ""
    address: str = ""
    scheme: str = "http"
    csrf: str = ""
    quiet: bool = False
    """Whether the call is the page's own and shall not keep a session alive."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of a list, and how many items all pages have."""

    items: Sequence[T]
    total: int


class InProcess(httpx2.AsyncBaseTransport):
    """Calls an application of this process; the visitor's address comes in a header of its own.

    The client's own transport looks for another event loop with each request, by an import.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer like a server would."""
        call = _Call(await request.aread())
        try:
            await self._app(_scope(request), call.receive, call.send)
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
        if not call.whole:
            return httpx2.Response(500)
        return httpx2.Response(call.status, headers=call.headers, content=b"".join(call.body))


class _Call:
    """One request to an application, and its whole answer."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content
        self.status = 0
        self.headers: Sequence[tuple[bytes, bytes]] = ()
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


def _scope(request: httpx2.Request) -> Scope:
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "server": (url.host, url.port),
        "client": (request.headers.get("X-Forwarded-For", ""), 0),
        "root_path": "",
    }


class PortalApi:
    """Asks the API; one for the process, with one `Visitor` a call."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, base_url: str = "http://core") -> None:
        self._client = httpx2.AsyncClient(
            transport=transport,
            base_url=base_url,
            timeout=TIMEOUT,
            trust_env=False,
            follow_redirects=False,
            # The client is everybody's: a cookie that it kept would sign one visitor in as another.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )
        self.calls = 0
        """How often the API was asked, for tests that count."""

    async def __aenter__(self) -> "PortalApi":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def get(self, visitor: Visitor, shape: type[T], path: str, **query: Any) -> T:
        """One thing; raises Problem."""
        answer = await self.ask(visitor, "GET", PREFIX + path, query=query)
        return shape.model_validate(plain(answer.content))

    async def all(self, visitor: Visitor, shape: type[T], path: str, **query: Any) -> Listing[T]:
        """A list, or one page of it; raises Problem."""
        answer = await self.ask(visitor, "GET", PREFIX + path, query=query)
        return listing(shape, answer)

    async def text(self, visitor: Visitor, path: str) -> str:
        """A document; raises Problem."""
        return (await self.ask(visitor, "GET", PREFIX + path)).text

    async def send(
        self, visitor: Visitor, method: str, path: str, body: Any = None, **query: Any
    ) -> httpx2.Response:
        """Change something; raises Problem."""
        return await self.ask(visitor, method, PREFIX + path, query=query, body=body)

    async def ask(
        self,
        visitor: Visitor,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """The answer to one request; raises Problem for one that is no success."""
        if any(part in (".", "..") for part in path.split("/")):
            # A client joins them as folders: a name would lead to another resource of the API.
            raise Problem(404, "NOT_FOUND", "not found")
        headers = _headers(visitor)
        content = None
        if body is not None:
            content, headers["Content-Type"] = orjson.dumps(body), "application/json"
        self.calls += 1
        try:
            answer = await self._client.request(
                method,
                path,
                params=_given(query),
                content=content,
                data=form,
                headers=headers,
            )
        except httpx2.TransportError as error:
            raise Problem(502, "UNREACHABLE", "the API does not answer") from error
        if answer.status_code >= 400:
            raise _problem(answer)
        return answer


def segment(text: object) -> str:
    """A name as one segment of a path of the API: what is in a repository's name twice escaped."""
    return quote(quote(str(text), safe=""), safe="") if "/" in str(text) else quote(str(text), "")


def quoted(text: str) -> str:
    """A text within the API's `q`, whose commas would end it."""
    return text.replace("%", "%25").replace(",", "%2C").replace(";", "%3B")


def repository_path(name: str) -> str:
    """The path of a repository by its full name."""
    project, _, rest = name.partition("/")
    return f"/projects/{segment(project)}/repositories/{segment(rest)}"


def listing(shape: type[T], answer: httpx2.Response) -> Listing[T]:
    """An answer with a list in it."""
    items: list[T] = _several(shape).validate_python(plain(answer.content) or [])
    total = answer.headers.get("X-Total-Count", "")
    return Listing(items, int(total) if total.isdigit() else len(items))


@cache
def _several(shape: type[Shape]) -> TypeAdapter[Any]:
    """Reads a list of them at once."""
    return TypeAdapter(list[shape])  # type: ignore[valid-type]  # a type that is known by now


def plain(content: bytes) -> Any:
    """A document of the API without its nulls, which mean what an absent field means."""
    if not content:
        return None
    found = orjson.loads(content)
    return _without_nulls(found) if b"null" in content and type(found) in _NESTED else found


def _without_nulls(value: Any) -> Any:
    if type(value) is dict:
        return {
            key: _without_nulls(item) if type(item) in _NESTED else item
            for key, item in value.items()
            if item is not None
        }
    return [_without_nulls(item) if type(item) in _NESTED else item for item in value]


def _headers(visitor: Visitor) -> dict[str, str]:
    found = {
        "Accept": "application/json",
        "X-Request-Id": REQUEST_ID.get(),
        "Traceparent": TRACEPARENT.get(),
        "X-Forwarded-For": visitor.address,
        "X-Forwarded-Proto": visitor.scheme,
        "Cookie": visitor.cookies,
        CSRF_HEADER: visitor.csrf,
    }
    if visitor.quiet:
        found["X-Harbor-No-Session-Renewal"] = "true"
    return {name: value for name, value in found.items() if value}


def _given(query: Mapping[str, Any] | None) -> dict[str, str]:
    found = {}
    for name, value in (query or {}).items():
        if isinstance(value, bool):
            found[name] = str(value).lower()
        elif value not in (None, ""):
            found[name] = str(value)
    return found


def _problem(answer: httpx2.Response) -> Problem:
    code, message = "UNKNOWN", ""
    try:
        first = orjson.loads(answer.content)["errors"][0]
        code, message = str(first["code"]), str(first["message"])
    except (ValueError, LookupError, TypeError):
        message = f"the API answered {answer.status_code}"
    return Problem(answer.status_code, code, message)
