"""The form of personal access tokens.

    moo_pat_<36 letters and digits><6 letters and digits: the CRC-32 of these, in base 62>

Whoever looks for leaked secrets knows one by its beginning and its checksum, and this server asks
its database for nothing else.
"""

import secrets
import string
import zlib

PREFIX = "moo_pat_"
_BODY, _SUM = 36, 6
_LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase


def new_token() -> str:
    """A random token."""
    body = "".join(secrets.choice(_LETTERS) for _ in range(_BODY))
    return PREFIX + body + _checksum(body)


def well_formed(text: str) -> bool:
    """Whether the text can be a token."""
    body, end = text[len(PREFIX) : -_SUM], text[-_SUM:]
    whole = text.startswith(PREFIX) and text.isascii() and len(body) == _BODY
    return whole and _checksum(body) == end


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_SUM):
        number, digit = divmod(number, len(_LETTERS))
        digits = _LETTERS[digit] + digits
    return digits
