"""Reading: from a name to bytes with as few look-ups as can be.

tag, digest ─► Resolved (cached, ended by writers) ─► payload (by digest, in this process)
digest ──────► Blob     (cached, ended by the collector) ─► file, URL or stream
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from sqlalchemy import bindparam, select

from moorage.access.principals import Principal
from moorage.artifacts.kinds import BLOB, MANIFEST, TAG
from moorage.artifacts.records import Blob, Manifest, Resolved
from moorage.artifacts.repositories import listed
from moorage.artifacts.statistics import PullCounts
from moorage.blobstore.base import BlobStore
from moorage.cache.base import Cache
from moorage.cache.lru import BytesLRU
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import blobs, manifests, repositories, repository_blobs, tags
from moorage.errors import BlobUnknown, ManifestUnknown
from moorage.oci import digest as digests
from moorage.oci import names

PRESIGNED = 1200
"""Seconds for which a redirect to the store works."""


class Source(Protocol):
    """What a face reads manifests and blobs from; `Pulls` says what each means."""

    async def manifest(self, repository: str, reference: str) -> Manifest: ...

    async def blob(self, repository: str, digest: str) -> Blob: ...

    def content(
        self, blob: Blob, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]: ...

    def path(self, blob: Blob) -> Path | None: ...

    async def presign(self, blob: Blob, filename: str) -> str | None: ...

    def count(self, resolved: Resolved, reference: str, principal: Principal) -> None: ...


class Pulls:
    """The read side of `/v2/<name>/manifests` and `/v2/<name>/blobs`."""

    def __init__(
        self,
        db: Database,
        store: BlobStore,
        cache: Cache,
        counts: PullCounts,
        payloads: BytesLRU,
        presigned: int = PRESIGNED,
    ) -> None:
        self._db = db
        self._store = store
        self._cache = cache
        self._counts = counts
        self._payloads = payloads
        self._presigned = presigned

    def peek(self, repository: str, reference: str) -> Manifest | None:
        """A manifest, if this process may answer without asking anybody."""
        kind = MANIFEST if ":" in reference else TAG
        resolved = self._cache.peek(kind, f"{kind.name}:{repository}:{reference}")
        if resolved is None:
            return None
        payload = self._payloads.get(resolved.digest)
        return None if payload is None else Manifest(resolved, payload)

    async def manifest(self, repository: str, reference: str) -> Manifest:
        """The manifest of a tag or digest.

        Raises RepositoryUnknown, ManifestUnknown, DigestInvalid, TagInvalid.
        """
        resolved = await self.resolve(repository, reference)
        payload = self._payloads.get(resolved.digest)
        if payload is None:
            async with self._db.read() as tx:
                rows = await tx.fetch(_PAYLOAD, manifest=resolved.manifest_id)
            if not rows:
                raise ManifestUnknown(detail={"reference": reference})
            payload = bytes(rows[0][0])
            self._payloads.put(resolved.digest, payload)
        return Manifest(resolved, payload)

    async def resolve(self, repository: str, reference: str) -> Resolved:
        """What a tag or digest names; raises as `manifest`."""
        resolved = await self.find(repository, reference)
        if resolved is None:
            await self._check_repository(repository)
            raise ManifestUnknown(
                f"{reference} not found in {repository}", detail={"reference": reference}
            )
        return resolved

    async def find(self, repository: str, reference: str) -> Resolved | None:
        """The same, None where it names nothing; raises DigestInvalid, TagInvalid."""
        if digests.is_digest(reference):
            digests.parse(reference)
            kind, query = MANIFEST, _BY_DIGEST
        else:
            names.check_tag(reference)
            kind, query = TAG, _BY_TAG

        async def load() -> Resolved | None:
            async with self._db.read() as tx:
                rows = await tx.fetch(query, repository=repository, reference=reference)
            return Resolved(*rows[0]) if rows else None

        return await self._cache.through(kind, kind.key(repository, reference), load)

    async def _check_repository(self, name: str) -> None:
        async with self._db.read() as tx:
            await listed(tx, name)

    async def blob(self, repository: str, digest: str) -> Blob:
        """A blob that the repository holds; raises BlobUnknown, also for those of others."""
        digests.parse(digest)

        async def load() -> Blob | None:
            async with self._db.read() as tx:
                rows = await tx.fetch(_BLOB, repository=repository, digest=digest)
            return Blob(*rows[0]) if rows else None

        blob = await self._cache.through(BLOB, BLOB.key(repository, digest), load)
        if blob is None:
            raise BlobUnknown(detail={"digest": digest})
        return blob

    def content(self, blob: Blob, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes `[start, end)` of a blob; raises BlobUnknown, StorageUnavailable."""
        return self._store.read(blob.storage_key, start, end)

    def path(self, blob: Blob) -> Path | None:
        """The blob's file, where the store has files."""
        return self._store.path(blob.storage_key)

    async def presign(self, blob: Blob, filename: str) -> str | None:
        """A URL from which the client may read the blob itself; None: stream it."""
        return await self._store.presign(
            blob.storage_key, seconds=self._presigned, filename=filename
        )

    def count(self, resolved: Resolved, reference: str, principal: Principal) -> None:
        """Count a pull; only in memory, written in batches."""
        self._counts.add(resolved, reference, principal.name)


_RESOLVED = (
    repositories.c.id.label("repository_id"),
    manifests.c.id,
    manifests.c.digest,
    manifests.c.media_type,
    manifests.c.payload_size,
)


_BY_DIGEST = Prepared(
    lambda dialect: (
        select(*_RESOLVED)
        .join_from(repositories, manifests, manifests.c.repository_id == repositories.c.id)
        .where(
            repositories.c.name == bindparam("repository"),
            manifests.c.digest == bindparam("reference"),
        )
    )
)
_BY_TAG = Prepared(
    lambda dialect: (
        select(*_RESOLVED)
        .join_from(repositories, tags, tags.c.repository_id == repositories.c.id)
        .join(manifests, manifests.c.id == tags.c.manifest_id)
        .where(
            repositories.c.name == bindparam("repository"), tags.c.name == bindparam("reference")
        )
    )
)
_PAYLOAD = Prepared(
    lambda dialect: select(manifests.c.payload).where(manifests.c.id == bindparam("manifest"))
)
_BLOB = Prepared(
    lambda dialect: (
        select(blobs.c.digest, blobs.c.size, blobs.c.storage_key)
        .join(repository_blobs, repository_blobs.c.digest == blobs.c.digest)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(
            repositories.c.name == bindparam("repository"),
            blobs.c.digest == bindparam("digest"),
            blobs.c.state == "live",
        )
    )
)
