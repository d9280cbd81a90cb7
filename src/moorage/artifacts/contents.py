"""Reading what an artifact is made of, for those who show it: manifests and blobs, within bounds.

A short read finds the rows; the bytes come afterwards, without a connection to the database.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, select

from moorage.artifacts.records import Blob
from moorage.artifacts.repositories import listed
from moorage.artifacts.types.processor import MAX_DOCUMENT, Addition, Document, parse
from moorage.blobstore.base import BlobStore
from moorage.db.dialects import Dialect
from moorage.db.prepared import Prepared
from moorage.db.tables import blobs, manifest_blobs, manifests, tags
from moorage.db.transactions import Tx
from moorage.errors import BlobUnknown, ManifestUnknown, TooLarge
from moorage.oci.digest import is_digest


def rows() -> Select[Any]:
    """Manifests with their media types and payloads."""
    return select(
        manifests.c.id,
        manifests.c.repository_id,
        manifests.c.digest,
        manifests.c.media_type,
        manifests.c.config_media_type,
        manifests.c.artifact_type,
        manifests.c.payload,
    )


async def find(tx: Tx, repository: str, reference: str) -> Any:
    """The row of the manifest of a tag or digest; raises RepositoryUnknown, ManifestUnknown."""
    place = await listed(tx, repository)
    query = _BY_REFERENCE.of(reference)
    found = await tx.select(query, repository_id=place.id, reference=reference)
    if not found:
        raise ManifestUnknown(f"artifact {repository}:{reference} not found")
    return found[0]


async def blobs_of(
    tx: Tx, ids: Sequence[int], digests: Sequence[str] | None = None
) -> Mapping[int, Mapping[str, Blob]]:
    """The blobs that manifests refer to, by digest; those of `digests` only, if given."""
    many = tx.dialect.many
    if digests is None:
        every = await tx.select(_BLOBS, ids=many(ids))
    else:
        every = await tx.select(_THOSE_BLOBS, ids=many(ids), digests=many(digests))
    found: dict[int, dict[str, Blob]] = {}
    for row in every:
        blob = Blob(row.digest, row.size, row.storage_key)
        found.setdefault(row.manifest_id, {})[row.digest] = blob
    return found


# --- statements


class ByReference:
    """Statements that find a manifest of a repository by its digest, or by a tag.

    `rows` selects what is read of it; their parameters are `repository_id` and `reference`.
    """

    def __init__(self, rows: Callable[[], Select[Any]]) -> None:
        reference: BindParameter[str] = bindparam("reference")
        self._by_digest = Prepared(
            lambda _: rows().where(
                manifests.c.repository_id == bindparam("repository_id"),
                manifests.c.digest == reference,
            )
        )
        # The repository of the tag: by that of the manifest, each of its manifests is looked at.
        self._by_tag = Prepared(
            lambda _: (
                rows()
                .join(tags, tags.c.manifest_id == manifests.c.id)
                .where(tags.c.repository_id == bindparam("repository_id"), tags.c.name == reference)
            )
        )

    def of(self, reference: str) -> Prepared:
        """The one that understands it."""
        return self._by_digest if is_digest(reference) else self._by_tag


_BY_REFERENCE = ByReference(rows)


def _held(dialect: Dialect) -> Select[Any]:
    return (
        select(manifest_blobs.c.manifest_id, blobs.c.digest, blobs.c.size, blobs.c.storage_key)
        .join(blobs, blobs.c.digest == manifest_blobs.c.digest)
        .where(dialect.among(manifest_blobs.c.manifest_id, "ids"), blobs.c.state == "live")
    )


_BLOBS = Prepared(_held)
_THOSE_BLOBS = Prepared(
    lambda dialect: _held(dialect).where(dialect.among(blobs.c.digest, "digests"))
)


class Stored:
    """One manifest and the blobs that it refers to."""

    def __init__(self, store: BlobStore, payload: bytes, held: Mapping[str, Blob]) -> None:
        self.manifest: Document = parse(payload)
        self._store = store
        self._held = held

    async def read(self, blob: Document, most: int = MAX_DOCUMENT) -> bytes:
        """All bytes of the blob of a descriptor; raises BlobUnknown, TooLarge, Unavailable."""
        return await read(self._store, self._find(blob, most))

    async def stream(self, blob: Document, most: int | None = None) -> Addition:
        """The same in pieces."""
        found = self._find(blob, most)
        return Addition("", found.size, await _begun(self._store.read(found.storage_key)))

    def _find(self, blob: Document, most: int | None) -> Blob:
        digest = blob.get("digest", "")
        found = self._held.get(digest)
        if found is None:
            raise BlobUnknown(f"the content {digest} of this artifact is not here")
        if most is not None and found.size > most:
            raise TooLarge(f"{digest} has {found.size} bytes; at most {most} are read")
        return found


async def read(store: BlobStore, blob: Blob) -> bytes:
    """All bytes of a blob, which the caller knows to be small."""
    return b"".join([piece async for piece in store.read(blob.storage_key, 0, blob.size)])


async def _begun(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same pieces, the first of which is there; raises what it raises.

    Whoever sends them on has to know that there are some before it says so.
    """
    first = await anext(pieces, b"")

    async def all_of_them() -> AsyncGenerator[bytes, None]:
        try:
            yield first
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    return all_of_them()
