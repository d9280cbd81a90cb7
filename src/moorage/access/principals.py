"""Who acts."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Principal:
    """Somebody, or nobody, whom a face identified; or the server itself."""

    kind: Literal["anonymous", "user", "robot", "server"]
    id: int = 0
    name: str = ""
    sysadmin: bool = False

    def __str__(self) -> str:
        """Unique over all kinds, for rows that bind something to its maker."""
        return f"{self.kind}:{self.id}"


ANONYMOUS = Principal("anonymous")

# Names with a space: no user and no robot account can have them.
FIRST_START = Principal("server", name="first start")
"""The server, when it makes its first administrator."""
SERVER = Principal("server", name="the server")
"""The server, of its own accord."""
COMMAND_LINE = Principal("server", name="command line")
"""Whoever runs a verb on the server's own machine."""
