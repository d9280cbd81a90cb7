"""Values that cross the border of `replication`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

KIND = "REPLICATION"
"""Of tasks that move something, and the type of vendor of executions and schedules."""
PLAN = "REPLICATION_PLAN"
"""Of the task that finds out what there is to move; shown only when it fails."""

MANUAL, SCHEDULED, EVENT = "manual", "scheduled", "event_based"
TRIGGERS = (MANUAL, SCHEDULED, EVENT)

COPY, DELETE = "copy", "delete"


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on what is replicated."""

    type: str  # name, tag, label, resource or media_type
    value: Any  # a pattern; of labels, their names
    decoration: str = "matches"  # or excludes
    kind: str = "doublestar"  # of the pattern


@dataclass(frozen=True, slots=True)
class Settings:
    """What an administrator says of a policy."""

    name: str
    description: str = ""
    source_id: int | None = None  # None: this registry
    target_id: int | None = None
    filters: Sequence[Filter] = ()
    namespace: str = ""  # at the target; empty: as at the source
    replaced: int = 1  # parts of the name that it stands for; -1: all but the last
    trigger: str = MANUAL
    cron: str = ""
    deletion: bool = False
    override: bool = True
    enabled: bool = True
    speed: int = 0  # kilobits a second of each task; 0: as fast as can be
    chunked: bool = False
    single_active: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """What is replicated, where to, and when."""

    id: int
    settings: Settings
    creator: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something that a policy could move."""

    repository: str
    digest: str
    tags: tuple[str, ...] = ()
    media_type: str = ""
    type: str = ""  # in Harbor's words
    labels: tuple[str, ...] = ()
    size: int = 0  # bytes, with everything below it; 0: not known
    attached: tuple[str, ...] = ()  # tags by which cosign ties others to it


@dataclass(frozen=True, slots=True)
class Move:
    """What one task does."""

    operation: str  # copy or delete
    source: str  # repository
    target: str  # repository
    digest: str
    tags: tuple[str, ...]
    type: str = ""
    size: int = 0
    attached: tuple[str, ...] = ()
    whole: bool = True  # a delete of the artifact, not of tags alone

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "tags": list(self.tags),
            "attached": list(self.attached),
        }

    @classmethod
    def load(cls, row: Mapping[str, Any]) -> "Move":
        """The inverse of `dump`."""
        known = {name: row[name] for name in cls.__slots__ if name in row}
        return cls(**known | {"tags": tuple(row["tags"]), "attached": tuple(row["attached"])})

    @property
    def reference(self) -> str:
        """What it moves, behind the name of the repository."""
        if not self.tags:
            return f"@{self.digest}"
        return f":{self.tags[0]}" if len(self.tags) == 1 else f":[{','.join(self.tags)}]"
