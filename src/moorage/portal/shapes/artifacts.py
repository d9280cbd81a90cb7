"""Repositories, artifacts, what is in them and what is attached to them."""

from typing import Any

from pydantic import Field

from moorage.portal.shapes.shape import Moment, Shape


class Repository(Shape):
    """A repository."""

    id: int = 0
    project_id: int = 0
    name: str = ""
    description: str = ""
    artifact_count: int = 0
    pull_count: int = 0
    creation_time: Moment = None
    update_time: Moment = None

    @property
    def short(self) -> str:
        """The name within the project."""
        return self.name.partition("/")[2]


class FoundArtifact(Shape):
    """An artifact that a search found, by a tag or by its digest."""

    project_id: int = 0
    repository_name: str = ""
    tag: str = ""
    digest: str = ""
    type: str = ""
    size: int = 0
    push_time: Moment = None
    pull_time: Moment = None


class Platform(Shape):
    """What an image runs on."""

    architecture: str = ""
    os: str = ""
    variant: str = ""

    @property
    def name(self) -> str:
        """As clients write it: linux/arm64/v8."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Label(Shape):
    """A label."""

    id: int = 0
    name: str = ""
    description: str = ""
    color: str = ""
    scope: str = ""
    creation_time: Moment = None


class Tag(Shape):
    """A tag."""

    id: int = 0
    artifact_id: int = 0
    name: str = ""
    push_time: Moment = None
    pull_time: Moment = None
    immutable: bool = False


class Accessory(Shape):
    """An artifact whose subject is another one."""

    id: int = 0
    subject_artifact_digest: str = ""
    size: int = 0
    digest: str = ""
    type: str = ""
    creation_time: Moment = None


class Inside(Shape):
    """What an artifact inside an index is."""

    type: str = ""
    size: int = 0
    pull_time: Moment = None
    accessories: list[Accessory] = Field(default_factory=list)


class Child(Shape):
    """An artifact inside an index."""

    child_digest: str = ""
    platform: Platform | None = None
    child: Inside | None = None
    """Of the first thousand on a page."""


class Artifact(Shape):
    """An artifact."""

    id: int = 0
    type: str = ""
    media_type: str = ""
    manifest_media_type: str = ""
    artifact_type: str = ""
    repository_name: str = ""
    digest: str = ""
    size: int = 0
    push_time: Moment = None
    pull_time: Moment = None
    extra_attrs: dict[str, Any] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    references: list[Child] = Field(default_factory=list)
    tags: list[Tag] = Field(default_factory=list)
    labels: list[Label] = Field(default_factory=list)
    addition_links: dict[str, Any] = Field(default_factory=dict)
    accessories: list[Accessory] = Field(default_factory=list)
    attached: list[Accessory] = Field(default_factory=list)
    """To those, and to these in turn, where that was asked for."""

    @property
    def platforms(self) -> list[str]:
        """What it runs on: of an index, of its children; attestations run on nothing."""
        names = [each.platform.name for each in self.references if each.platform]
        known = [name for name in names if name and "unknown" not in name]
        if known:
            return known
        own = [_text(self.extra_attrs.get(name)) for name in ("os", "architecture")]
        return ["/".join(filter(None, own))] if any(own) else []


class NamedTag(Tag):
    """A tag in the list of those of a repository."""

    digest: str = ""
    artifact: Artifact | None = None
    """With the first of its tags only."""


class Layer(Shape):
    """A layer of an image, or a step of its build that made none."""

    digest: str = ""
    media_type: str = ""
    size: int = 0
    command: str = ""
    created: str = ""
    shared: int = 0


class File(Shape):
    """A file of a model."""

    name: str = ""
    type: str = ""
    size: int = 0


class Dependency(Shape):
    """A chart that another one needs."""

    name: str = ""
    version: str = ""
    repository: str = ""


class Trashed(Shape):
    """A deleted artifact."""

    id: int = 0
    repository_name: str = ""
    digest: str = ""
    manifest_media_type: str = ""
    tags: list[str] = Field(default_factory=list)
    deleted_by: str = ""
    deleted_at: Moment = None
    expires_at: Moment = None


class Restored(Shape):
    """An artifact that came back."""

    digest: str = ""
    tags: list[str] = Field(default_factory=list)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
