"""What a collection would do now, asked of the same rows, without changing any."""

from typing import Any

from sqlalchemy import exists, func, or_, select

from moorage.db.engine import Database
from moorage.db.tables import blobs, gc_candidates, manifest_blobs, manifests, repository_blobs
from moorage.db.types import now
from moorage.gc.review import Collected
from moorage.gc.untagged import alive


async def preview(db: Database, *, window: float | None = None) -> tuple[int, Collected]:
    """Untagged manifests that would go, and blobs; with `window` in seconds, manifests go too."""
    leased = exists().where(
        repository_blobs.c.digest == blobs.c.digest, repository_blobs.c.lease_until > now()
    )
    wanted: Any = blobs.c.digest.in_(select(gc_candidates.c.digest))
    needed = exists().where(manifest_blobs.c.digest == blobs.c.digest)
    doomed = None
    if window is not None:
        kept = select(alive(window).c.id)
        gone = manifests.c.id.not_in(kept)
        doomed = select(func.count()).select_from(manifests).where(gone)
        dropped = (
            select(manifest_blobs.c.digest)
            .join(manifests, manifests.c.id == manifest_blobs.c.manifest_id)
            .where(gone)
        )
        wanted = or_(wanted, blobs.c.digest.in_(dropped))
        needed = exists().where(
            manifest_blobs.c.digest == blobs.c.digest, manifest_blobs.c.manifest_id.in_(kept)
        )
    size = func.coalesce(func.sum(blobs.c.size), 0).label("size")
    query = select(func.count().label("blobs"), size).where(wanted, ~leased, ~needed)
    async with db.read() as tx:
        count = (await tx.execute(doomed)).scalar_one() if doomed is not None else 0
        row = (await tx.execute(query)).one()
    return int(count), Collected(row.blobs, row.blobs, int(row.size))
