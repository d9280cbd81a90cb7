"""Requests to one registry: signed in, tried again, redirected without what is secret.

send ─► 401 ─► learn ─► once more
     ─► anything else for nobody, though there is an account ─► introduce ─► once more, unless
        it was a write and is done
     ─► 429, 5xx, no connection ─► pause with jitter ─► again, a few times
     ─► 3xx of a GET ─► the same without credentials, unless it stays on this server
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson

from moorage.errors import (
    Denied,
    Invalid,
    MoorageError,
    NotFound,
    TooManyRequests,
    Unreachable,
)
from moorage.outgoing import Guard
from moorage.remotes import adapters
from moorage.remotes.auth import LATER, Authorizer, bounded
from moorage.remotes.records import Endpoint, Traits, joined, origin

TRIES = 4
PAUSE, LONGEST = 0.5, 30.0
"""Seconds before the second try, which double, and at most."""
REDIRECTS = 5
IDLE = 60.0
"""Seconds without a byte after which an answer counts as broken off."""
ERROR = 64 << 10
"""Bytes of an error that are read."""
_REDIRECTED = frozenset({301, 302, 303, 307, 308})
_UNKNOWN = (" NAME_UNKNOWN", " MANIFEST_UNKNOWN")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{2,40}")

Content = Callable[[], AsyncIterator[bytes]] | bytes | None


class Requests:
    """What `Remote` says over the wire."""

    def __init__(
        self,
        guard: Guard,
        endpoint: Endpoint,
        *,
        token_hosts: Sequence[str] = (),
        tries: int = TRIES,
        idle: float = IDLE,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        told: Callable[[str, int], None] = lambda method, status: None,
        traits: Traits | None = None,
    ) -> None:
        """`told` hears of each request and of the status of its answer, 0 when there was none."""
        self.endpoint = endpoint
        self.adapter = adapters.of(endpoint.kind)
        self.traits = traits or Traits()
        self.tries = tries
        self._sleep = sleep
        self._told = told
        self._http = guard.streaming(verify=not endpoint.insecure, ca=endpoint.ca, idle=idle)
        self._base = endpoint.url if self.adapter.locate is None else ""
        self._locating = asyncio.Lock()
        login = self.adapter.login
        self._authorizer = Authorizer(
            endpoint,
            self._http,
            basic=self.adapter.basic,
            realms=(*self.adapter.realms, *token_hosts),
            login=None if login is None else lambda found: login(found, self._http),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._http.is_closed

    def url(self, path: str) -> str:
        """The address of a path below the registry."""
        return f"{self.endpoint.url}{path}"

    async def pause(self, attempt: int, after: float | None = None) -> None:
        """Wait before the next try; `after` is what the registry asked for, in seconds."""
        steady = min(LONGEST, PAUSE * 2**attempt) * random.uniform(0.5, 1.5)  # noqa: S311
        await self._sleep(steady if after is None else min(max(after, steady), LONGEST))

    async def ask(
        self,
        method: str,
        url: str,
        *,
        scopes: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: Content = None,
        expect: Sequence[int] = (200,),
        again: bool = True,
    ) -> httpx2.Response:
        """An answer with one of the `expect`ed statuses, its body still to be read.

        Tried several times unless `again` is false. Raises Denied, NotFound, TooManyRequests,
        Unreachable, Invalid; an answer that was not expected is closed.
        """
        for attempt in range(self.tries if again else 1):
            after = None
            try:
                answer = await self._once(method, url, scopes, headers or {}, content)
            except Unreachable:
                self._told(method, 0)
                if attempt + 1 >= self.tries or not again:
                    raise
            else:
                self._told(method, answer.status_code)
                if answer.status_code in expect:
                    return answer
                if answer.status_code not in LATER or attempt + 1 >= self.tries or not again:
                    raise await self._failure(answer, method, url)
                after = _seconds(answer.headers.get("retry-after", ""))
                await answer.aclose()
            await self.pause(attempt, after)
        raise AssertionError("a loop that returns or raises")

    async def text(self, method: str, url: str, limit: int, **more: Any) -> tuple[Any, bytes]:
        """An answer and its whole body of at most `limit` bytes; a broken one is asked again."""
        for attempt in range(self.tries):
            answer = await self.ask(method, url, **more)
            try:
                return answer, await bounded(answer, limit)
            except Unreachable:
                if attempt + 1 >= self.tries or not more.get("again", True):
                    raise
            await self.pause(attempt)
        raise AssertionError("a loop that returns or raises")

    async def json(self, method: str, url: str, limit: int, **more: Any) -> tuple[Any, Any]:
        """The same for a JSON document; raises Unreachable when it is none."""
        answer, body = await self.text(method, url, limit, **more)
        try:
            return answer, orjson.loads(body) if body else None
        except orjson.JSONDecodeError:
            raise Unreachable(f"{self.endpoint.host} answers with what is no JSON") from None

    async def _located(self, url: str) -> str:
        """Where a request really goes: some registries are known by another address of theirs."""
        if not self._base:
            async with self._locating:
                locate = self.adapter.locate
                if not self._base and locate is not None:
                    self._base = await locate(self.endpoint, self._http)
        known = f"{self.endpoint.url}/v2/"
        return f"{self._base}/v2/{url[len(known) :]}" if url.startswith(known) else url

    async def _once(
        self,
        method: str,
        url: str,
        scopes: Sequence[str] | None,
        headers: Mapping[str, str],
        content: Content,
    ) -> httpx2.Response:
        url = await self._located(url)
        first = origin(url)
        home = first == origin(self._base)
        answer = await self._send(method, url, scopes, headers, content, home=home)
        if answer.status_code == 401 and home:
            wanted = answer.headers.get_list("www-authenticate")
            refused = answer.request.headers.get("authorization")
            if await self._authorizer.learn(wanted, scopes, refused):
                await answer.aclose()
                answer = await self._send(method, url, scopes, headers, content, home=home)
        elif home and scopes is not None and self._for_nobody(answer):
            await answer.aclose()  # first: there may be no other connection left
            await self._introduce(scopes)
            answer = await self._send(method, url, scopes, headers, content, home=home)
        for _ in range(REDIRECTS):
            target = answer.headers.get("location")
            if answer.status_code not in _REDIRECTED or not target or method not in _SAFE:
                return answer
            await answer.aclose()
            following = joined(url, target)
            if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
                raise Unreachable(f"{self.endpoint.host} redirects to what is not encrypted")
            url = following
            home = home and origin(url) == origin(self._base)
            if origin(url) != first:  # what one server is told beside its URL is for it alone
                headers = {name: headers[name] for name in _HARMLESS if name in headers}
            answer = await self._send(method, url, scopes, headers, content, home=home)
        await answer.aclose()
        raise Unreachable(f"{self.endpoint.host} redirects too often")

    def _for_nobody(self, answer: httpx2.Response) -> bool:
        """Whether an answer for nobody is to be asked for again, as the account."""
        request = answer.request
        if "authorization" in request.headers or not self._authorizer.hidden:
            return False
        return request.method in _SAFE or not answer.is_success  # no write is done twice

    async def _introduce(self, scopes: Sequence[str]) -> None:
        try:
            await self._authorizer.introduce(self._base, scopes)
        except httpx2.HTTPError as error:
            raise Unreachable(f"{self.endpoint.host}: {type(error).__name__}") from error

    async def _send(
        self,
        method: str,
        url: str,
        scopes: Sequence[str] | None,
        headers: Mapping[str, str],
        content: Content,
        *,
        home: bool,
    ) -> httpx2.Response:
        """One request; with credentials only `home`, to the registry itself."""
        sent = dict(headers)
        try:
            if home:
                authorization = await self._authorizer.header(scopes)
                if authorization is not None:
                    sent["authorization"] = authorization
            request = self._http.build_request(
                method, url, headers=sent, content=content() if callable(content) else content
            )
            return await self._http.send(request, stream=True)
        except httpx2.InvalidURL:
            raise Unreachable(f"{self.endpoint.host} names an address that is none") from None
        except httpx2.HTTPError as error:  # the transport's own are MoorageErrors
            raise Unreachable(f"{self.endpoint.host}: {type(error).__name__}") from error

    async def _failure(self, answer: httpx2.Response, method: str, url: str) -> MoorageError:
        """What the registry says, in our words: its own may hold anything."""
        try:
            code = _code(await bounded(answer, ERROR))
        except Unreachable:
            code = ""
        status = answer.status_code
        path = urlsplit(url).path[:300]
        told = f"{self.endpoint.host} answers {status}{code} to {method} {path}"
        if status in (401, 403):
            return Denied(told)
        if status == 404 or (method == "DELETE" and code in _UNKNOWN):
            return NotFound(told)
        if status == 429:
            return TooManyRequests(told)
        if status >= 500:
            return Unreachable(told)
        return Invalid(told)


_SAFE = ("GET", "HEAD")
_HARMLESS = ("accept", "range")
"""Headers that follow a redirect to another server."""


def _code(body: bytes) -> str:
    try:
        code = orjson.loads(body)["errors"][0]["code"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return ""
    return f" {code}" if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
