"""The read side of projects that are a cache: what `Pulls` offers, through to the registry behind.

digest, here                   answered from here
tag, looked at within the TTL  answered from here
tag otherwise                  HEAD there ─► same digest: from here
                                         ─► another: fetched, kept, answered
                                         ─► 429, 5xx, no answer: from here, if it is
                                         ─► 404: not found, or from here as the project says
blob, not here                 one download, streamed to all who wait, and kept
"""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, exists, select

from moorage.access.principals import Principal
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.pulls import Pulls
from moorage.artifacts.records import Blob, Manifest, Resolved
from moorage.artifacts.uploads import Uploads
from moorage.db.dialects import Dialect
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import (
    manifest_absences,
    manifests,
    project_content,
    projects,
    quotas,
    repositories,
    repository_blobs,
)
from moorage.errors import (
    BlobUnknown,
    Denied,
    Invalid,
    ManifestUnknown,
    MoorageError,
    NotFound,
    TooManyRequests,
    Unreachable,
)
from moorage.oci import digest as digests
from moorage.oci import media_types, names
from moorage.oci.manifest import parse
from moorage.oci.names import project_of
from moorage.proxy.downloads import OPERATOR, Downloads, Turn, Wanted
from moorage.proxy.flights import Flights
from moorage.proxy.leases import Alone
from moorage.proxy.proxies import PAUSED, Proxies, Upstream
from moorage.remotes import Fetched

log = logging.getLogger(__name__)

REMEMBERED = 100_000
"""Tags of which this process knows when they were looked at."""
AWAY = (Unreachable, TooManyRequests, Denied)


@dataclass(frozen=True, slots=True)
class Pending(Blob):
    """A blob that is not here yet."""

    repository: str
    about: "About | None" = None  # None: it is on its way


@dataclass(frozen=True, slots=True)
class About:
    """What was known here of a blob that its repository lacks, when `ended` downloads had ended."""

    size: int
    near: bool  # whether another repository of the project holds it
    fits: bool  # into the project's quota
    ended: int


class Counted:
    """`Through` for those who fetch blobs: counts which of them were here."""

    def __init__(self, through: "Through") -> None:
        self._through = through
        self.manifest, self.count = through.manifest, through.count
        self.content, self.path, self.presign = through.content, through.path, through.presign

    async def blob(self, repository: str, digest: str) -> Blob:
        """As `Through.blob`."""
        found = await self._through.blob(repository, digest)
        project, hit = project_of(repository), not isinstance(found, Pending)
        self._through.counters.looked(project, "blob", hit=hit)
        if hit:
            self._through.counters.spared_bytes.labels(project).inc(found.size)
        return found


