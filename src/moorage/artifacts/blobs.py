"""Steps that make a blob part of a repository: commit of an upload, mount, lease, delete.

    upload ── commit ──► blobs row (digest → key) ── repository_blobs row with a lease
                             ▲                            ▲
                             └── mount, renew lock it ────┘   FOR KEY SHARE before any lease write

Whoever changes a lease locks the blob's row first: the collector locks it too before it looks, so
one of both waits and sees what the other did. Locks are taken in the order blob, candidate, quota.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Integer, bindparam, delete, exists, func, select, update

from moorage import failpoints
from moorage.artifacts import absences, kinds, ledger
from moorage.artifacts.records import Blob
from moorage.artifacts.repositories import Place, ensure
from moorage.artifacts.rules import Rules
from moorage.db.prepared import Prepared
from moorage.db.tables import (
    blob_trash,
    blobs,
    gc_candidates,
    manifest_blobs,
    manifests,
    projects,
    repositories,
    repository_blobs,
    upload_segments,
    uploads,
)
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.errors import BlobUnknown, PreconditionFailed, UploadUnknown
from moorage.oci.names import project_of


@dataclass(frozen=True, slots=True)
class Finished:
    """An upload whose bytes are durable and verified."""

    upload_id: str
    epoch: int
    place: Place
    digest: str
    size: int
    storage_key: str


@dataclass(frozen=True, slots=True)
class Known:
    """A blob's row."""

    size: int
    storage_key: str
    state: str


@dataclass(frozen=True, slots=True)
class Linked:
    """A blob of one repository."""

    repository_id: int
    size: int
    storage_key: str
    state: str
    due: bool  # the lease ends within the asked seconds


class MustStat(Exception):
    """The digest is known; look at its object first, outside of any transaction."""

    def __init__(self, key: str) -> None:
        self.key = key


async def commit(tx: Tx, done: Finished, rules: Rules, sound: Mapping[str, bool]) -> Blob:
    """Make a finished upload a blob of its repository.

    `sound` says of storage keys whether their object was found whole. Raises MustStat when the
    digest exists under another key, UploadUnknown when the session ended meanwhile, QuotaExceeded.
    """
    spare = set(await end_upload(tx, done.upload_id, done.epoch))
    spare.discard(done.storage_key)
    storage_key = done.storage_key
    if not await tx.fetch(_INSERT, digest=done.digest, size=done.size, key=storage_key):
        storage_key = await _meet(tx, done, sound)
        if storage_key != done.storage_key:
            spare.add(done.storage_key)
    await discard_keys(tx, sorted(spare), rules.drain)
    await lease(tx, done.place.id, done.digest, rules)
    if rules.sparse:
        await absences.adopt(tx, done.place, done.digest)
    contents = {done.digest: done.size}
    await ledger.charge(tx, done.place.project_id, contents, limited=rules.limited)
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


async def end_upload(tx: Tx, upload_id: str, epoch: int | None = None) -> dict[str, bool]:
    """Delete a session; its storage keys, and whether each was written; raises UploadUnknown."""
    # The lock comes first: a request that records a segment at this moment is waited for, and its
    # row is seen by the next statement.
    if not await tx.fetch(_LOCK_UPLOAD, upload=upload_id, held=epoch):
        raise UploadUnknown()
    rows = await tx.fetch(_END_SEGMENTS, upload=upload_id)
    await tx.fetch(_END, upload=upload_id)
    return {key: size is not None for key, size in rows}


async def discard_keys(
    tx: Tx, keys: Sequence[str], drain: float, digest: str | None = None, size: int | None = None
) -> None:
    """Put storage keys into the trash; they are deleted `drain` seconds from now."""
    rows = [{"key": k, "digest": digest, "size": size, "seconds": drain} for k in keys]
    await tx.fetch_many(_DISCARD, rows)


async def lock(tx: Tx, digest: str) -> Known | None:
    """Lock a blob against its collection; its row, or None."""
    rows = await tx.fetch(_LOCK, digest=digest)
    return Known(*rows[0]) if rows else None


async def lease(tx: Tx, repository_id: int, digest: str, rules: Rules) -> None:
    """Promise the blob to the repository for `rules.lease`; its row must be locked."""
    await tx.fetch(_LEASE, repository=repository_id, digest=digest, seconds=rules.lease)
    await nominate(tx, [digest], rules.lease, "lease")


async def nominate(tx: Tx, digests: Sequence[str], after: float, reason: str) -> None:
    """Ask the collector to look at blobs `after` seconds from now."""
    rows = [{"digest": d, "seconds": after, "reason": reason} for d in sorted(digests)]
    await tx.fetch_many(_NOMINATE, rows)


async def mount(tx: Tx, source: str, target: str, digest: str, rules: Rules) -> Blob | None:
    """Share a blob of `source`, which the caller may pull from, with `target`; None: not there."""
    place = await ensure(tx, target)
    known = await lock(tx, digest)
    if known is None or known.state != "live" or not await _holds(tx, source, digest):
        return None
    await lease(tx, place.id, digest, rules)
    if rules.sparse:
        await absences.adopt(tx, place, digest)
    contents = {digest: known.size}
    await ledger.charge(tx, place.project_id, contents, limited=rules.limited)
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
    return [name for (name,) in await tx.fetch(_HOLDERS, digest=digest, most=most)]


