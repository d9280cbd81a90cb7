"""The facts, frozen and named in the past tense.

Fact ─┬─ of a project ──── project, members, quota
      ├─ of a repository ─ artifacts, tags
      └─ of the whole installation: users, robot accounts, settings

A fact is kept as JSON until it was handed over: its fields are plain values, and none is a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that happened."""

    operator: str  # name of the principal; empty: somebody who was not signed in


# --- content


@dataclass(frozen=True, kw_only=True)
class RepositoryFact(Fact):
    """Something that happened in a repository."""

    project_id: int
    repository: str


@dataclass(frozen=True, kw_only=True)
class ArtifactPushed(RepositoryFact):
    """A manifest was stored, or a tag was moved to it."""

    digest: str
    media_type: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ArtifactPulled(RepositoryFact):
    """A manifest was read `count` times since the last such fact."""

    digest: str
    tag: str
    count: int


@dataclass(frozen=True, kw_only=True)
class ArtifactDeleted(RepositoryFact):
    """A manifest was deleted with these tags."""

    digest: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TagDeleted(RepositoryFact):
    """A tag was removed; its manifest stays."""

    digest: str
    tag: str


@dataclass(frozen=True, kw_only=True)
class RepositoryDeleted(RepositoryFact):
    """A repository was deleted with everything in it."""


@dataclass(frozen=True, kw_only=True)
class QuotaRefused(RepositoryFact):
    """A push did not fit into the project's quota."""

    message: str


# --- projects


@dataclass(frozen=True, kw_only=True)
class ProjectFact(Fact):
    """Something that happened to a project."""

    project_id: int
    project: str


@dataclass(frozen=True, kw_only=True)
class ProjectCreated(ProjectFact):
    """A project was made."""


@dataclass(frozen=True, kw_only=True)
class ProjectUpdated(ProjectFact):
    """Settings of a project were set or removed."""

    names: list[str]


@dataclass(frozen=True, kw_only=True)
class ProjectDeleted(ProjectFact):
    """A project was deleted, with its members and robot accounts."""


@dataclass(frozen=True, kw_only=True)
class QuotaUpdated(ProjectFact):
    """The limit of a project is another now."""

    hard: int  # bytes; -1: none


@dataclass(frozen=True, kw_only=True)
class MemberCreated(ProjectFact):
    """Somebody became a member."""

    member: str
    role: str


@dataclass(frozen=True, kw_only=True)
class MemberUpdated(ProjectFact):
    """A member has another role now."""

    member: str
    role: str


@dataclass(frozen=True, kw_only=True)
class MemberDeleted(ProjectFact):
    """Somebody is a member no longer."""

    member: str


# --- accounts


@dataclass(frozen=True, kw_only=True)
class UserFact(Fact):
    """Something that happened to a user."""

    username: str


@dataclass(frozen=True, kw_only=True)
class UserCreated(UserFact):
    """A user was made."""

    sysadmin: bool = False


@dataclass(frozen=True, kw_only=True)
class UserUpdated(UserFact):
    """What `names` lists of a user was set."""

    names: list[str]
    sysadmin: bool | None = None  # when that was set


@dataclass(frozen=True, kw_only=True)
class UserDeleted(UserFact):
    """A user was deleted."""


@dataclass(frozen=True, kw_only=True)
class UserSignedIn(UserFact):
    """A session began."""


@dataclass(frozen=True, kw_only=True)
class UserSignedOut(UserFact):
    """A session was ended by its user."""


@dataclass(frozen=True, kw_only=True)
class RobotFact(Fact):
    """Something that happened to a robot account."""

    robot: str  # full name, with prefix and project
    project_id: int | None  # of a project robot


@dataclass(frozen=True, kw_only=True)
class RobotCreated(RobotFact):
    """A robot account was made."""


@dataclass(frozen=True, kw_only=True)
class RobotUpdated(RobotFact):
    """What `names` lists of a robot account was set."""

    names: list[str]


@dataclass(frozen=True, kw_only=True)
class RobotDeleted(RobotFact):
    """A robot account was deleted."""


# --- the installation


@dataclass(frozen=True, kw_only=True)
class ConfigurationUpdated(Fact):
    """Settings were changed; only their names are told."""

    names: list[str]


TYPES: Mapping[str, type[Fact]] = {
    kind.__name__: kind
    for kind in (
        ArtifactPushed,
        ArtifactPulled,
        ArtifactDeleted,
        TagDeleted,
        RepositoryDeleted,
        QuotaRefused,
        ProjectCreated,
        ProjectUpdated,
        ProjectDeleted,
        QuotaUpdated,
        MemberCreated,
        MemberUpdated,
        MemberDeleted,
        UserCreated,
        UserUpdated,
        UserDeleted,
        UserSignedIn,
        UserSignedOut,
        RobotCreated,
        RobotUpdated,
        RobotDeleted,
        ConfigurationUpdated,
    )
}
"""Every fact by the name that its rows have. A replica leaves rows of other types alone."""


def load(kind: str, payload: Mapping[str, Any]) -> Fact:
    """The fact of a row; what a newer replica added to it is left out. Raises KeyError."""
    known = TYPES[kind]
    names = {each.name for each in fields(known)}
    return known(**{name: value for name, value in payload.items() if name in names})
