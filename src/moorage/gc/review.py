"""The review of candidates: decides which blobs nothing needs any more (G1).

    lock the blobs ─► in a second statement: leases, references
                       ├─ some left ─► ask again when the last lease ends
                       └─ none ─► rows gone, keys in the trash

The locks come first and the look second, each a statement of its own: a single `DELETE … WHERE NOT
EXISTS` that waited for a push would still delete what that push had just referenced. One that
somebody else has locked is left for another time.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, delete, exists, func, literal, select

from moorage import failpoints
from moorage.artifacts import blobs, kinds, ledger
from moorage.db.dialects import Dialect
from moorage.db.prepared import Prepared
from moorage.db.tables import (
    blob_trash,
    gc_candidates,
    manifest_blobs,
    manifests,
    repositories,
    repository_blobs,
)
from moorage.db.tables import blobs as blob_table
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now


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


class _Link(NamedTuple):
    """A repository that has a blob, and whether it has a use for it."""

    digest: str
    repository_id: int
    repository: str
    project_id: int
    pending: bool
    leased: bool
    referenced: bool


async def review(tx: Tx, digests: Sequence[str], keep: float) -> Collected:
    """Step: review these candidates; keys of what goes stay in the trash for `keep` seconds."""
    every = tx.dialect.many(digests)
    sizes = {str(row[0]): int(row[1]) for row in await tx.fetch(_LOCK, digests=every)}
    busy = await _there(tx, set(digests) - sizes.keys())  # a push holds them: next time
    reviewed = set(digests) - busy
    await tx.fetch(_REVIEWED, digests=tx.dialect.many(sorted(reviewed)))
    # Pushed between two statements: the candidate that went was the push's own.
    again = await _there(tx, reviewed - sizes.keys())
    await blobs.nominate(tx, sorted(again), 0, "pushed again")
    await failpoints.reach("gc.locked")
    locked = tx.dialect.many(sorted(sizes))
    links = [_Link(*row) for row in await tx.fetch(_LINKS, digests=locked)]
    cut = await _unlink(tx, links)
    kept = [link for link in links if link not in cut]
    free = sorted(sizes.keys() - {link.digest for link in kept})
    await _trash(tx, free, keep)
    if any(not link.referenced for link in kept):
        await tx.fetch(_LOOK_AGAIN, digests=locked)
    await _settle(tx, [link for link in cut if link.pending])
    await failpoints.reach("gc.unlinking")
    return Collected(len(reviewed), len(free), sum(sizes[each] for each in free), tuple(free))


async def _there(tx: Tx, digests: Collection[str]) -> set[str]:
    """Those of the digests that are blobs now."""
    if not digests:
        return set()
    rows = await tx.fetch(_THERE, digests=tx.dialect.many(sorted(digests)))
    return {digest for (digest,) in rows}


async def _unlink(tx: Tx, links: Sequence[_Link]) -> set[_Link]:
    """Remove blobs from repositories that neither reference them nor hold a lease; which those are.

    Both are asked once more, and this answer counts: a lease may have ended since the first look.
    """
    idle = {link.digest for link in links if not (link.leased or link.referenced)}
    if not idle:
        return set()
    rows = await tx.fetch(_UNLINK, digests=tx.dialect.many(sorted(idle)))
    gone = {(str(digest), int(repository)) for digest, repository in rows}
    cut = {link for link in links if (link.digest, link.repository_id) in gone}
    for link in cut:
        tx.touch(kinds.BLOB.key(link.repository, link.digest))
    return cut


async def _trash(tx: Tx, digests: Sequence[str], keep: float) -> None:
    """The rows of these blobs go, and their keys stay for `keep` seconds."""
    gone = tx.dialect.many(digests)
    if tx.dialect.nests_changes:  # one journey in place of two, while others wait for the locks
        await tx.fetch(_MOVE, digests=gone, keep=keep)
    else:
        await tx.fetch(_DISCARD, digests=gone, keep=keep)
        await tx.fetch(_DELETE, digests=gone)


async def _settle(tx: Tx, pending: Iterable[_Link]) -> None:
    """Stop counting what a link still promised; last, for it locks the ledgers of projects."""
    left: dict[int, set[str]] = {}
    for link in pending:
        left.setdefault(link.project_id, set()).add(link.digest)
    await ledger.settle_each(tx, left)


def _referenced() -> ColumnElement[bool]:
    """Whether a manifest of the repository of a link refers to its blob."""
    return exists().where(
        manifest_blobs.c.digest == repository_blobs.c.digest,
        manifest_blobs.c.manifest_id == manifests.c.id,
        manifests.c.repository_id == repository_blobs.c.repository_id,
    )


_LOCK = Prepared(
    lambda dialect: dialect.for_update(
        select(blob_table.c.digest, blob_table.c.size)
        .where(_chosen(dialect))
        .order_by(blob_table.c.digest),
        skip_locked=True,
    )
)
_THERE = Prepared(lambda dialect: select(blob_table.c.digest).where(_chosen(dialect)))
_REVIEWED = Prepared(
    lambda dialect: delete(gc_candidates).where(dialect.among(gc_candidates.c.digest, "digests"))
)
_LINKS = Prepared(
    lambda dialect: (
        select(
            repository_blobs.c.digest,
            repositories.c.id,
            repositories.c.name,
            repositories.c.project_id,
            repository_blobs.c.pending,
            repository_blobs.c.lease_until > now(),
            _referenced(),
        )
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(dialect.among(repository_blobs.c.digest, "digests"))
    )
)
_UNLINK = Prepared(
    lambda dialect: (
        delete(repository_blobs)
        .where(
            dialect.among(repository_blobs.c.digest, "digests"),
            repository_blobs.c.lease_until <= now(),
            ~_referenced(),
        )
        .returning(repository_blobs.c.digest, repository_blobs.c.repository_id)
    )
)
_KEPT = blob_table.c.storage_key, blob_table.c.digest, blob_table.c.size


def _chosen(dialect: Dialect) -> ColumnElement[bool]:
    return dialect.among(blob_table.c.digest, "digests")


def _into_trash(dialect: Dialect, kept: Select[Any]) -> Any:
    """Insert what `kept` finds: storage key, digest and size."""
    until = from_now(bindparam("keep"))
    return (
        dialect.insert(blob_trash)
        .from_select(["storage_key", "digest", "size", "not_before"], kept.add_columns(until))
        .on_conflict_do_update(index_elements=["storage_key"], set_={"not_before": until})
    )


def _move(dialect: Dialect) -> Any:
    gone = delete(blob_table).where(_chosen(dialect)).returning(*_KEPT).cte("gone")
    return _into_trash(dialect, select(*gone.c))


_MOVE = Prepared(_move)
_DISCARD = Prepared(lambda dialect: _into_trash(dialect, select(*_KEPT).where(_chosen(dialect))))
_DELETE = Prepared(lambda dialect: delete(blob_table).where(_chosen(dialect)))
# Of what only a lease keeps, when the last of them ends. Whether it has ended by now is not asked:
# one that did between the first look and this one would be forgotten for ever.
_LOOK_AGAIN = Prepared(
    lambda dialect: (
        dialect.insert(gc_candidates)
        .from_select(
            ["digest", "review_after", "reason"],
            select(
                repository_blobs.c.digest,
                func.max(repository_blobs.c.lease_until),
                literal("lease"),
            )
            .where(
                dialect.among(repository_blobs.c.digest, "digests"),
                ~_referenced(),
            )
            .group_by(repository_blobs.c.digest),
        )
        .on_conflict_do_nothing()
    )
)