async def neighbour(tx: Tx, repository: str, digest: str) -> str | None:
    """A repository of the same project that holds a blob."""
    rows = await tx.fetch(_NEIGHBOUR, digest=digest, project=project_of(repository))
    return rows[0][0] if rows else None


async def look_up(tx: Tx, repository: str, digest: str, due: float = 0) -> Linked | None:
    """A blob as one repository sees it, or None; `due` in seconds."""
    rows = await tx.fetch(_LOOK_UP, repository=repository, digest=digest, due=due)
    return Linked(*rows[0]) if rows else None


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


_INSERT = Prepared(
    lambda dialect: (
        dialect.insert(blobs)
        .values(digest=bindparam("digest"), size=bindparam("size"), storage_key=bindparam("key"))
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(blobs.c.digest)
    )
)
_END_SEGMENTS = Prepared(
    lambda dialect: (
        delete(upload_segments)
        .where(upload_segments.c.upload_id == bindparam("upload"))
        # Not `size IS NOT NULL`, which SQLite 3.40 answers wrongly in a RETURNING.
        .returning(upload_segments.c.storage_key, upload_segments.c.size)
    )
)
_LOCK_UPLOAD = Prepared(
    lambda dialect: dialect.for_update(
        select(uploads.c.id).where(
            uploads.c.id == bindparam("upload"),
            uploads.c.epoch == func.coalesce(bindparam("held", type_=BigInteger), uploads.c.epoch),
        )
    )
)
_END = Prepared(lambda dialect: delete(uploads).where(uploads.c.id == bindparam("upload")))
_LOCK = Prepared(
    lambda dialect: dialect.for_key_share(
        select(blobs.c.size, blobs.c.storage_key, blobs.c.state).where(
            blobs.c.digest == bindparam("digest")
        )
    )
)
_LOOK_UP = Prepared(
    lambda dialect: (
        select(
            repository_blobs.c.repository_id,
            blobs.c.size,
            blobs.c.storage_key,
            blobs.c.state,
            (repository_blobs.c.lease_until < from_now(bindparam("due"))).label("due"),
        )
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .join(blobs, blobs.c.digest == repository_blobs.c.digest)
        .where(
            repositories.c.name == bindparam("repository"),
            repository_blobs.c.digest == bindparam("digest"),
        )
    )
)
_HOLDERS = Prepared(
    lambda dialect: (
        select(repositories.c.name)
        .join(repository_blobs, repositories.c.id == repository_blobs.c.repository_id)
        .where(repository_blobs.c.digest == bindparam("digest"))
        .order_by(repositories.c.id.desc())
        .limit(bindparam("most", type_=Integer))
    )
)
_NEIGHBOUR = Prepared(
    lambda dialect: (
        select(repositories.c.name)
        .join(repository_blobs, repositories.c.id == repository_blobs.c.repository_id)
        .join(projects, projects.c.id == repositories.c.project_id)
        .where(
            repository_blobs.c.digest == bindparam("digest"),
            projects.c.name == bindparam("project"),
        )
        .order_by(repositories.c.id.desc())
        .limit(1)
    )
)
_LEASE = Prepared(
    lambda dialect: (
        dialect.insert(repository_blobs)
        .values(
            repository_id=bindparam("repository"),
            digest=bindparam("digest"),
            lease_until=from_now(bindparam("seconds")),
            pending=True,
        )
        .on_conflict_do_update(
            index_elements=["repository_id", "digest"],
            set_={
                "lease_until": from_now(bindparam("seconds")),
                # Pushed anew after its manifest was deleted: it counts as on the first day.
                "pending": ~exists().where(
                    manifest_blobs.c.digest == bindparam("digest"),
                    manifest_blobs.c.manifest_id == manifests.c.id,
                    manifests.c.repository_id == bindparam("repository"),
                ),
            },
        )
    )
)
_NOMINATE = Prepared(
    lambda dialect: (
        dialect.insert(gc_candidates)
        .values(
            digest=bindparam("digest"),
            review_after=from_now(bindparam("seconds")),
            reason=bindparam("reason"),
        )
        .on_conflict_do_update(
            index_elements=["digest"],
            set_={
                "review_after": from_now(bindparam("seconds")),
                "reason": bindparam("reason"),
            },
        )
    )
)
_DISCARD = Prepared(
    lambda dialect: (
        dialect.insert(blob_trash)
        .values(
            storage_key=bindparam("key"),
            digest=bindparam("digest"),
            size=bindparam("size"),
            not_before=from_now(bindparam("seconds")),
        )
        .on_conflict_do_update(
            index_elements=["storage_key"], set_={"not_before": from_now(bindparam("seconds"))}
        )
    )
)
