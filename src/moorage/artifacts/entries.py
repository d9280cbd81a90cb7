"""What lists and pages show of repositories: frozen values of the catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moorage.projects.records import Label


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository with its counters."""

    id: int
    project_id: int
    name: str  # with the project
    description: str
    pull_count: int
    created_at: datetime
    updated_at: datetime
    artifact_count: int = 0
    project_public: bool = False


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag."""

    id: int
    repository_id: int
    artifact_id: int
    name: str
    pushed_at: datetime
    pulled_at: datetime | None
    immutable: bool = False  # only where it was asked for


@dataclass(frozen=True, slots=True)
class Accessory:
    """An artifact that belongs to another one: a signature, an SBOM."""

    id: int
    subject_id: int
    subject_digest: str
    digest: str
    size: int  # bytes
    type: str
    created_at: datetime
    icon: str = ""  # digest


@dataclass(frozen=True, slots=True)
class Child:
    """What a list says of a manifest inside an index."""

    type: str
    size: int  # bytes
    pulled_at: datetime | None
    accessories: Sequence[Accessory] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """A child of an index."""

    parent_id: int
    child_id: int
    child_digest: str
    platform: Mapping[str, Any] | None
    child: Child | None = None  # only where it was asked for


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest as a user sees it."""

    id: int
    project_id: int
    repository_id: int
    repository_name: str
    digest: str
    media_type: str  # of the manifest
    config_media_type: str
    artifact_type: str
    total_size: int  # bytes
    annotations: Mapping[str, Any]
    pushed_at: datetime
    pulled_at: datetime | None
    subject_digest: str | None = None
    references: Sequence[Reference] = ()
    tags: Sequence[Tag] = ()
    accessories: Sequence[Accessory] = ()
    labels: Sequence[Label] = ()  # when they were asked for
    type: str = field(default="UNKNOWN")
    icon: str = ""  # digest
    extra_attrs: str | None = None  # a JSON object; None: nobody has read it yet
    additions: Sequence[str] = ()  # names of those that there may be
    attached: Sequence[Accessory] | None = None  # see details.attached, when it was asked for
