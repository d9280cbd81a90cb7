"""Steps that check what a manifest refers to, and hold it until the commit (M1).

blobs       locked FOR KEY SHARE in sorted order, linked to this repository, of the named size
children    manifests of this repository, of the named size, not too deep
subject     may be missing (OCI distribution-spec, "Pushing manifests with subject")

What may be absent (foreign layers; anything, where sparse manifests are allowed) is remembered, and
held from the moment at which it arrives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from moorage.db.prepared import Prepared
from moorage.db.tables import blobs, manifests, repository_blobs
from moorage.db.transactions import Tx
from moorage.errors import ManifestBlobUnknown, ManifestInvalid, SizeInvalid
from moorage.oci.manifest import MAX_INDEX_DEPTH, Descriptor, ParsedManifest


@dataclass(frozen=True, slots=True)
class Child:
    """A manifest that an index names."""

    id: int
    descriptor: Descriptor
    total_size: int
    depth: int


@dataclass(frozen=True, slots=True)
class References:
    """What a manifest holds on to."""

    blobs: tuple[Descriptor, ...]
    children: tuple[Child, ...]
    absent: tuple[Descriptor, ...] = ()

    @property
    def depth(self) -> int:
        """Levels of indexes below this manifest, itself included; 0 for an image."""
        return max((child.depth + 1 for child in self.children), default=0)

    def total_size(self, payload: int) -> int:
        """Bytes of the manifest and everything below it."""
        below = sum(child.total_size for child in self.children)
        return payload + below + sum(blob.size for blob in self.blobs)


async def check(
    tx: Tx, repository_id: int, parsed: ParsedManifest, *, sparse: bool = False
) -> References:
    """Lock and compare everything; raises ManifestBlobUnknown, SizeInvalid, ManifestInvalid."""
    held = await _lock_blobs(tx, repository_id, sorted(blob.digest for blob in parsed.blobs))
    children = await _children(tx, repository_id, parsed.children)
    known = held.keys() | {child.descriptor.digest for child in children}
    absent = tuple(d for d in (*parsed.blobs, *parsed.children) if d.digest not in known)
    missing = [] if sparse else [d.digest for d in absent if not d.foreign]
    if missing:
        raise ManifestBlobUnknown(
            f"push {missing[0]} to this repository first",
            detail=[{"digest": digest} for digest in missing],
        )
    present = tuple(blob for blob in parsed.blobs if blob.digest in held)
    for blob in present:
        _same_size(blob, held[blob.digest])
    references = References(present, children, absent)
    if references.depth > MAX_INDEX_DEPTH:
        raise ManifestInvalid(f"indexes nest at most {MAX_INDEX_DEPTH} levels deep")
    return references


async def _lock_blobs(tx: Tx, repository_id: int, digests: Sequence[str]) -> dict[str, int]:
    """Digest to size of those that the repository holds, locked against the collector."""
    if not digests:
        return {}
    found = await tx.fetch(_LOCK_BLOBS, digests=tx.dialect.many(digests))
    sizes: dict[str, int] = dict(found)  # type: ignore[arg-type]
    # A statement of its own: the look at the links must come after the locks were granted.
    among = tx.dialect.many(list(sizes))
    linked = await tx.fetch(_LINKED, repository=repository_id, digests=among)
    return {digest: sizes[digest] for (digest,) in linked}


_LOCK_BLOBS = Prepared(
    lambda dialect: dialect.for_key_share(
        select(blobs.c.digest, blobs.c.size)
        .where(dialect.among(blobs.c.digest, "digests"), blobs.c.state == "live")
        .order_by(blobs.c.digest)
    )
)
_LINKED = Prepared(
    lambda dialect: select(repository_blobs.c.digest).where(
        repository_blobs.c.repository_id == bindparam("repository"),
        dialect.among(repository_blobs.c.digest, "digests"),
    )
)


async def _children(tx: Tx, repository_id: int, wanted: Sequence[Descriptor]) -> tuple[Child, ...]:
    if not wanted:
        return ()
    query = (
        select(
            manifests.c.id,
            manifests.c.digest,
            manifests.c.total_size,
            manifests.c.depth,
            manifests.c.payload_size,
        )
        .where(
            manifests.c.repository_id == repository_id,
            manifests.c.digest.in_([child.digest for child in wanted]),
        )
        .order_by(manifests.c.id)
    )
    rows = await tx.execute(tx.dialect.for_key_share(query))
    found = {row.digest: row for row in rows}
    children = []
    for child in wanted:
        if (row := found.get(child.digest)) is not None:
            _same_size(child, row.payload_size)
            children.append(Child(row.id, child, row.total_size, row.depth))
    return tuple(children)


def _same_size(descriptor: Descriptor, size: int) -> None:
    if descriptor.size != size:
        raise SizeInvalid(
            f"{descriptor.digest} has {size} bytes, the manifest says {descriptor.size}",
            detail={"digest": descriptor.digest, "size": size},
        )
