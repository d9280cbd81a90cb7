"""Ranges and conditions of HTTP (RFC 9110, 13 and 14), as far as immutable content needs."""

import re
from typing import Final

from moorage.errors import RangeInvalid, SizeInvalid

_SPEC = re.compile(r"(\d{0,18})\s*-\s*(\d{0,18})")  # no two spaces side by side: they backtrack
_CHUNK = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?")

UNSATISFIABLE: Final = "unsatisfiable"


def etag_of(digest: str) -> bytes:
    """The strong entity tag of immutable content."""
    return f'"{digest}"'.encode()


def matches(condition: bytes, digest: str) -> bool:
    """Whether an If-None-Match names this content; clients also send the digest unquoted."""
    if condition.strip() == b"*":
        return True
    wanted = digest.encode()
    tags = (tag.strip().removeprefix(b"W/").strip(b'"') for tag in condition.split(b","))
    return any(tag == wanted for tag in tags)


def byte_range(header: str, size: int) -> tuple[int, int] | str | None:
    """The one range `[start, end)` that a Range header asks of `size` bytes.

    None: send everything (no byte range, or several, which a server may ignore).
    UNSATISFIABLE: nothing of it exists, or it is malformed.
    """
    unit, equals, specs = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    if "," in specs:
        return None
    found = _SPEC.fullmatch(specs.strip())
    if found is None or found[1] == found[2] == "":
        return UNSATISFIABLE
    if not found[1]:
        start, end = max(size - int(found[2]), 0), size
    else:
        start = int(found[1])
        end = min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < start:
            return UNSATISFIABLE
    return (start, end) if start < end else UNSATISFIABLE


def chunk_range(header: str, length: int | None) -> tuple[int | None, int | None]:
    """Start and length that a chunk's Content-Range and Content-Length announce.

    The form is `<first>-<last>` (OCI distribution-spec, "Pushing a blob in chunks"); some clients
    send that of RFC 9110. Raises RangeInvalid, SizeInvalid when the two headers disagree.
    """
    if not header:
        return None, length
    found = _CHUNK.fullmatch(header.strip())
    if found is None:
        raise RangeInvalid("Content-Range has the form <first>-<last>")
    first, last = int(found[1]), int(found[2])
    if last < first:
        raise RangeInvalid("Content-Range ends before it starts")
    if length is not None and length != last - first + 1:
        raise SizeInvalid("Content-Length and Content-Range disagree")
    return first, last - first + 1
