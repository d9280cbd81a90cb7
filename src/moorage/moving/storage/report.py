"""What a run found and did, for people and for programs."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Report:
    """Figures, and a line for everything that is not as it should be."""

    found: dict[str, int] = field(default_factory=dict)
    projects: int = 0  # made
    manifests: int = 0  # filed
    there: int = 0  # manifests that were here already
    blobs: int = 0
    tags: int = 0  # made or moved
    tags_there: int = 0
    verified: int = 0  # tags that mean the same bytes on both sides
    changed: int = 0  # tags that were pushed here since
    unverified: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)
    repairs: list[dict[str, str]] = field(default_factory=list)
    broken: set[tuple[str, str]] = field(default_factory=set)

    def problem(self, repository: str, reference: str, what: str) -> None:
        """Something of the old registry that is not carried over, or not whole."""
        self.broken.add((repository, reference))
        line = {"repository": repository, "reference": reference, "what": what}
        if line not in self.problems[-50:]:
            self.problems.append(line)

    def repaired(self, repository: str, reference: str, what: str) -> None:
        """Something that was not right there and is here, or was left as it is here."""
        line = {"repository": repository, "reference": reference, "what": what}
        if line not in self.repairs[-50:]:
            self.repairs.append(line)

    def dump(self) -> dict[str, Any]:
        """For JSON."""
        names = (
            "found", "projects", "manifests", "there", "blobs", "tags", "tags_there", "verified",
            "changed", "unverified", "problems", "repairs",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def summary(self) -> dict[str, Any]:
        """For people: the figures."""
        figures = self.dump()
        found = figures.pop("found")
        figures["problems"], figures["repairs"] = len(self.problems), len(self.repairs)
        return {**{f"found_{name}": value for name, value in found.items()}, **figures}
