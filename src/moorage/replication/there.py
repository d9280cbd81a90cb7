"""Another registry, as an end of a replication."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from moorage.errors import Denied, Invalid, NotFound
from moorage.oci import digest as digests
from moorage.remotes import Fetched, Listed, Remote
from moorage.replication import filters
from moorage.replication.records import Artifact, Filter
from moorage.replication.sides import CHUNK, Read, Sending, Turns, kind_of, ties

HELD, MOST = 300.0, 10_000
"""Seconds for which a blob that was found there is believed to be there, and how many."""
LOOKS = 8
"""Tags that are looked up at once."""


class Known:
    """Blobs that were found or stored at a registry a moment ago, by any task."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], float] = {}
        self._places: dict[str, str] = {}
        self.turns = Turns()

    def has(self, repository: str, digest: str) -> bool:
        """Whether nobody has to ask."""
        return self._held.get((repository, digest), 0.0) > time.monotonic()

    def place(self, digest: str) -> str:
        """A repository that had a blob; empty: none is known."""
        return self._places.get(digest, "")

    def note(self, repository: str, digest: str) -> None:
        """It is there."""
        for known in (self._held, self._places):
            while len(known) >= MOST:
                del known[next(iter(known))]  # type: ignore[arg-type]
        self._held[repository, digest] = time.monotonic() + HELD
        self._places[digest] = repository

    def doubt(self) -> None:
        """Ask after each of them again."""
        self._held.clear()