class Through:
    """As `Pulls`, for projects that are a cache."""

    def __init__(
        self,
        db: Database,
        proxies: Proxies,
        pulls: Pulls,
        uploads: Uploads,
        manifests: Manifests,
        ttl: float,
        folder: Path | None = None,
        turn: Turn | None = None,
    ) -> None:
        """`uploads` and `manifests` have to allow what is not whole yet."""
        self._db = db
        self.proxies = proxies
        self._pulls = pulls
        self._uploads = uploads
        self._manifests = manifests
        self.ttl = ttl
        self.counters = proxies.counters
        self._downloads = Downloads(folder, turn or Turn(Alone(), 0), self.counters)
        self._looked: dict[tuple[str, str], float] = {}
        self._flights: Flights[Manifest] = Flights()
        self._looks: Flights[About | None] = Flights()

    async def close(self) -> None:
        """End downloads, and close connections."""
        await self._downloads.close()
        await self.proxies.close()

    # --- manifests

    async def manifest(self, repository: str, reference: str) -> Manifest:
        """As `Pulls.manifest`; raises Unreachable, TooManyRequests too."""
        by_digest = digests.is_digest(reference)
        if by_digest:
            digests.parse(reference)
        else:
            names.check_tag(reference)
        upstream = await self.proxies.of(repository)
        upstream.name(repository)  # the filter is for what is here too
        local = await self._local(repository, reference)
        found = local
        if local is None or not (by_digest or self._fresh(repository, reference)):
            if local is not None and not upstream.reachable(self.proxies.monotonic()):
                self.counters.stale.labels(upstream.project, "manifest").inc()
            else:
                found = await self._flights.join(
                    (repository, reference),
                    lambda: self._fetch(upstream, repository, reference, local),
                )
        assert found is not None
        hit = local is not None and found.resolved.digest == local.resolved.digest
        self.counters.looked(upstream.project, "manifest", hit=hit)
        return found

    async def _local(self, repository: str, reference: str) -> Manifest | None:
        try:
            return await self._pulls.manifest(repository, reference)
        except NotFound:
            return None

    async def _fetch(
        self, upstream: Upstream, repository: str, reference: str, local: Manifest | None
    ) -> Manifest:
        name = upstream.name(repository)
        tag = "" if digests.is_digest(reference) else reference
        try:
            digest = reference
            if tag:
                listed = await upstream.remote.head(name, tag, again=local is None)
                if listed is None:
                    return self._gone(upstream, repository, reference, local)
                digest = listed.digest
                if local is not None and digest == local.resolved.digest:
                    self._note(repository, tag)
                    return local
                known = await self._local(repository, digest)
                if known is not None:
                    fetched = Fetched(digest, known.resolved.media_type, known.payload)
                    return await self._keep(repository, tag, fetched)
            fetched = await upstream.remote.manifest(name, digest)
        except NotFound:
            return self._gone(upstream, repository, reference, local)
        except (*AWAY, Invalid) as error:  # also what is not what it says
            if isinstance(error, Unreachable):
                upstream.down_until = self.proxies.monotonic() + PAUSED
            if local is None:
                raise told(error) from error
            self.counters.stale.labels(upstream.project, "manifest").inc()
            log.warning("%s:%s is served as it was: %s", repository, reference, error.message)
            return local
        return await self._keep(repository, tag, fetched)

    def _gone(
        self, upstream: Upstream, repository: str, reference: str, local: Manifest | None
    ) -> Manifest:
        if local is not None and upstream.keeps:
            return local
        raise ManifestUnknown(
            f"{reference} not found in {repository}", detail={"reference": reference}
        )

    async def _keep(self, repository: str, tag: str, fetched: Fetched) -> Manifest:
        """Store what came; what cannot be stored is served all the same."""
        try:
            await self._manifests.put(
                OPERATOR,
                repository,
                fetched.digest,
                fetched.payload,
                fetched.media_type,
                tags=(tag,) if tag else (),
            )
            if tag:
                self._note(repository, tag)
            return await self._pulls.manifest(repository, fetched.digest)
        except MoorageError as error:
            log.warning("%s@%s is not kept: %s", repository, fetched.digest, error.message)
        resolved = Resolved(0, 0, fetched.digest, _type(fetched), len(fetched.payload))
        return Manifest(resolved, fetched.payload)

    def count(self, resolved: Resolved, reference: str, principal: Principal) -> None:
        """Count a pull of what is kept."""
        if resolved.manifest_id:
            self._pulls.count(resolved, reference, principal)

    def _fresh(self, repository: str, tag: str) -> bool:
        return self._looked.get((repository, tag), -1e9) > self.proxies.monotonic() - self.ttl

    def _note(self, repository: str, tag: str) -> None:
        self._looked.pop((repository, tag), None)
        while len(self._looked) >= REMEMBERED:
            del self._looked[next(iter(self._looked))]
        self._looked[repository, tag] = self.proxies.monotonic()

    # --- blobs

    async def blob(self, repository: str, digest: str) -> Blob:
        """A blob that is here, or one that will be read through."""
        digests.parse(digest)
        upstream = await self.proxies.of(repository)
        name = upstream.name(repository)
        try:
            return await self._pulls.blob(repository, digest)
        except BlobUnknown:
            pass
        running = self._downloads.find(repository, digest)
        if running is not None:
            return Pending(digest, running.size, "", repository)
        about = await self._looks.join(
            (repository, digest), lambda: self._about(upstream, name, repository, digest)
        )
        if about is None:
            raise BlobUnknown(detail={"digest": digest})
        if not about.size and digests.of(b"", digests.parse(digest)[0]) != digest:
            # Nothing would have to be downloaded, so nothing would be compared either.
            raise Unreachable("the registry behind this project does not tell a blob's length")
        return Pending(digest, about.size, "", repository, about)

    async def _about(
        self, upstream: Upstream, name: str, repository: str, digest: str
    ) -> About | None:
        """The length is that of a manifest here, else the registry behind tells it; None: nobody.

        One statement: whoever asks waits for the first byte meanwhile.
        """
        ended = self._downloads.ended
        async with self._db.read() as tx:
            rows = await tx.fetch(
                _ABOUT, repository=repository, project=upstream.project, digest=digest
            )
        size, near, counted, hard, used = rows[0] if rows else (None, False, True, -1, 0)
        if size is None:
            try:
                size = await upstream.remote.blob_size(name, digest)
            except (*AWAY, Invalid) as error:
                raise told(error) from error
        if size is None:
            return None
        fits = bool(counted) or await self._uploads.fits(int(size), hard, used)
        return About(int(size), bool(near), fits, ended)

    async def content(
        self, blob: Blob, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """Bytes [start, end) of a blob, from here or as they come."""
        if not isinstance(blob, Pending):
            async for part in self._pulls.content(blob, start, end):
                yield part
            return
        running = self._downloads.find(blob.repository, blob.digest)
        if running is None:
            upstream = await self.proxies.of(blob.repository)
            name = upstream.name(blob.repository)
            running = self._downloads.find(blob.repository, blob.digest)
        if running is None:
            if upstream.most and upstream.running.get(blob.repository, 0) >= upstream.most:
                raise TooManyRequests(
                    f"{upstream.most} downloads of {blob.repository} run already; try again"
                )
            wanted = self._wanted(blob)
            running = self._downloads.begin(upstream, name, wanted, self._pulls, self._uploads)
        stop = blob.size if end is None else end
        try:
            async with aclosing(running.read(self._pulls, start, stop)) as parts:  # type: ignore[type-var]
                async for part in parts:
                    yield part
        except NotFound as error:
            raise BlobUnknown(detail={"digest": blob.digest}) from error
        except (*AWAY, Invalid) as error:
            raise told(error) from error

    def _wanted(self, blob: Pending) -> Wanted:
        """What a download has to look for, and to store."""
        about, downloads = blob.about, self._downloads
        # Whatever was stored since it was looked up came by a download that ended since.
        known = about is not None and downloads.alone and downloads.ended == about.ended
        near = about is None or about.near or not known
        fits = about is None or about.fits
        return Wanted(blob.repository, blob.digest, blob.size, near, fits)

    def path(self, blob: Blob) -> Path | None:
        """The file of what is here."""
        return None if isinstance(blob, Pending) else self._pulls.path(blob)

    async def presign(self, blob: Blob, filename: str) -> str | None:
        """A URL of what is here."""
        return None if isinstance(blob, Pending) else await self._pulls.presign(blob, filename)


def _about(dialect: Dialect) -> Select[Any]:
    digest: BindParameter[Any] = bindparam("digest")
    said = (
        select(manifest_absences.c.size)
        .join(manifests, manifests.c.id == manifest_absences.c.manifest_id)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.name == bindparam("repository"), manifest_absences.c.digest == digest)
        .limit(1)
        .scalar_subquery()
    )
    near = exists().where(
        repository_blobs.c.digest == digest,
        repositories.c.id == repository_blobs.c.repository_id,
        repositories.c.project_id == projects.c.id,
    )
    counted = exists().where(
        project_content.c.project_id == projects.c.id, project_content.c.digest == digest
    )
    return (
        select(said, near, counted, quotas.c.hard, quotas.c.used)
        .join_from(projects, quotas, quotas.c.project_id == projects.c.id)
        .where(projects.c.name == bindparam("project"))
    )


_ABOUT = Prepared(_about)


def _type(fetched: Fetched) -> str:
    """The media type of a manifest that is not kept; raises Unreachable for what is none.

    A registry must not choose what a browser takes an answer of this server for.
    """
    if fetched.media_type in media_types.DOCKER_SCHEMA1:
        return fetched.media_type
    try:
        return parse(fetched.payload, fetched.media_type).media_type
    except MoorageError as error:
        raise Unreachable("the registry behind this project sends what is no manifest") from error


def told(error: MoorageError) -> MoorageError:
    """What a client is told of a registry that it does not know."""
    if isinstance(error, TooManyRequests):
        return TooManyRequests("the registry behind this project has had too many requests")
    if isinstance(error, Denied):
        return Unreachable("the registry behind this project refuses its account")
    return Unreachable("the registry behind this project does not answer as it should")
