"""Who acts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from moorage.access.roles import Pairs


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a token leaves of the rights of its user: some pairs in some projects."""

    sysadmin: bool  # whether the user is a system administrator; the bearer of the token is none
    access: Mapping[int | None, Pairs]  # by the project's id; None: in every project

    def within(self, project_id: int) -> Pairs:
        """The pairs that the token leaves in one project."""
        none: Pairs = frozenset()
        return self.access.get(None, none) | self.access.get(project_id, none)


@dataclass(frozen=True)
class Principal:
    """Somebody, or nobody, whom a face identified; or the server itself."""

    kind: Literal["anonymous", "user", "robot", "server"]
    id: int = 0
    name: str = ""
    sysadmin: bool = False
    via: str = ""  # what it was lent by: token:3, rule:7:1, cli:5:0a1b; "": its own secret
    bounds: Bounds | None = field(default=None, compare=False)  # None: all that the account may

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
