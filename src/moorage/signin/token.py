"""`/service/token`: a token of the registry for credentials, or for nobody.

    request                                   answer
    service is another one, or missing        400
    nobody, and no scope is asked for         401: this is how `docker login` learns of a typo
    POST that is no OAuth2 password grant     400, 401, 405: containerd then asks by GET
    anything else                             200 and a token, which may open nothing

As in Harbor, a token holds all that the caller may do in the repositories that the scopes name, and
wrong credentials with a scope get what nobody gets: public projects stay readable.
(distribution-spec token authentication; RFC 6749 section 4.3 for POST.)
"""

import logging
from datetime import UTC, datetime

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from moorage import errors
from moorage.access.scopes import parse_scopes
from moorage.access.tokens import Right, Tokens
from moorage.errors import Invalid, MoorageError, Unauthenticated
from moorage.settings import Current, Fixed
from moorage.signin.forms import Fields, address, form, one, parameters
from moorage.signin.problems import NO_STORE, problem, render
from moorage.web.callers import Caller, Callers
from moorage.web.failures import report

log = logging.getLogger(__name__)

PATH = "/service/token"


class TokenService:
    """An ASGI application for one path."""

    def __init__(
        self, callers: Callers, tokens: Tokens, *, service: str, settings: Current | None = None
    ) -> None:
        """`service` is the name of the registry that clients must ask for."""
        self._callers = callers
        self._tokens = tokens
        self._service = service
        self._settings = settings or Fixed()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{PATH} speaks only HTTP, not {scope['type']}")
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            if request.method == "GET":
                return await self._get(request)
            if request.method == "POST":
                return await self._post(request)
            return problem(405, "UNSUPPORTED", "method not allowed", {"Allow": "GET, POST"})
        except MoorageError as error:
            report(error, request.method, PATH)
            return render(error)
        except ClientDisconnect:
            return problem(400, "BAD_REQUEST", "the client is gone")
        except Exception:
            log.exception("%s %s failed", request.method, PATH)  # no query: it may hold a name
            return problem(500, "UNKNOWN", "internal error")

    async def _get(self, request: Request) -> Response:
        fields = parameters(request.scope["query_string"])
        self._check(fields)
        headers = [value for key, value in request.scope["headers"] if key == b"authorization"]
        if len(headers) > 1:
            raise Invalid("more than one Authorization header")
        caller = await self._callers.identify(headers[0] if headers else None, address(request))
        if caller.source == "bearer":
            # A token for a token would outlive its account for ever.
            raise Unauthenticated("sign in with a name and a password")
        return await self._grant(caller, fields)

    async def _post(self, request: Request) -> Response:
        fields = await form(request)
        self._check(fields)
        if one(fields, "grant_type") != "password":
            raise errors.Unsupported("only the password grant is supported")
        account, password = one(fields, "username"), one(fields, "password")
        caller = await self._callers.sign_in(account, password, address(request))
        if caller.principal.kind == "anonymous":
            raise Unauthenticated("wrong name or password")
        return await self._grant(caller, fields)

    def _check(self, fields: Fields) -> None:
        if one(fields, "service") != self._service:
            raise Invalid("unable to handle this service")

    async def _grant(self, caller: Caller, fields: Fields) -> Response:
        asked = [value for value in fields.get("scope", ()) if value]
        if caller.principal.kind == "anonymous" and not asked:
            raise Unauthenticated("wrong name or password")
        access: dict[str, Right] = {
            scope.name: await self._callers.right(caller.principal, scope.name)
            for scope in parse_scopes(asked)
            if scope.type == "repository"
        }
        minutes = (await self._settings.current()).token_expiration
        issued = self._tokens.issue(
            caller.principal,
            access,
            revision=caller.revision,
            lifetime=minutes * 60,
            until=caller.expires_at,
        )
        body = {
            "token": issued.token,
            "access_token": issued.token,
            "expires_in": issued.expires_in,
            "issued_at": f"{datetime.fromtimestamp(issued.issued_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        return Response(orjson.dumps(body), headers=NO_STORE, media_type="application/json")
