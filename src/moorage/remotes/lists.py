"""The names of one list of another registry, as far as that may fill our memory and our time.

A registry that lies sends pages for ever, and on each of them what is no name, or the same one. So
pages count too, each name is taken once, and one that no registry gives is left out: it would stand
in logs as a line of its own.
"""

import re
from collections.abc import Iterable
from typing import Any

from moorage.errors import Unreachable

MOST_PAGES = 10_000
MOST_NAMES = 1_000_000
MOST_CHARACTERS = 64 << 20
"""Of all names of one list."""
LONGEST = 512
"""Characters of a name; longer ones are none."""
LONGEST_LINK = 8192
"""Characters of a header that leads to the next page."""

_NEXT = re.compile(r'<([^<>]+)>\s*;[^,<]*\brel="?next"?')
_BARE = re.compile(r'\s*(/[^\s<>;,]*)\s*;\s*rel="?next"?\s*')
"""As the first versions of zot wrote it."""


def linked(header: str) -> str:
    """Where a `Link` header leads for the next page (RFC 8288); empty: nowhere."""
    if len(header) > LONGEST_LINK:
        return ""
    found = _NEXT.search(header) or _BARE.fullmatch(header)
    return found[1] if found else ""


class Names:
    """Names, page after page."""

    def __init__(self, host: str) -> None:
        """`host` is the registry, for messages."""
        self._found: dict[str, None] = {}
        self._host = host
        self._pages = 0
        self._size = 0

    def page(self, names: Iterable[Any]) -> int:
        """Take in what stands on one page; how many of them are new.

        Raises Unreachable for a list without an end.
        """
        self._pages += 1
        before = len(self._found)
        for name in names:
            if _is_name(name) and name not in self._found:
                self._found[name] = None
                self._size += len(name)
        if (
            self._pages > MOST_PAGES
            or len(self._found) > MOST_NAMES
            or self._size > MOST_CHARACTERS
        ):
            raise Unreachable(f"{self._host} sends a list without an end")
        return len(self._found) - before

    @property
    def last(self) -> str:
        """The one that came last; raises StopIteration when none came."""
        return next(reversed(self._found))

    @property
    def found(self) -> list[str]:
        """Each of them once, as they came."""
        return list(self._found)

    def below(self, beginning: str) -> list[str]:
        """Those that begin so."""
        return [name for name in self._found if name.startswith(beginning)]


def _is_name(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= LONGEST and text.isprintable()
