"""The online collector: decides which blobs nothing needs any more (G1).

    candidates due ─► lock the blobs ─► in a second statement: leases, references
                                         ├─ some left ─► ask again when the last lease ends
                                         └─ none ─► rows gone, keys in the trash

The locks come first and the look second, each a statement of its own: a single `DELETE … WHERE NOT
EXISTS` that waited for a push would still delete what that push had just referenced. A few blobs
share a transaction; one that somebody else has locked is left for another time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Row, delete, exists, func, select

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

TOGETHER = 32
"""Blobs of one transaction: what waits for one of them waits a few milliseconds."""
_PAGE = 1024


class Run(Protocol):
    """Runs a step in a transaction: `Database.run`, or that of a job that may lose its task."""

    def __call__(
        self, step: Callable[..., Awaitable[Any]], /, *args: Any, **more: Any
    ) -> Awaitable[Any]: ...


@dataclass(frozen=True, slots=True)
class Collected:
    """What one run did."""

    reviewed: int = 0  # candidates looked at
    blobs: int = 0  # blobs that went to the trash
    size: int = 0  # their bytes
    digests: tuple[str, ...] = ()  # of these blobs, when one batch tells of them

    def __add__(self, other: "Collected") -> "Collected":
        """The figures of both, without the digests."""
        return Collected(
            self.reviewed + other.reviewed, self.blobs + other.blobs, self.size + other.size
        )


class Collector:
    """Reviews candidates, a few in each transaction, without any other I/O."""

    def __init__(self, db: Database, rules: Rules, batch: int = 100) -> None:
        self._db = db
        self._rules = rules
        self._batch = batch

    async def run_once(self, *, ignore_review: bool = False) -> Collected:
        """Review one batch; `ignore_review` also takes candidates that are not due yet.

        Leases hold in either case.
        """
        if ignore_review:
            async for digests in self.candidates(self._batch):
                return await self._reviewed(digests)
            return Collected()
        due = select(gc_candidates.c.digest).where(gc_candidates.c.review_after <= now())
        due = due.order_by(gc_candidates.c.review_after).limit(self._batch)
        async with self._db.read() as tx:
            digests = (await tx.execute(due)).scalars().all()
        return await self._reviewed(digests)

    async def _reviewed(self, digests: Sequence[str]) -> Collected:
        total = Collected()
        for start in range(0, len(digests), TOGETHER):
            total += await self.review(digests[start : start + TOGETHER], self._db.run)
        return total

    async def candidates(self, page: int = _PAGE) -> AsyncIterator[Sequence[str]]:
        """Every candidate that no lease holds, whether due or not, in pages; each one once."""
        last = ""
        # A candidate whose lease still runs would come to nothing: leave those out.
        leased = exists().where(
            repository_blobs.c.digest == gc_candidates.c.digest,
            repository_blobs.c.lease_until > now(),
        )
        while True:
            query = select(gc_candidates.c.digest).where(gc_candidates.c.digest > last, ~leased)
            async with self._db.read() as tx:
                rows = await tx.execute(query.order_by(gc_candidates.c.digest).limit(page))
                digests = rows.scalars().all()
            if not digests:
                return
            last = digests[-1]
            yield digests

    async def review(self, digests: Collection[str], run: Run) -> Collected:
        """Review these candidates in one transaction of `run`."""
        done: Collected = await run(self._review, sorted(digests))
        await failpoints.reach("gc.committed")
        return done

    async def _review(self, tx: Tx, digests: Sequence[str]) -> Collected:
        found = await self._locked(tx, digests)
        busy = await _there(tx, set(digests) - found.keys())  # a push holds them: next time
        reviewed = set(digests) - busy
        await tx.execute(delete(gc_candidates).where(gc_candidates.c.digest.in_(reviewed)))
        # Pushed between two statements: the candidate that went was the push's own.
        again = await _there(tx, reviewed - found.keys())
        await blobs.nominate(tx, sorted(again), 0, "pushed again")
        await failpoints.reach("gc.locked")
        left = await self._unlink(tx, sorted(found))
        free = sorted(found.keys() - await self._needed(tx, sorted(found)))
        await tx.execute(delete(blob_table).where(blob_table.c.digest.in_(free)))
        for digest in free:
            blob = found[digest]
            keep = self._rules.retention
            await blobs.discard_keys(tx, [blob.storage_key], keep, digest, blob.size)
        for project_id in sorted(left):  # last: it locks the ledgers of projects
            await ledger.settle(tx, project_id, left[project_id])
        await failpoints.reach("gc.unlinking")
        size = sum(found[digest].size for digest in free)
        return Collected(len(reviewed), len(free), size, tuple(free))

    async def _locked(self, tx: Tx, digests: Sequence[str]) -> dict[str, Row[Any]]:
        """Blobs by digest, locked, but for those that somebody else has locked."""
        query = (
            select(blob_table.c.digest, blob_table.c.size, blob_table.c.storage_key)
            .where(blob_table.c.digest.in_(digests))
            .order_by(blob_table.c.digest)
        )
        rows = await tx.execute(tx.dialect.for_update(query, skip_locked=True))
        return {row.digest: row for row in rows}

    async def _unlink(self, tx: Tx, digests: Sequence[str]) -> dict[int, set[str]]:
        """Remove blobs from repositories that neither reference them nor hold a lease.

        Returns which have left which project.
        """
        gone = delete(repository_blobs).where(
            repository_blobs.c.digest.in_(digests),
            repository_blobs.c.lease_until <= now(),
            ~_referenced(),
        )
        rows = await tx.execute(
            gone.returning(repository_blobs.c.repository_id, repository_blobs.c.digest)
        )
        pairs = [(row.repository_id, row.digest) for row in rows]
        places = select(repositories.c.id, repositories.c.name, repositories.c.project_id)
        known = places.where(repositories.c.id.in_({repository_id for repository_id, _ in pairs}))
        found = {row.id: row for row in await tx.execute(known)} if pairs else {}
        left: dict[int, set[str]] = {}
        for repository_id, digest in pairs:
            place = found[repository_id]
            tx.touch(kinds.BLOB.key(place.name, digest))
            left.setdefault(place.project_id, set()).add(digest)
        return left

    async def _needed(self, tx: Tx, digests: Sequence[str]) -> set[str]:
        """Those that a repository still has; where only a lease keeps one, look again after it."""
        links = select(repository_blobs.c.digest).where(repository_blobs.c.digest.in_(digests))
        needed = set((await tx.execute(links.distinct())).scalars())
        if not needed:
            return needed
        unreferenced = (
            select(
                repository_blobs.c.digest, func.max(repository_blobs.c.lease_until).label("until")
            )
            .where(
                repository_blobs.c.digest.in_(needed),
                repository_blobs.c.lease_until > now(),
                ~_referenced(),
            )
            .group_by(repository_blobs.c.digest)
        )
        rows = [
            {"digest": row.digest, "review_after": row.until, "reason": "lease"}
            for row in await tx.execute(unreferenced)
        ]
        if rows:
            insert = tx.dialect.insert(gc_candidates).values(rows)
            await tx.execute(insert.on_conflict_do_nothing())
        return needed


def _referenced() -> Any:
    """Whether a manifest of the repository of a link refers to its blob."""
    return exists().where(
        manifest_blobs.c.digest == repository_blobs.c.digest,
        manifest_blobs.c.manifest_id == manifests.c.id,
        manifests.c.repository_id == repository_blobs.c.repository_id,
    )


async def _there(tx: Tx, digests: Collection[str]) -> set[str]:
    """Those of the digests that are blobs now."""
    if not digests:
        return set()
    query = select(blob_table.c.digest).where(blob_table.c.digest.in_(digests))
    return set((await tx.execute(query)).scalars())
