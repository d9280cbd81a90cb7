"""How errors of sign-in become answers, in OCI's form."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from moorage import errors
from moorage.errors import MoorageError, TooManyRequests

PROBLEMS: Mapping[type[MoorageError], tuple[int, str]] = {
    errors.Invalid: (400, "BAD_REQUEST"),
    errors.Unsupported: (405, "UNSUPPORTED"),
    errors.TooLarge: (413, "SIZE_INVALID"),
    errors.Unauthenticated: (401, "UNAUTHORIZED"),
    errors.Denied: (403, "DENIED"),
    errors.NotFound: (404, "NOT_FOUND"),
    errors.Conflict: (409, "CONFLICT"),
    errors.TooManyRequests: (429, "TOOMANYREQUESTS"),
    errors.Unavailable: (503, "UNAVAILABLE"),
    errors.MoorageError: (400, "BAD_REQUEST"),
}
"""HTTP status and code; a class without a row has that of its nearest ancestor."""

RETRY_AFTER = 5
"""Seconds, when the failure does not say."""

NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="harbor"'}


def render(error: MoorageError, *, challenge: bool = True) -> Response:
    """A failure of the domain as an answer; a `challenge` makes a browser ask for a password."""
    status, code = next(PROBLEMS[base] for base in type(error).__mro__ if base in PROBLEMS)
    headers = {}
    if status == 401 and challenge:
        headers = _CHALLENGE
    elif status in (429, 503):
        seconds = RETRY_AFTER
        if isinstance(error, TooManyRequests) and isinstance(error.detail, dict):
            seconds = max(1, int(error.detail.get("seconds", seconds)))
        headers = {"Retry-After": str(seconds)}
    elif status == 405:
        headers = {"Allow": "GET, POST"}
    return problem(status, code, error.message, headers)


def problem(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """One error in OCI's form."""
    body = orjson.dumps({"errors": [{"code": code, "message": message}]})
    return Response(body, status, {**NO_STORE, **(headers or {})}, "application/json")
