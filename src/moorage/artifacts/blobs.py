"""Steps that make a blob part of a repository: commit of an upload, mount, lease, delete.

    upload ── commit ──► blobs row (digest → key) ── repository_blobs row with a lease
                             ▲                            ▲
                             └── mount, renew lock it ────┘   FOR KEY SHARE before any lease write

Whoever changes a lease locks the blob's row first: the collector locks it too before it looks, so
one of both waits and sees what the other did. Locks are taken in the order blob, candidate, quota.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Row, delete, select, update

from moorage import failpoints
from moorage.artifacts import absences, kinds, ledger
from moorage.artifacts.records import Blob
from moorage.artifacts.repositories import Place, ensure
from moorage.artifacts.rules import Rules
from moorage.db.engine import Tx
from moorage.db.tables import (
    blob_trash,
    blobs,
    gc_candidates,
    manifest_blobs,
    manifests,
    repositories,
    repository_blobs,
    upload_segments,
    uploads,
)
from moorage.db.types import from_now
from moorage.errors import BlobUnknown, PreconditionFailed, UploadUnknown


@dataclass(frozen=True, slots=True)
class Finished:
    """An upload whose bytes are durable and verified."""

    upload_id: str
    epoch: int
    place: Place
    digest: str
    size: int
    storage_key: str


class MustStat(Exception):
    """The digest is known; look at its object first, outside of any transaction."""

    def __init__(self, key: str) -> None:
        self.key = key


async def commit(tx: Tx, done: Finished, rules: Rules, sound: Mapping[str, bool]) -> Blob:
    """Make a finished upload a blob of its repository.

    `sound` says of storage keys whether their object was found whole. Raises MustStat when the
    digest exists under another key, UploadUnknown when the session ended meanwhile, QuotaExceeded.
    """
    spare = await end_upload(tx, done.upload_id, done.epoch)
    spare.discard(done.storage_key)
    row = {"digest": done.digest, "size": done.size, "storage_key": done.storage_key}
    insert = tx.dialect.insert(blobs).values(row).on_conflict_do_nothing(index_elements=["digest"])
    storage_key = done.storage_key
    if (await tx.execute(insert.returning(blobs.c.digest))).one_or_none() is None:
        storage_key = await _meet(tx, done, sound)
        if storage_key != done.storage_key:
            spare.add(done.storage_key)
    await discard_keys(tx, sorted(spare), rules.drain)
    await lease(tx, done.place.id, done.digest, rules)
    await absences.adopt(tx, done.place, done.digest)
    await ledger.charge(tx, done.place.project_id, {done.digest: done.size})
    await failpoints.reach("blob.inserting")
    return Blob(done.digest, done.size, storage_key)


async def _meet(tx: Tx, done: Finished, sound: Mapping[str, bool]) -> str:
    """Somebody stored this digest before: keep theirs if it is whole, else heal it with ours."""
    known = await lock(tx, done.digest)
    if known is None:  # collected between our two statements; the whole step runs again
        raise MustStat(done.storage_key)
    if known.storage_key not in sound:
        raise MustStat(known.storage_key)
    if sound[known.storage_key] and known.state == "live" and known.size == done.size:
        return str(known.storage_key)
    await tx.execute(
        update(blobs)
        .where(blobs.c.digest == done.digest)
        .values(storage_key=done.storage_key, size=done.size, state="live")
    )
    await discard_keys(tx, [known.storage_key], 0)
    await touch_everywhere(tx, done.digest)
    return done.storage_key


async def end_upload(tx: Tx, upload_id: str, epoch: int | None = None) -> set[str]:
    """Delete a session and return the storage keys it named; raises UploadUnknown."""
    segments = delete(upload_segments).where(upload_segments.c.upload_id == upload_id)
    keys = set((await tx.execute(segments.returning(upload_segments.c.storage_key))).scalars())
    session = delete(uploads).where(uploads.c.id == upload_id)
    if epoch is not None:
        session = session.where(uploads.c.epoch == epoch)
    if (await tx.execute(session.returning(uploads.c.id))).one_or_none() is None:
        raise UploadUnknown()
    return keys


async def discard_keys(
    tx: Tx, keys: Sequence[str], drain: float, digest: str | None = None, size: int | None = None
) -> None:
    """Put storage keys into the trash; they are deleted `drain` seconds from now."""
    if not keys:
        return
    insert = tx.dialect.insert(blob_trash).values(
        [
            {"storage_key": key, "digest": digest, "size": size, "not_before": from_now(drain)}
            for key in keys
        ]
    )
    await tx.execute(
        insert.on_conflict_do_update(
            index_elements=["storage_key"],
            set_={"not_before": insert.excluded.not_before},
        )
    )


async def lock(tx: Tx, digest: str) -> Row[tuple[str, int, str, str]] | None:
    """Lock a blob against its collection; its row, or None."""
    query = select(blobs.c.digest, blobs.c.size, blobs.c.storage_key, blobs.c.state)
    locked = tx.dialect.for_key_share(query.where(blobs.c.digest == digest))
    return (await tx.execute(locked)).one_or_none()


async def lease(tx: Tx, repository_id: int, digest: str, rules: Rules) -> None:
    """Promise the blob to the repository for `rules.lease`; its row must be locked."""
    until = from_now(rules.lease)
    insert = tx.dialect.insert(repository_blobs).values(
        repository_id=repository_id, digest=digest, lease_until=until, pending=True
    )
    await tx.execute(
        insert.on_conflict_do_update(
            index_elements=["repository_id", "digest"], set_={"lease_until": until}
        )
    )
    await nominate(tx, [digest], rules.lease, "lease")


async def nominate(tx: Tx, digests: Sequence[str], after: float, reason: str) -> None:
    """Ask the collector to look at blobs `after` seconds from now."""
    if not digests:
        return
    insert = tx.dialect.insert(gc_candidates).values(
        [
            {"digest": digest, "review_after": from_now(after), "reason": reason}
            for digest in sorted(digests)
        ]
    )
    await tx.execute(
        insert.on_conflict_do_update(
            index_elements=["digest"],
            set_={"review_after": insert.excluded.review_after, "reason": reason},
        )
    )


async def mount(tx: Tx, source: str, target: str, digest: str, rules: Rules) -> Blob | None:
    """Share a blob of `source`, which the caller may pull from, with `target`; None: not there."""
    place = await ensure(tx, target)
    known = await lock(tx, digest)
    if known is None or known.state != "live" or not await _holds(tx, source, digest):
        return None
    await lease(tx, place.id, digest, rules)
    await absences.adopt(tx, place, digest)
    await ledger.charge(tx, place.project_id, {digest: known.size})
    await failpoints.reach("mount.inserting")
    return Blob(digest, known.size, known.storage_key)


async def _holds(tx: Tx, repository: str, digest: str) -> bool:
    query = (
        select(repository_blobs.c.digest)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(repositories.c.name == repository, repository_blobs.c.digest == digest)
    )
    return (await tx.execute(query)).one_or_none() is not None


async def holders(tx: Tx, digest: str, most: int) -> list[str]:
    """Names of repositories that hold a blob, newest first."""
    query = (
        select(repositories.c.name)
        .join(repository_blobs, repositories.c.id == repository_blobs.c.repository_id)
        .where(repository_blobs.c.digest == digest)
        .order_by(repositories.c.id.desc())
        .limit(most)
    )
    return list((await tx.execute(query)).scalars())


async def look_up(
    tx: Tx, repository: str, digest: str, due: float = 0
) -> Row[tuple[int, int, str, str, bool]] | None:
    """A blob as one repository sees it: repository_id, size, storage_key, state, due.

    `due`: the lease ends within that many seconds.
    """
    query = (
        select(
            repository_blobs.c.repository_id,
            blobs.c.size,
            blobs.c.storage_key,
            blobs.c.state,
            (repository_blobs.c.lease_until < from_now(due)).label("due"),
        )
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .join(blobs, blobs.c.digest == repository_blobs.c.digest)
        .where(repositories.c.name == repository, repository_blobs.c.digest == digest)
    )
    return (await tx.execute(query)).one_or_none()


async def renew(tx: Tx, repository_id: int, digest: str, rules: Rules) -> bool:
    """Renew a lease; False when the blob or its link went meanwhile."""
    if await lock(tx, digest) is None:
        return False
    link = (
        update(repository_blobs)
        .where(
            repository_blobs.c.repository_id == repository_id,
            repository_blobs.c.digest == digest,
        )
        .values(lease_until=from_now(rules.lease))
    )
    if (await tx.execute(link)).rowcount == 0:
        return False
    await nominate(tx, [digest], rules.lease, "lease")
    await failpoints.reach("lease.renewing")
    return True


async def suspect(tx: Tx, digest: str, storage_key: str) -> None:
    """Mark a blob whose object is missing or short, so that the next push heals it."""
    damaged = blobs.c.digest == digest, blobs.c.storage_key == storage_key
    await tx.execute(update(blobs).where(*damaged).values(state="suspect"))
    await touch_everywhere(tx, digest)


async def unlink(tx: Tx, repository: str, digest: str) -> None:
    """Take a blob out of a repository; raises BlobUnknown, PreconditionFailed."""
    # The exclusive lock: a manifest push that found the link holds the shared one until it commits.
    mine = select(blobs.c.digest).where(blobs.c.digest == digest)
    await tx.execute(tx.dialect.for_update(mine))
    row = await look_up(tx, repository, digest)
    if row is None:
        raise BlobUnknown(detail={"digest": digest})
    referenced = (
        select(manifests.c.digest)
        .join(manifest_blobs, manifest_blobs.c.manifest_id == manifests.c.id)
        .where(manifests.c.repository_id == row.repository_id, manifest_blobs.c.digest == digest)
        .limit(1)
    )
    holder = (await tx.execute(referenced)).scalar_one_or_none()
    if holder is not None:
        raise PreconditionFailed(f"manifest {holder} refers to this blob; delete it first")
    project = select(repositories.c.project_id).where(repositories.c.id == row.repository_id)
    project_id = (await tx.execute(project)).scalar_one()
    await tx.execute(
        delete(repository_blobs).where(
            repository_blobs.c.repository_id == row.repository_id,
            repository_blobs.c.digest == digest,
        )
    )
    tx.touch(kinds.BLOB.key(repository, digest))
    await nominate(tx, [digest], 0, "blob deleted")
    await ledger.settle(tx, project_id, [digest])


async def touch_everywhere(tx: Tx, digest: str) -> None:
    """End every cached look-up of a blob."""
    for name in await holders(tx, digest, 100_000):
        tx.touch(kinds.BLOB.key(name, digest))
