"""The names of one list of another registry, as far as that may fill our memory and our time.

A registry that lies sends pages for ever, and on each of them what is no name. So pages count too,
and a name that no registry gives is left out: it would stand in logs as a line of its own.
"""

from collections.abc import Iterable
from typing import Any

from moorage.errors import Unreachable

MOST_PAGES = 10_000
MOST_NAMES = 1_000_000
MOST_CHARACTERS = 64 << 20
"""Of all names of one list."""
LONGEST = 512
"""Characters of a name; longer ones are none."""


class Names:
    """Names, page after page."""

    def __init__(self, host: str) -> None:
        """`host` is the registry, for messages."""
        self.found: list[str] = []
        self._host = host
        self._pages = 0
        self._size = 0

    def page(self, names: Iterable[Any]) -> None:
        """Take in what stands on one page; raises Unreachable for a list without an end."""
        self._pages += 1
        for name in names:
            if isinstance(name, str) and 0 < len(name) <= LONGEST and name.isprintable():
                self.found.append(name)
                self._size += len(name)
        if self._pages > MOST_PAGES or len(self.found) > MOST_NAMES or self._size > MOST_CHARACTERS:
            raise Unreachable(f"{self._host} sends a list without an end")

    def below(self, beginning: str) -> list[str]:
        """Those that begin so."""
        return [name for name in self.found if name.startswith(beginning)]