class There:
    """Another registry."""

    def __init__(self, remote: Remote, known: Known) -> None:
        self.remote = remote
        self._ensured: set[str] = set()
        self._known = known

    async def manifest(self, repository: str, reference: str) -> Fetched:
        """Raises NotFound."""
        return await self.remote.manifest(repository, reference)

    async def digest_of(self, repository: str, reference: str) -> str:
        """By a HEAD, which no registry counts as a pull."""
        try:
            listed = await self.remote.head(repository, reference)
        except Denied:  # as of a project that is not there yet
            known = self.remote.adapter.has_project
            if known is None or await known(self.remote, repository):
                raise
            return ""
        return listed.digest if listed else ""

    async def referrers(self, repository: str, digest: str) -> Sequence[str]:
        """By the API, or the tag in its place."""
        return [each.digest for each in await self.remote.referrers(repository, digest)]

    def read(self, repository: str, digest: str, size: int) -> Read:
        """Streamed, and resumed where it is cut."""

        async def parts(start: int, end: int) -> AsyncIterator[bytes]:
            left = end - start
            async with aclosing(self.remote.blob(repository, digest, size, start)) as found:  # type: ignore[type-var]
                async for part in found:
                    yield part[:left]
                    left -= len(part)
                    if left <= 0:
                        return

        return parts

    async def ensure(self, repository: str) -> None:
        """Where this kind of registry has projects, or takes no push into what is not made."""
        if self.remote.adapter.ensure is not None and repository not in self._ensured:
            await self.remote.adapter.ensure(self.remote, repository)
            self._ensured.add(repository)

    async def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """By a HEAD, unless another artifact has just asked; or by a mount."""
        if self._known.has(repository, digest):
            return True
        found = await self.remote.has_blob(repository, digest)
        if found is not None and found not in (0, size):
            raise Invalid(
                f"{self.remote.endpoint.host} holds {digest} with {found} bytes in place of {size}"
            )
        there = found is not None or await self._mount(repository, digest)
        if there:
            self._known.note(repository, digest)
        return there

    async def _mount(self, repository: str, digest: str) -> bool:
        """From another repository of the registry, where that is known to work, or not known."""
        source, traits = self._known.place(digest), self.remote.traits
        if source in ("", repository) or traits.mounts is False:
            return False
        mounted = await self.remote.mount(repository, digest, source)
        traits.mounts = traits.mounts or mounted
        return mounted

    def turn(self, repository: str, digest: str, rate: float) -> asyncio.Lock:
        """Of a blob in the registry."""
        return self._known.turns.of(digest, rate)

    async def write(
        self, repository: str, digest: str, size: int, read: Read, how: Sending
    ) -> None:
        """Streamed or by chunks."""

        async def remember(location: str) -> None:
            await how.remember(digest, location)

        await self.remote.push_blob(
            repository,
            digest,
            size,
            read,
            chunk=CHUNK if how.chunked and size > CHUNK else 0,
            throttle=how.throttle,
            session=how.sessions.get(digest, ""),
            remember=remember,
        )
        self._known.note(repository, digest)

    async def put(self, repository: str, found: Fetched, tags: Sequence[str]) -> None:
        """A request for each tag, or one by the digest."""
        try:
            for reference in tags or (found.digest,):
                payload = found.payload
                await self.remote.put_manifest(repository, reference, payload, found.media_type)
        except (Invalid, NotFound):  # perhaps for a blob that went meanwhile
            self._known.doubt()
            raise

    async def unlisted(self, repository: str, subject: str, wanted: Sequence[str]) -> Sequence[str]:
        """Of those whose manifests are there."""
        lacking = await self.remote.unlisted(repository, subject, wanted)
        return [each for each in lacking if each == await self.digest_of(repository, each)]

    async def enlist(self, repository: str, subject: str, referrers: Sequence[Fetched]) -> None:
        """Under the tag in place of the API."""
        await self.remote.enlist(repository, subject, referrers)

    async def delete(self, repository: str, reference: str) -> None:
        """A tag alone, where the registry knows how."""
        remove = self.remote.adapter.delete_tag
        if remove is not None and not digests.is_digest(reference):
            await remove(self.remote, repository, reference)
        else:
            await self.remote.delete(repository, reference)

    async def close(self) -> None:
        """Close connections."""
        await self.remote.close()

    # --- planning

    async def repositories(self, conditions: Sequence[Filter]) -> Sequence[str]:
        """Those that a policy is about, as far as the registry lists any."""
        names = filters.literal(conditions)
        if names is None:
            if self.remote.adapter.catalog is None:
                raise Invalid(
                    f"{self.remote.adapter.title} lists no repositories: "
                    "name them in the filter without wildcards, or with braces as in org/{a,b}"
                )
            beginning = filters.beginning(conditions)
            names = list(await self.remote.adapter.catalog(self.remote, beginning))
        return sorted({each for each in names if filters.about_repository(conditions, each)})

    async def artifacts(
        self, repository: str, conditions: Sequence[Filter]
    ) -> AsyncIterator[Artifact]:
        """Artifacts of a repository by their tags; what has none is not listed anywhere."""
        try:
            found = await self.remote.tags(repository)
        except NotFound:
            return
        tied = ties(found)
        by_digest: dict[str, Artifact] = {}
        wanted = [tag for tag in found if not filters.of_cosign(tag) and _wants(conditions, tag)]
        async for tag, listed in self._heads(repository, wanted):
            if listed is None:  # deleted meanwhile
                continue
            known = by_digest.get(listed.digest) or Artifact(
                repository,
                listed.digest,
                media_type=listed.media_type,
                attached=tied.get(listed.digest, ()),
            )
            by_digest[listed.digest] = replace(known, tags=(*known.tags, tag))
        for each in by_digest.values():
            yield await self._described(each) if filters.needs_manifest(conditions) else each

    async def _heads(
        self, repository: str, tags: Sequence[str]
    ) -> AsyncIterator[tuple[str, Listed | None]]:
        """What each tag names, in their order; several are asked at once."""
        for start in range(0, len(tags), LOOKS):
            some = tags[start : start + LOOKS]
            asked = [asyncio.create_task(self.remote.head(repository, tag)) for tag in some]
            try:
                for tag, listed in zip(some, await asyncio.gather(*asked), strict=True):
                    yield tag, listed
            finally:
                for each in asked:
                    each.cancel()
                await asyncio.gather(*asked, return_exceptions=True)

    async def _described(self, artifact: Artifact) -> Artifact:
        found = await self.remote.manifest(artifact.repository, artifact.digest)
        return replace(artifact, media_type=found.media_type, type=kind_of(found))


def _wants(conditions: Sequence[Filter], tag: str) -> bool:
    only = [each for each in conditions if each.type == "tag"]
    return filters.choose(only, Artifact("", "", (tag,))) is not None
