"""What was carried, and what was not."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Carried:
    """Of one kind."""

    made: int = 0
    there: int = 0
    left: int = 0


@dataclass(slots=True)
class Report:
    """Figures by kind, and a line for everything that was left."""

    kinds: dict[str, Carried] = field(default_factory=dict)
    lines: list[dict[str, str]] = field(default_factory=list)

    def of(self, kind: str) -> Carried:
        """The figures of a kind."""
        return self.kinds.setdefault(kind, Carried())

    def left(self, kind: str, name: str, why: str) -> None:
        """Something that was not carried."""
        self.of(kind).left += 1
        self.lines.append({"kind": kind, "name": name, "why": why})

    def note(self, kind: str, name: str, why: str) -> None:
        """Something to know of what was carried."""
        self.lines.append({"kind": kind, "name": name, "why": why})

    def dump(self) -> dict[str, Any]:
        """For JSON."""
        kinds = {
            name: {"made": each.made, "there": each.there, "left": each.left}
            for name, each in self.kinds.items()
        }
        return {"kinds": kinds, "lines": self.lines}
