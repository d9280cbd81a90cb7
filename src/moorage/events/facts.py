"""The facts, frozen and named in the past tense."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that happened in a repository."""

    project_id: int
    repository: str
    operator: str  # name of the principal


@dataclass(frozen=True, kw_only=True)
class ArtifactPushed(Fact):
    """A manifest was stored, or a tag was moved to it."""

    digest: str
    media_type: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ArtifactPulled(Fact):
    """A manifest was read `count` times since the last such fact."""

    digest: str
    tag: str
    count: int


@dataclass(frozen=True, kw_only=True)
class ArtifactDeleted(Fact):
    """A manifest was deleted with these tags."""

    digest: str
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TagDeleted(Fact):
    """A tag was removed; its manifest stays."""

    digest: str
    tag: str


@dataclass(frozen=True, kw_only=True)
class RepositoryDeleted(Fact):
    """A repository was deleted with everything in it."""


@dataclass(frozen=True, kw_only=True)
class QuotaRefused(Fact):
    """A push did not fit into the project's quota."""

    message: str
