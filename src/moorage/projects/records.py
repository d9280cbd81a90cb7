"""Values that cross the border of `projects`; rows stay inside."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from moorage.projects.selectors import Selectors


@dataclass(frozen=True, slots=True)
class ProjectRef:
    """What a permission decision needs to know of a project: small enough for every cache."""

    id: int
    name: str
    public: bool
    created_at: float = 0.0  # seconds since 1970: older tokens do not open this project
    registry_id: int = 0  # of the registry that it is a cache of; 0: none


@dataclass(frozen=True, slots=True)
class Project:
    """A project as its members see it."""

    id: int
    name: str
    public: bool
    owner_id: int
    owner_name: str
    created_at: datetime
    updated_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)  # without `public`
    repositories: int = 0  # how many are listed
    role_ids: tuple[int, ...] = ()  # of the caller who asked, the one with the most rights first
    registry_id: int = 0  # of the registry that it is a cache of; 0: none


@dataclass(frozen=True, slots=True)
class Member:
    """The role of one user, or of one group, in one project."""

    id: int
    project_id: int
    role_id: int
    kind: Literal["u", "g"]  # user or group
    entity_id: int  # of the user or the group
    name: str


@dataclass(frozen=True, slots=True)
class GroupName:
    """A group of users: by id, by the DN of one of LDAP, or by kind and name."""

    id: int = 0
    ldap_dn: str = ""
    kind: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """A label that artifacts can carry."""

    id: int
    project_id: int | None  # None: global, for the artifacts of every project
    name: str
    description: str
    color: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ImmutableRule:
    """Which tags of one project neither move nor go."""

    id: int
    project_id: int
    disabled: bool
    priority: int  # for lists only: one rule that covers a tag is enough
    repositories: Selectors
    tags: Selectors


@dataclass(frozen=True, slots=True)
class Quota:
    """The storage quota of one project, in bytes."""

    id: int
    project_id: int
    project_name: str
    owner_name: str
    hard: int  # -1: unlimited
    used: int
    created_at: datetime
    updated_at: datetime
