"""`/service/token/exchange`: a token of ours for the token of a workload (RFC 8693).

    POST grant_type=urn:ietf:params:oauth:grant-type:token-exchange
         subject_token=eyJ…  subject_token_type=urn:ietf:params:oauth:token-type:id_token (or jwt)
         audience=robot$team+ci     the robot account that is wanted

    200  {access_token, issued_token_type, token_type, expires_in, username}
    400  {error, error_description}

The token is the password of the robot account `username` until it ends, and a Bearer of the API.
"""

import logging

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from moorage.accounts.federation import Exchange
from moorage.errors import MoorageError, Unavailable
from moorage.signin.forms import Fields, form, one
from moorage.signin.problems import NO_STORE, RETRY_AFTER
from moorage.web.failures import report

log = logging.getLogger(__name__)

PATH = "/service/token/exchange"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
SUBJECT_TYPES = (
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:jwt",
)


class TokenExchange:
    """An ASGI application for one path."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{PATH} speaks only HTTP, not {scope['type']}")
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            return _refusal(405, "invalid_request", "use POST", {"Allow": "POST"})
        try:
            return await self._post(await form(request))
        except MoorageError as error:
            report(error, request.method, PATH)
            return _render(error)
        except ClientDisconnect:
            return _refusal(400, "invalid_request", "the client is gone")
        except Exception:
            log.exception("%s %s failed", request.method, PATH)
            return _refusal(500, "server_error", "internal error")

    async def _post(self, fields: Fields) -> Response:
        if one(fields, "grant_type") != GRANT:
            return _refusal(400, "unsupported_grant_type", f"grant_type has to be {GRANT}")
        if one(fields, "subject_token_type") not in SUBJECT_TYPES:
            allowed = " or ".join(SUBJECT_TYPES)
            return _refusal(400, "invalid_request", f"subject_token_type has to be {allowed}")
        if "actor_token" in fields:
            return _refusal(400, "invalid_request", "an actor_token is not supported")
        token, robot = one(fields, "subject_token"), one(fields, "audience")
        done = await self._exchange.exchange(token, robot)
        body = {
            "access_token": done.issued.token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": done.issued.expires_in,
            "username": done.robot,
        }
        return Response(orjson.dumps(body), headers=NO_STORE, media_type="application/json")


def _render(error: MoorageError) -> Response:
    """A failure in the form of RFC 6749, section 5.2."""
    if isinstance(error, Unavailable):
        retry = {"Retry-After": str(RETRY_AFTER)}
        return _refusal(503, "temporarily_unavailable", error.message, retry)
    return _refusal(400, "invalid_request", error.message)


def _refusal(
    status: int, code: str, description: str, headers: dict[str, str] | None = None
) -> Response:
    body = orjson.dumps({"error": code, "error_description": description})
    return Response(body, status, {**NO_STORE, **(headers or {})}, "application/json")
