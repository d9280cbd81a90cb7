"""`/v2` as one ASGI application.

request ─► manifest GET or HEAD that this process remembers? ── yes ─► answered, nothing awaited
             │ no
             ▼
           parse the path ─► gate: who, and which right ─► endpoint ─► answer
             └──────────────────── any MoorageError ────────────────► problem
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Message, Receive, Scope, Send

from moorage.artifacts.listing import Listing
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.pulls import Pulls
from moorage.artifacts.uploads import Uploads
from moorage.distribution.blobs import Blobs
from moorage.distribution.call import Call
from moorage.distribution.challenge import Challenge
from moorage.distribution.conditional import matches
from moorage.distribution.exchange import Exchange, Headers, Truncated, warning
from moorage.distribution.gate import Gate, Refused
from moorage.distribution.listing import Lists
from moorage.distribution.locations import Locations
from moorage.distribution.manifests import ManifestFace, headers_of
from moorage.distribution.mirrors import Mirrors
from moorage.distribution.options import Options
from moorage.distribution.problems import (
    INTERNAL,
    NO_ENDPOINT,
    NO_METHOD,
    PROBLEMS,
    Problem,
    problem_of,
)
from moorage.distribution.proxied import Proxied
from moorage.distribution.referrers import Referrers
from moorage.distribution.routes import BY_ENDPOINT, Target, parse
from moorage.distribution.turns import Turns
from moorage.distribution.uploads import Sessions
from moorage.errors import ClientGone, MoorageError, NotFound, Unauthenticated
from moorage.projects.grants import Grants
from moorage.settings import Current, Fixed
from moorage.web.callers import Callers
from moorage.web.failures import report

Endpoint = Callable[[Call], Awaitable[None]]

log = logging.getLogger(__name__)

_MANIFESTS = "/manifests/"
_REMEMBERED = 4096
"""Manifests whose headers are kept ready."""

_BASE_BODY = b"{}"


class Distribution:
    """The `/v2` face over the domain's objects."""

    def __init__(
        self,
        *,
        pulls: Pulls,
        uploads: Uploads,
        manifests: Manifests,
        listing: Listing,
        callers: Callers,
        grants: Grants,
        options: Options | None = None,
        settings: Current | None = None,
        proxied: Proxied | None = None,
        mirrors: Mirrors | None = None,
    ) -> None:
        self._options = options or Options()
        self._turns = Turns()
        self._pulls = pulls
        self._callers = callers
        challenge = Challenge(self._options)
        locations = Locations(self._options, challenge)
        self._gate = Gate(callers, grants, challenge, settings or Fixed())
        blobs = Blobs(pulls, uploads, self._options)
        sessions = Sessions(uploads, self._gate, locations, self._options)
        manifest = ManifestFace(pulls, manifests, locations)
        lists = Lists(listing, locations)
        self._endpoints: dict[tuple[str, str], Endpoint] = {
            ("base", "GET"): _base,
            ("base", "HEAD"): _base,
            ("catalog", "GET"): lists.catalog,
            ("manifest", "GET"): manifest.get,
            ("manifest", "HEAD"): manifest.head,
            ("manifest", "PUT"): manifest.put,
            ("manifest", "DELETE"): manifest.delete,
            ("blob", "GET"): blobs.get,
            ("blob", "HEAD"): blobs.head,
            ("blob", "DELETE"): blobs.delete,
            ("uploads", "POST"): sessions.start,
            ("upload", "GET"): sessions.status,
            ("upload", "PATCH"): sessions.append,
            ("upload", "PUT"): sessions.finish,
            ("upload", "DELETE"): sessions.cancel,
            ("tags", "GET"): lists.tags,
            ("referrers", "GET"): Referrers(manifests, locations).get,
        }
        self._headers: dict[str, Headers] = {}
        self._mirrors = mirrors
        self._proxies = proxied.through.proxies if proxied is not None else None
        # The set itself, which others keep up: to look into it is all that other requests pay.
        self._proxied = self._proxies.names if self._proxies is not None else frozenset()
        self._through: Mapping[tuple[str, str], Endpoint] = {}
        if proxied is not None:
            self._through = proxied.endpoints(uploads, manifests, locations, self._options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"/v2 speaks only HTTP, not {scope['type']}")
        if self._mirrors:
            scope = self._mirrors.rewritten(scope)
        if scope["method"] in ("GET", "HEAD"):
            remembered = self._remembered(scope)
            if remembered is not None:
                await send(remembered[0])
                await send(remembered[1])
                return
        await self._serve(Exchange(scope, receive, send, self._options, self._turns))

    def _remembered(self, scope: Scope) -> tuple[Message, Message] | None:
        """The answer to a manifest request, if this process may give it alone.

        Only what was checked before is answered here: a token whose bytes were verified and that
        names this very repository, and a manifest whose tag no writer touched. Everything else,
        every failure too, takes the long way.
        """
        path: str = scope["path"]
        cut = path.rfind(_MANIFESTS)
        if cut < 5 or not path.startswith("/v2/") or b"%" in scope.get("raw_path", b""):
            return None
        authorization = condition = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name == b"if-none-match":
                condition = value
        if authorization is None:
            return None
        caller = self._callers.peek(authorization)
        if caller is None or caller.access is None:
            return None
        repository = path[4:cut]
        actions = caller.access.get(repository)
        if actions is None or "pull" not in actions:
            return None
        if self._proxied and repository.partition("/")[0] in self._proxied:
            return None
        reference = path[cut + len(_MANIFESTS) :]
        manifest = self._pulls.peek(repository, reference)
        if manifest is None:
            return None
        resolved = manifest.resolved
        if condition is not None and matches(condition, resolved.digest):
            return None
        headers = self._headers.get(resolved.digest)
        if headers is None:
            headers = self._remember(resolved.digest, headers_of(manifest))
        body = b""
        if scope["method"] == "GET":
            body = manifest.payload
            self._pulls.count(resolved, reference, caller.principal)
        return (
            {"type": "http.response.start", "status": 200, "headers": headers.copy()},
            {"type": "http.response.body", "body": body},
        )

    def _remember(self, digest: str, headers: Headers) -> Headers:
        if self._options.notice:
            headers.append(warning(self._options.notice))
        while len(self._headers) >= _REMEMBERED:
            del self._headers[next(iter(self._headers))]
        self._headers[digest] = headers
        return headers

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self._route(exchange)
        except Refused as error:
            challenge = (b"www-authenticate", error.challenge)
            unauthorized = PROBLEMS[Unauthenticated]
            await exchange.problem(unauthorized, error.message, headers=[challenge])
        except MoorageError as error:
            if exchange.started:
                raise
            if isinstance(error, ClientGone):
                log.info("client left %s %r", exchange.method, exchange.raw_path[:512])
            report(error, exchange.method, exchange.raw_path.decode("latin-1"))
            await exchange.problem(problem_of(error), error.message, error.detail)
        except Truncated:
            if exchange.started:
                raise  # the server breaks the connection, which is all that is left to say
            log.exception("no content for %s %r", exchange.method, exchange.raw_path[:512])
            await exchange.problem(Problem(503, "UNAVAILABLE", 5), "the content is not available")
        except Exception:
            if exchange.started:
                raise
            log.exception("%s %r failed", exchange.method, exchange.raw_path[:512])
            await exchange.problem(INTERNAL, "internal error")

    async def _route(self, exchange: Exchange) -> None:
        target = parse(exchange.raw_path)
        if target is None:
            await exchange.problem(NO_ENDPOINT, "no such endpoint")
            return
        methods = BY_ENDPOINT[target.endpoint]
        route = methods.get(exchange.method)
        if route is None:
            allow = (b"allow", ", ".join(methods).encode())
            await exchange.problem(NO_METHOD, "the method is not supported here", headers=[allow])
            return
        admitted = await self._gate.admit(
            exchange, target.repository, route.right, _mounted(exchange, target)
        )
        call = Call(exchange, admitted.caller, admitted.rights, target.repository, target.reference)
        await self._answer(call, (target.endpoint, exchange.method))

    async def _answer(self, call: Call, key: tuple[str, str]) -> None:
        """From here, or in a project that is a cache through the registry behind it."""
        through = self._through.get(key)
        if through is None or self._proxies is None:
            await self._endpoints[key](call)
            return
        if not self._proxies.loaded:
            await self._proxies.refresh()
        known = call.repository.partition("/")[0] in self._proxied
        # Before a write it is asked for sure: the project may have been made a second ago.
        if known or (key[1] not in ("GET", "HEAD") and await self._proxies.learn(call.repository)):
            await through(call)
            return
        try:
            await self._endpoints[key](call)
        except NotFound:
            if call.exchange.started or not await self._proxies.learn(call.repository):
                raise
            await through(call)


async def _base(call: Call) -> None:
    json = (b"content-type", b"application/json")
    length = (b"content-length", b"%d" % len(_BASE_BODY))
    await call.exchange.answer(200, [json, length], _BASE_BODY)


def _mounted(exchange: Exchange, target: Target) -> str:
    """The repository that a mount names, if it is a name: a challenge asks for its scope too."""
    if target.endpoint != "uploads" or not exchange.parameter("mount"):
        return ""
    source = exchange.parameter("from") or ""
    plain = source.replace("/", "").replace(".", "").replace("-", "").replace("_", "")
    return source if plain.isascii() and plain.isalnum() else ""
