"""The two ends of a replication, alike to whoever copies between them.

here     this registry: its own domain, without a face in between
there    another one, over the wire
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from moorage.artifacts import types
from moorage.errors import MoorageError
from moorage.oci.manifest import parse
from moorage.remotes import Fetched
from moorage.remotes.throttle import Throttle
from moorage.replication import filters

CHUNK = 10 << 20
"""Bytes of one request, where a policy copies by chunks."""

Read = Callable[[int, int], AsyncIterator[bytes]]
Sessions = dict[str, str]
"""Digest → where an interrupted upload of it had come to."""
Remember = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sending:
    """How a blob goes over."""

    throttle: Throttle
    chunked: bool
    sessions: Sessions
    remember: Remember


class Side(Protocol):
    """One end."""

    async def manifest(self, repository: str, reference: str) -> Fetched:
        """Raises NotFound."""

    async def digest_of(self, repository: str, reference: str) -> str:
        """What a tag or digest names; empty: nothing."""

    async def referrers(self, repository: str, digest: str) -> Sequence[str]:
        """Digests of the manifests whose subject it is."""

    def read(self, repository: str, digest: str, size: int) -> Read:
        """The bytes of a blob."""

    async def ensure(self, repository: str) -> None:
        """Make the project of a repository, if need be."""

    async def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """Whether a blob is there, or can be without that bytes move."""

    async def write(
        self, repository: str, digest: str, size: int, read: Read, how: Sending
    ) -> None:
        """Store a blob."""

    async def put(self, repository: str, found: Fetched, tags: Sequence[str]) -> None:
        """Store a manifest, under these tags."""

    async def delete(self, repository: str, reference: str) -> None:
        """Delete a manifest or a tag; raises NotFound."""

    async def close(self) -> None:
        """Let go of connections."""


def ties(found: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Digest → the tags by which cosign tied something to it."""
    ties: dict[str, tuple[str, ...]] = {}
    for tag in found:
        subject = filters.subject_of(tag)
        if subject and "." in tag:  # without an end it stands for a list of referrers
            ties[subject] = (*ties.get(subject, ()), tag)
    return ties


def kind_of(found: Fetched) -> str:
    """Harbor's word for what a manifest is."""
    try:
        parsed = parse(found.payload, found.media_type)
    except MoorageError:
        return ""
    config = types.config_type(parsed)
    return types.of(parsed.media_type, config, parsed.artifact_type or parsed.config_media_type)
