"""How errors become answers: `{"errors":[{"code":"NOT_FOUND","message":"…"}]}`.

Every class of `moorage.errors` finds its row along its method resolution order; a test fails for
one that finds none. A 500 tells the client nothing and the log everything.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from moorage import errors
from moorage.errors import MoorageError
from moorage.web.failures import report

STATUS: Mapping[type[MoorageError], tuple[int, str]] = {
    errors.Invalid: (400, "BAD_REQUEST"),
    errors.NameInvalid: (400, "BAD_REQUEST"),
    errors.TagInvalid: (400, "BAD_REQUEST"),
    errors.DigestInvalid: (400, "DIGEST_INVALID"),
    errors.ManifestInvalid: (400, "MANIFEST_INVALID"),
    errors.SizeInvalid: (400, "BAD_REQUEST"),
    errors.RangeInvalid: (400, "BAD_REQUEST"),
    errors.Unsupported: (400, "UNSUPPORTED"),
    errors.PaginationInvalid: (422, "UNPROCESSABLE_ENTITY"),
    errors.TooLarge: (413, "REQUEST_ENTITY_TOO_LARGE"),
    errors.Unauthenticated: (401, "UNAUTHORIZED"),
    errors.Denied: (403, "FORBIDDEN"),
    errors.QuotaExceeded: (403, "DENIED"),
    errors.ReadOnly: (403, "DENIED"),
    errors.NotFound: (404, "NOT_FOUND"),
    errors.Conflict: (409, "CONFLICT"),
    errors.PreconditionFailed: (412, "PRECONDITION"),
    errors.TooManyRequests: (429, "TOO_MANY_REQUEST"),
    errors.ClientGone: (400, "BAD_REQUEST"),
    errors.Unavailable: (503, "SERVICE_UNAVAILABLE"),
    errors.StorageFull: (507, "INSUFFICIENT_STORAGE"),
}
"""HTTP status and Harbor's code; a class without a row has that of its nearest ancestor."""

HTTP_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "REQUEST_ENTITY_TOO_LARGE",
}

RETRY_AFTER = 5
"""Seconds that a client waits after a 503."""

_UNPARSED = ("json_invalid", "_type", "_parsing", "_attributes_type")


def problem(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """One error in Harbor's form."""
    return Response(
        orjson.dumps({"errors": [{"code": code, "message": message}]}),
        status,
        headers=dict(headers or {}),
        media_type="application/json; charset=utf-8",
    )


def status_of(kind: type[BaseException]) -> tuple[int, str] | None:
    """The row of the nearest class, or None."""
    return next((STATUS[base] for base in kind.__mro__ if base in STATUS), None)


def render(error: MoorageError) -> Response:
    """A failure of the domain as an answer."""
    status, code = status_of(type(error)) or (500, "UNKNOWN")
    headers = {"Retry-After": str(RETRY_AFTER)} if status in (429, 503) else None
    return problem(status, code, error.message, headers)


def install(app: FastAPI) -> None:
    """Let `app` answer every failure in this form."""
    app.add_exception_handler(MoorageError, _on_domain)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)


async def _on_domain(request: Request, error: Exception) -> Response:
    assert isinstance(error, MoorageError)
    report(error, request.method, request.url.path)
    return render(error)


async def _on_validation(request: Request, error: Exception) -> Response:
    """A body that is not JSON of the right types is a 400, all else a 422, as in go-swagger."""
    assert isinstance(error, RequestValidationError)
    found: Sequence[Any] = error.errors()
    first = found[0]
    where = ".".join(str(part) for part in first["loc"])
    message = f"{where}: {first['msg']}".encode(errors="replace").decode()
    if where == "body" and "json" not in request.headers.get("content-type", ""):
        message = "the body is JSON and needs the header Content-Type: application/json"
    in_body = first["loc"] and first["loc"][0] == "body"
    if in_body and first["type"].endswith(_UNPARSED) and len(found[0]["loc"]) > 1:
        return problem(400, "BAD_REQUEST", message)
    return problem(422, "UNPROCESSABLE_ENTITY", message)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTP_CODES.get(error.status_code, "UNKNOWN")
    return problem(error.status_code, code, str(error.detail), error.headers)


async def _on_bug(request: Request, error: Exception) -> Response:
    return problem(500, "UNKNOWN", "internal server error")
