"""What a path means, decided once and before it is routed.

    sent                                   decoded once by the server     routed as
    …/repositories/a%252Fb/artifacts       …/a%2Fb/artifacts              …/a%2Fb/artifacts
    …/repositories/a%2Fb/artifacts         …/a/b/artifacts                …/a%2Fb/artifacts
    …//repositories/a/                     …                              …/repositories/a

So the raw path counts, split before it is decoded: a slash inside a segment stays inside it, as
`%2F`, and `repository_name()` gives it back. Harbor's clients escape such names twice, its tests
also once. Bodies are bounded here as well: no request of this API is large.
"""

from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moorage.api.problems import render
from moorage.errors import Invalid, TooLarge
from moorage.web.paging import check_query_string

MAX_PATH = 8192
"""Bytes."""
MAX_BODY = 1 << 20
"""Bytes of a request body."""


def canonical(raw: str) -> str:
    """The path to route; raises Invalid."""
    if len(raw) > MAX_PATH:
        raise Invalid(f"a path has at most {MAX_PATH} bytes")
    segments = []
    for part in raw.split("/"):
        if not part:
            continue
        segment = _decode(part)
        if "%" in segment:
            segment = _decode(segment)
        segments.append(segment.replace("%", "%25").replace("/", "%2F"))
    return "/" + "/".join(segments)


def repository_name(segment: str) -> str:
    """A routed segment as the name that it stands for."""
    return segment.replace("%2F", "/").replace("%25", "%")


def _decode(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise Invalid("the path is not UTF-8") from error
    if "\0" in decoded:
        raise Invalid("the path holds a NUL character")
    return decoded


class Paths:
    """ASGI: gives the application inside canonical paths, checked queries and bounded bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        raw = scope.get("raw_path") or scope["path"].encode()
        try:
            check_query_string(scope["query_string"])
            path = canonical(raw.partition(b"?")[0].decode("latin-1"))
            receive = _bounded(scope, receive)
        except (Invalid, TooLarge) as error:
            await render(error)(scope, receive, send)
            return
        await self._app({**scope, "path": path, "root_path": ""}, receive, send)


def _bounded(scope: Scope, receive: Receive) -> Receive:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY:
        raise TooLarge(f"a request body has at most {MAX_BODY} bytes")
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise TooLarge(f"a request body has at most {MAX_BODY} bytes")
        return message

    return bounded
