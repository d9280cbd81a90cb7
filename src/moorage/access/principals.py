"""Who acts."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Principal:
    """Somebody, or nobody, whom a face identified."""

    kind: Literal["anonymous", "user", "robot"]
    id: int = 0
    name: str = ""
    sysadmin: bool = False

    def __str__(self) -> str:
        """Unique over all kinds, for rows that bind something to its maker."""
        return f"{self.kind}:{self.id}"


ANONYMOUS = Principal("anonymous")
