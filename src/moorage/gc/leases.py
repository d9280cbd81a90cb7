"""What would be garbage if no lease kept it: the room that an operator is waiting for."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, select

from moorage.db import Database
from moorage.db.tables import blobs, gc_candidates, manifest_blobs, repository_blobs
from moorage.db.types import now


@dataclass(frozen=True, slots=True)
class Held:
    """Blobs that no manifest names and that a push may still rely on."""

    blobs: int = 0
    size: int = 0  # their bytes
    until: datetime | None = None  # when the last of their leases ends


async def held(db: Database) -> Held:
    """As of now; changes nothing."""
    referenced = exists().where(manifest_blobs.c.digest == blobs.c.digest)
    ends = (
        select(repository_blobs.c.digest, func.max(repository_blobs.c.lease_until).label("until"))
        .where(repository_blobs.c.lease_until > now())
        .group_by(repository_blobs.c.digest)
        .subquery()
    )
    query = (
        select(
            func.count().label("blobs"),
            func.coalesce(func.sum(blobs.c.size), 0).label("size"),
            func.max(ends.c.until).label("until"),
        )
        .join_from(blobs, ends, ends.c.digest == blobs.c.digest)
        .where(blobs.c.digest.in_(select(gc_candidates.c.digest)), ~referenced)
    )
    async with db.read() as tx:
        row = (await tx.execute(query)).one()
    return Held(row.blobs, int(row.size), row.until)
