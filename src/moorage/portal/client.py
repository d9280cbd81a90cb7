"""The portal's only way to anything: the REST API, typed by the shapes of `shapes`.

A call carries the visitor's cookies and address along, so the API sees who asks and from where.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import orjson
from pydantic import TypeAdapter

from moorage.portal.core import Answer, Core, Question, Unreachable
from moorage.portal.shapes.shape import Shape
from moorage.telemetry.logs import REQUEST_ID, TRACEPARENT

T = TypeVar("T", bound=Shape)

PREFIX = "/api/v2.0"
CSRF_HEADER = "X-Harbor-CSRF-Token"
_NESTED = (dict, list)
_OF_A_PATH = "!$%&'()*+,/:;=@[\\]^|~"
"""Besides letters: the rest of a path is escaped, what is already escaped stays as it is."""


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


class PortalApi:
    """Asks the API; one for the process, with one `Visitor` a call."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.calls = 0
        """How often the API was asked, for tests that count."""

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
    ) -> Answer:
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
    ) -> Answer:
        """The answer to one request; raises Problem for one that is no success."""
        if any(part in (".", "..") for part in path.split("/")):
            # A client joins them as folders: a name would lead to another resource of the API.
            raise Problem(404, "NOT_FOUND", "not found")
        headers, content = _headers(visitor), b""
        if body is not None:
            content = orjson.dumps(body)
            headers.append(("Content-Type", "application/json"))
        elif form is not None:
            content = urlencode(form).encode()
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
        where, asked = quote(path, safe=_OF_A_PATH), urlencode(_given(query)) if query else ""
        self.calls += 1
        try:
            answer = await self._core.ask(Question(method, where, asked, headers, content))
        except Unreachable as error:
            raise Problem(502, "UNREACHABLE", "the API does not answer") from error
        if answer.status >= 400:
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


def listing(shape: type[T], answer: Answer) -> Listing[T]:
    """An answer with a list in it."""
    items = several(shape, answer.content)
    total = answer.headers.get("X-Total-Count", "")
    return Listing(items, int(total) if total.isdigit() else len(items))


def several(shape: type[T], content: bytes) -> list[T]:
    """The things of a list."""
    found: list[T] = _several(shape).validate_python(plain(content) or [])
    return found


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


def _without_nulls(document: Any) -> Any:
    """The same document, which nobody else has."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            if None in value.values():
                for name in [name for name, item in value.items() if item is None]:
                    del value[name]
            value = value.values()
        waiting += [item for item in value if item and type(item) in _NESTED]
    return document


def _headers(visitor: Visitor) -> list[tuple[str, str]]:
    found = (
        ("Accept", "application/json"),
        ("X-Request-Id", REQUEST_ID.get()),
        ("Traceparent", TRACEPARENT.get()),
        ("X-Forwarded-For", visitor.address),
        ("X-Forwarded-Proto", visitor.scheme),
        ("Cookie", visitor.cookies),
        (CSRF_HEADER, visitor.csrf),
        ("X-Harbor-No-Session-Renewal", "true" if visitor.quiet else ""),
    )
    return [each for each in found if each[1]]


def _given(query: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, value in query.items():
        if isinstance(value, bool):
            found[name] = str(value).lower()
        elif value not in (None, ""):
            found[name] = str(value)
    return found


def _problem(answer: Answer) -> Problem:
    code, message = "UNKNOWN", ""
    try:
        first = orjson.loads(answer.content)["errors"][0]
        code, message = str(first["code"]), str(first["message"])
    except (ValueError, LookupError, TypeError):
        message = f"the API answered {answer.status}"
    return Problem(answer.status, code, message)
