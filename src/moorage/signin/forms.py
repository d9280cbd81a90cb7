"""What a request to a page of sign-in says."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from starlette.requests import Request

from moorage.errors import Invalid, TooLarge

MAX_FORM = 64 * 1024
"""Bytes of a POST body."""
MAX_FIELDS = 200

Fields = Mapping[str, Sequence[str]]


async def form(request: Request) -> Fields:
    """The fields of the body; raises Invalid, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Invalid("the body is not a form")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise TooLarge(f"the form has at most {MAX_FORM} bytes")
    return parameters(bytes(body))


def parameters(encoded: bytes) -> Fields:
    """The fields of a form or a query; raises Invalid."""
    try:
        return parse_qs(encoded.decode("ascii"), errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Invalid("the parameters are not well formed") from error


def one(fields: Fields, name: str) -> str:
    """The value of a field that comes once; else nothing."""
    values = fields.get(name, ())
    return values[0] if len(values) == 1 else ""


def address(request: Request) -> str:
    """Where the request comes from."""
    return request.client.host if request.client else ""
