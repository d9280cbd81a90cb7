"""The two ends of a replication, alike to whoever copies between them.

here     this registry: its own domain, without a face in between
there    another one, over the wire
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

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


class Turns:
    """Locks by name, for as long as somebody holds or wants them."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, float], asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str, rate: float) -> asyncio.Lock:
        """The one of that name, among those of equal speed."""
        return self._locks.setdefault((name, rate), asyncio.Lock())


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

    def turn(self, repository: str, digest: str, rate: float) -> asyncio.Lock:
        """Held while a blob is looked for and stored: whoever wants the same waits, and has it.

        `rate` is that of the throttle: nobody waits for a slower one.
        """

    async def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """Whether a blob is there, or can be without that bytes move."""

    async def write(
        self, repository: str, digest: str, size: int, read: Read, how: Sending
    ) -> None:
        """Store a blob."""

    async def put(self, repository: str, found: Fetched, tags: Sequence[str]) -> None:
        """Store a manifest, under these tags."""

    async def unlisted(self, repository: str, subject: str, wanted: Sequence[str]) -> Sequence[str]:
        """Of referrers that are there, those that its list lacks because writers overtook it."""

    async def enlist(self, repository: str, subject: str, referrers: Sequence[Fetched]) -> None:
        """Add referrers to that list."""

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
