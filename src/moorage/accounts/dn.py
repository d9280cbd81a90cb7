"""Distinguished names of LDAP, so that two spellings of one are the same text (RFC 4514)."""

import re
from collections.abc import Iterator

from moorage.errors import Invalid

LONGEST = 512
"""Characters of a name."""

_TYPE = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*)\s*\Z")
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.S)
_SPECIAL = set(',+"\\<>;=')


def normal(text: str) -> str:
    """The name in lower case, with every value escaped in one way; raises Invalid."""
    wrong = Invalid('a DN is written as "cn=admins,ou=groups,dc=example,dc=com"')
    if not text.strip() or len(text) > LONGEST:
        raise wrong
    relative = []
    for part in _split(text, ",;"):
        pairs = []
        for pair in _split(part, "+"):
            kind, equals, value = pair.partition("=")
            named = _TYPE.match(kind)
            if not equals or named is None or not value.strip():
                raise wrong
            try:
                plain = _plain(value)
            except UnicodeError:
                raise wrong from None
            pairs.append(f"{named[1].lower()}={escape(plain.lower())}")
        relative.append("+".join(sorted(pairs)))
    return ",".join(relative)


def first_value(text: str) -> str:
    """What a name begins with, to show it: `Staff` of `cn=Staff,dc=example`; raises Invalid."""
    normal(text)
    first = next(_split(next(_split(text, ",;")), "+"))
    return _plain(first.partition("=")[2])


def _split(text: str, separators: str) -> Iterator[str]:
    """The parts between separators that are neither escaped nor in quotes."""
    start, quoted, escaped = 0, False, False
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char in separators and not quoted:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _plain(text: str) -> str:
    """A value without quotes and escapes; raises UnicodeError."""
    value = text.strip(" ")
    if text.endswith(" ") and _ends_escaped(value):
        value += " "
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return _ESCAPED.sub(_unescaped, value.encode()).decode()


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode()) if len(found[1]) == 2 else found[1]


def _ends_escaped(value: str) -> bool:
    return (len(value) - len(value.rstrip("\\"))) % 2 == 1


def escape(value: str) -> str:
    """A value as it stands in a DN."""
    escaped = "".join(f"\\{char}" if char in _SPECIAL else char for char in value)
    escaped = escaped.replace("\0", "\\00")
    if escaped.startswith(("#", " ")):
        escaped = f"\\{escaped}"
    if escaped.endswith(" ") and len(escaped) > 1:
        escaped = f"{escaped[:-1]}\\ "
    return escaped
