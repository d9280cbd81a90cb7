"""Requests that another site made a browser send are refused.

    GET  with a session, or a page of sign-in ─► X-Harbor-CSRF-Token, and its cookie
    POST, PUT, PATCH, DELETE with a session ──► the token of the cookie in that header, else 403
    any of these, or the end of a session, from another site by the browser's own words ──► 403

Callers without the session's cookie are exempt outside of the pages of sign-in: they prove who they
are with each request. The token is made of the cookie under a key of the installation, so every
replica knows it and nothing is kept. A neighbour below the same domain can plant a cookie whose
token it knows; what it cannot change is what browsers say of where a request comes from.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping

import orjson
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SESSION_COOKIE = "sid"
CSRF_COOKIE = "_gorilla_csrf"
HEADER = b"x-harbor-csrf-token"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PAGES = "/c/"
_ENDS = frozenset({"/c/log_out", "/c/oidc/logout"})
"""Pages that end a session by GET, as Harbor's do."""
_ELSEWHERE = (b"cross-site", b"same-site")
"""Of `Sec-Fetch-Site` (W3C, "Fetch Metadata Request Headers")."""
_DOOR = "/api/v2.0/systeminfo"
"""What a client asks before it signs in, without any cookie yet."""
_MISSING = (
    "CSRF token not found in request: send the X-Harbor-CSRF-Token header "
    "of an earlier answer together with its cookie"
)
_FOREIGN = "the request comes from a page of another site"


def cookies(scope: Scope) -> Mapping[str, str]:
    """The cookies of a request, read as leniently as browsers send them."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name == b"cookie":
            found |= cookie_parser(value.decode("latin-1"))
    return found


def cookie(name: str, value: str, *, secure: bool, ends: bool = False) -> str:
    """A `Set-Cookie` that scripts cannot read and other sites cannot send along."""
    parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
    if secure:
        parts.append("Secure")
    if ends:
        parts.append("Max-Age=0")
    return "; ".join(parts)


def from_elsewhere(scope: Scope) -> bool:
    """Whether the browser says that a page of another site sent the request."""
    return any(
        name == b"sec-fetch-site" and value in _ELSEWHERE for name, value in scope["headers"]
    )


class CsrfGuard:
    """ASGI: lets pass what a browser may have been made to send only with the token."""

    def __init__(self, app: ASGIApp, *, key: bytes, secure: bool) -> None:
        """`secure` says that browsers reach this installation by https alone."""
        self._app = app
        self._key = key
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = scope["path"].startswith(_PAGES)
        found = cookies(scope)
        known = page or scope["path"] == _DOOR or found.keys() & {SESSION_COOKIE, CSRF_COOKIE}
        if not known:
            await self._app(scope, receive, send)
            return
        changes = scope["method"] not in _SAFE
        if (changes or scope["path"] in _ENDS) and from_elsewhere(scope):
            await _refuse(send, _FOREIGN)
            return
        if not changes:
            await self._app(scope, receive, self._handing_out(found, send))
            return
        if (page or SESSION_COOKIE in found) and not self._proved(scope, found):
            await _refuse(send, _MISSING)
            return
        await self._app(scope, receive, send)

    def _token(self, value: str) -> bytes:
        mac = hmac.new(self._key, value.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return base64.b64encode(mac.digest())

    def _proved(self, scope: Scope, found: Mapping[str, str]) -> bool:
        value = found.get(CSRF_COOKIE)
        sent = [value for name, value in scope["headers"] if name == HEADER]
        return (
            bool(value)
            and len(sent) == 1
            and hmac.compare_digest(sent[0], self._token(value or ""))
        )

    def _handing_out(self, found: Mapping[str, str], send: Send) -> Send:
        value = found.get(CSRF_COOKIE) or secrets.token_urlsafe(32)
        headers = [(HEADER, self._token(value))]
        if CSRF_COOKIE not in found:
            text = cookie(CSRF_COOKIE, value, secure=self._secure)
            headers.append((b"set-cookie", text.encode()))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        return sending


async def _refuse(send: Send, why: str) -> None:
    body = orjson.dumps({"errors": [{"code": "FORBIDDEN", "message": why}]})
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
