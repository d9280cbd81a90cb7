"""Steps for content that a manifest names and its repository does not hold yet.

    put ─► note: an absence ── the content arrives ─► adopt: a reference like any other

Without this, a layer that came after its manifest would be collected once its lease is over.
"""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, update

from moorage.artifacts.repositories import Place
from moorage.db.prepared import Prepared
from moorage.db.tables import (
    manifest_absences,
    manifest_blobs,
    manifest_children,
    manifests,
    repository_blobs,
)
from moorage.db.transactions import Tx
from moorage.oci.manifest import Descriptor


async def note(tx: Tx, manifest_id: int, absent: Sequence[Descriptor]) -> None:
    """Remember what a new manifest names in vain."""
    if absent:
        await tx.execute(
            manifest_absences.insert(),
            [
                {
                    "manifest_id": manifest_id,
                    "digest": descriptor.digest,
                    "size": descriptor.size,
                    "platform": descriptor.platform,
                }
                for descriptor in absent
            ],
        )


async def adopt(tx: Tx, place: Place, digest: str, *, child_id: int | None = None) -> None:
    """Tie content that has just arrived to the manifests that named it before.

    The blob's row is locked; `child_id` is the manifest's where the content is one.
    """
    if not await tx.fetch(_AWAITED, repository=place.id, digest=digest):
        return
    waiting = (
        select(manifest_absences.c.manifest_id, manifest_absences.c.size)
        .add_columns(manifest_absences.c.platform)
        .join(manifests, manifests.c.id == manifest_absences.c.manifest_id)
        .where(manifests.c.repository_id == place.id, manifest_absences.c.digest == digest)
    )
    rows = (await tx.execute(waiting)).all()
    if child_id is None:
        await tx.execute(
            manifest_blobs.insert(),
            [{"manifest_id": row.manifest_id, "digest": digest, "size": row.size} for row in rows],
        )
        link = update(repository_blobs).where(
            repository_blobs.c.repository_id == place.id, repository_blobs.c.digest == digest
        )
        await tx.execute(link.values(pending=False))
    else:
        await tx.execute(
            manifest_children.insert(),
            [
                {
                    "parent_id": row.manifest_id,
                    "child_id": child_id,
                    "position": 0,
                    "platform": row.platform,
                }
                for row in rows
            ],
        )
    ids = [row.manifest_id for row in rows]
    await tx.execute(
        delete(manifest_absences).where(
            manifest_absences.c.manifest_id.in_(ids), manifest_absences.c.digest == digest
        )
    )


_AWAITED = Prepared(
    lambda dialect: (
        select(manifest_absences.c.manifest_id)
        .join(manifests, manifests.c.id == manifest_absences.c.manifest_id)
        .where(
            manifests.c.repository_id == bindparam("repository"),
            manifest_absences.c.digest == bindparam("digest"),
        )
        .limit(1)
    )
)
