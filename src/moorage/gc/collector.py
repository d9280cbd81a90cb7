"""The online collector: decides which blobs nothing needs any more (G1).

    candidate due ─► lock the blob ─► in a second statement: leases, references
                                       ├─ some left ─► ask again when the last lease ends
                                       └─ none ─► rows gone, key in the trash

The lock comes first and the look second, each a statement of its own: a single `DELETE … WHERE NOT
EXISTS` that waited for a push would still delete what that push had just referenced.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, exists, func, select

from moorage import failpoints
from moorage.artifacts import blobs, kinds, ledger
from moorage.artifacts.rules import Rules
from moorage.db.engine import Database
from moorage.db.tables import blobs as blob_table
from moorage.db.tables import (
    gc_candidates,
    manifest_blobs,
    manifests,
    repositories,
    repository_blobs,
)
from moorage.db.transactions import Tx
from moorage.db.types import now


@dataclass(frozen=True, slots=True)
class Collected:
    """What one run did."""

    reviewed: int = 0  # candidates looked at
    blobs: int = 0  # blobs that went to the trash
    size: int = 0  # their bytes

    def __add__(self, other: "Collected") -> "Collected":
        return Collected(
            self.reviewed + other.reviewed, self.blobs + other.blobs, self.size + other.size
        )


class Collector:
    """Reviews candidates, each in a transaction of its own without any other I/O."""

    def __init__(self, db: Database, rules: Rules, batch: int = 100) -> None:
        self._db = db
        self._rules = rules
        self._batch = batch

    async def run_once(self, *, ignore_review: bool = False) -> Collected:
        """Review one batch; `ignore_review` also takes candidates that are not due yet.

        Leases hold in either case.
        """
        total = Collected()
        for digest in await self._due(ignore_review):
            total += await self._db.run(self._review, digest)
            await failpoints.reach("gc.committed")
        return total

    async def _due(self, ignore_review: bool) -> Sequence[str]:
        query = select(gc_candidates.c.digest).order_by(gc_candidates.c.review_after)
        if ignore_review:
            # A candidate whose lease still runs would come back at once: leave those out.
            leased = exists().where(
                repository_blobs.c.digest == gc_candidates.c.digest,
                repository_blobs.c.lease_until > now(),
            )
            query = query.where(~leased)
        else:
            query = query.where(gc_candidates.c.review_after <= now())
        async with self._db.read() as tx:
            return (await tx.execute(query.limit(self._batch))).scalars().all()

    async def _review(self, tx: Tx, digest: str) -> Collected:
        mine = blob_table.c.digest == digest
        query = select(blob_table.c.size, blob_table.c.storage_key).where(mine)
        blob = (await tx.execute(tx.dialect.for_update(query, skip_locked=True))).one_or_none()
        if blob is None and (await tx.execute(query)).one_or_none() is not None:
            return Collected()  # a push holds it: next time
        await tx.execute(delete(gc_candidates).where(gc_candidates.c.digest == digest))
        if blob is None:
            if (await tx.execute(query)).one_or_none() is not None:
                # Pushed between the two statements: the candidate that went was the push's own.
                await blobs.nominate(tx, [digest], 0, "pushed again")
            return Collected(reviewed=1)
        await failpoints.reach("gc.locked")
        await self._unlink(tx, digest)
        if await self._needed(tx, digest):
            return Collected(reviewed=1)
        await tx.execute(delete(blob_table).where(mine))
        await blobs.discard_keys(tx, [blob.storage_key], self._rules.retention, digest, blob.size)
        await failpoints.reach("gc.unlinking")
        return Collected(1, 1, blob.size)

    async def _unlink(self, tx: Tx, digest: str) -> None:
        """Remove the blob from repositories that neither reference it nor hold a lease."""
        referenced = exists().where(
            manifest_blobs.c.digest == digest,
            manifest_blobs.c.manifest_id == manifests.c.id,
            manifests.c.repository_id == repository_blobs.c.repository_id,
        )
        gone = delete(repository_blobs).where(
            repository_blobs.c.digest == digest,
            repository_blobs.c.lease_until <= now(),
            ~referenced,
        )
        rows = await tx.execute(gone.returning(repository_blobs.c.repository_id))
        ids = rows.scalars().all()
        if not ids:
            return
        places = select(repositories.c.name, repositories.c.project_id)
        projects = set()
        for row in await tx.execute(places.where(repositories.c.id.in_(ids))):
            tx.touch(kinds.BLOB.key(row.name, digest))
            projects.add(row.project_id)
        for project_id in sorted(projects):
            await ledger.settle(tx, project_id, [digest])

    async def _needed(self, tx: Tx, digest: str) -> bool:
        """Whether any repository still has the blob; if only by lease, look again after it."""
        links = select(func.count()).where(repository_blobs.c.digest == digest)
        if not (await tx.execute(links)).scalar_one():
            return False
        unreferenced = select(func.max(repository_blobs.c.lease_until)).where(
            repository_blobs.c.digest == digest,
            repository_blobs.c.lease_until > now(),
            ~exists().where(
                manifest_blobs.c.digest == digest,
                manifest_blobs.c.manifest_id == manifests.c.id,
                manifests.c.repository_id == repository_blobs.c.repository_id,
            ),
        )
        until = (await tx.execute(unreferenced)).scalar_one_or_none()
        if until is not None:
            insert = tx.dialect.insert(gc_candidates).values(
                digest=digest, review_after=until, reason="lease"
            )
            await tx.execute(insert.on_conflict_do_nothing())
        return True

    async def preview(self) -> Collected:
        """What a run that ignores the review times would collect now, without changing anything."""
        held = exists().where(
            repository_blobs.c.digest == blob_table.c.digest,
            repository_blobs.c.lease_until > now(),
        )
        referenced = exists().where(manifest_blobs.c.digest == blob_table.c.digest)
        candidates = select(gc_candidates.c.digest)
        size = func.coalesce(func.sum(blob_table.c.size), 0).label("size")
        query = select(func.count().label("blobs"), size).where(
            blob_table.c.digest.in_(candidates), ~held, ~referenced
        )
        async with self._db.read() as tx:
            row = (await tx.execute(query)).one()
        return Collected(row.blobs, row.blobs, int(row.size))
