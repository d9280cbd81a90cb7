"""Values that cross the border of `artifacts`; rows stay inside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that one repository may read."""

    digest: str
    size: int  # bytes
    storage_key: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a tag or digest names in one repository: small enough for every cache."""

    repository_id: int
    manifest_id: int
    digest: str
    media_type: str
    size: int  # bytes of the manifest itself


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest with its exact bytes."""

    resolved: Resolved
    payload: bytes


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session as its client sees it."""

    id: str
    offset: int  # bytes that are safe; the next chunk starts here


@dataclass(frozen=True, slots=True)
class Pushed:
    """The outcome of a manifest push."""

    digest: str
    tags: tuple[str, ...]  # the tags that now point at it
    subject: str | None  # digest of the manifest that it refers to


@dataclass(frozen=True, slots=True)
class Referrer:
    """One entry of a referrers list: an OCI descriptor."""

    digest: str
    media_type: str
    size: int
    artifact_type: str
    annotations: Mapping[str, Any]
