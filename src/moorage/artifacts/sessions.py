"""Steps of an upload session: its row, its offset and its segments.

    uploads          id, offset, epoch        the truth about how far the client is
    upload_segments  key, start, size         size None: intended, perhaps being written

Every request that carries bytes writes one object under a key of its own, recorded before the
first byte. Its length counts once `advance` moved the offset, which only the newest writer can:
each claim raises the epoch, and an older writer finds its own gone.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, bindparam, func, select, update

from moorage.access.principals import Principal
from moorage.artifacts import blobs
from moorage.artifacts.repositories import Place, ensure
from moorage.artifacts.rules import Rules
from moorage.db.prepared import Prepared
from moorage.db.tables import quotas, repositories, upload_segments, uploads
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.errors import Conflict, RangeInvalid, UploadUnknown


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write the next bytes of a session, until somebody newer claims it."""

    upload_id: str
    epoch: int
    place: Place
    algorithm: str
    offset: int
    storage_key: str  # where these bytes go
    hard: int  # the project's quota in bytes; -1 unlimited


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes of a session that are durable."""

    storage_key: str
    size: int
    digest: str  # under the session's algorithm


def new_key() -> str:
    """A storage key that was never used and never will be again."""
    name = uuid.uuid4().hex
    return f"blobs/{name[:2]}/{name}"


async def begin(tx: Tx, principal: Principal, repository: str, algorithm: str) -> Claim:
    """Record a session and the key of its first segment; whoever began it is its writer."""
    place = await ensure(tx, repository)
    upload_id, storage_key = str(uuid.uuid4()), new_key()
    ((epoch, hard),) = await tx.fetch(
        _BEGIN,
        upload=upload_id,
        repository=place.id,
        project=place.project_id,
        principal=str(principal),
        algorithm=algorithm,
    )
    await _intend(tx, upload_id, storage_key, 0)
    return Claim(upload_id, epoch, place, algorithm, 0, storage_key, hard)


async def claim(
    tx: Tx, principal: Principal, repository: str, upload_id: str, start: int | None
) -> Claim:
    """Become the session's writer at `start` (None: wherever it is).

    Raises RangeInvalid with the true offset, UploadUnknown also for sessions of others.
    """
    rows = await tx.fetch(
        _CLAIM,
        upload=upload_id,
        principal=str(principal),
        repository=repository,
        start=start,
    )
    if not rows:
        raise _out_of_order(await offset_of(tx, principal, repository, upload_id))
    repository_id, offset, epoch, algorithm = rows[0]
    storage_key = new_key()
    await _intend(tx, upload_id, storage_key, offset)
    ((project_id, hard),) = await tx.fetch(_PLACE, repository=repository_id)
    place = Place(repository_id, project_id, repository)
    return Claim(upload_id, epoch, place, algorithm, offset, storage_key, hard)


async def holds(tx: Tx, held: Claim) -> bool:
    """Whether nobody has claimed the session since."""
    return bool(await tx.fetch(_HOLDS, upload=held.upload_id, held=held.epoch))


async def look(
    tx: Tx, principal: Principal, repository: str, upload_id: str, start: int | None
) -> Claim:
    """The session as it is, for who has nothing more to write; raises as `claim`."""
    rows = await tx.fetch(_LOOK, upload=upload_id, principal=str(principal), repository=repository)
    if not rows:
        raise UploadUnknown(detail={"upload": upload_id})
    repository_id, project_id, offset, epoch, algorithm, hard = rows[0]
    if start is not None and start != offset:
        raise _out_of_order(offset)
    place = Place(repository_id, project_id, repository)
    return Claim(upload_id, epoch, place, algorithm, offset, "", hard)


def _out_of_order(offset: int) -> RangeInvalid:
    return RangeInvalid(f"the next byte of this upload is {offset}", detail={"offset": offset})


async def _intend(tx: Tx, upload_id: str, storage_key: str, start: int) -> None:
    await tx.fetch(_INTEND, key=storage_key, upload=upload_id, begin=start)


async def intend_joined(tx: Tx, held: Claim) -> str:
    """Record the key under which the segments will be joined; raises UploadUnknown."""
    if not await tx.fetch(_HELD, upload=held.upload_id, held=held.epoch):
        raise UploadUnknown(detail={"upload": held.upload_id})
    key = new_key()
    await _intend(tx, held.upload_id, key, 0)
    return key


def _mine(principal: Principal, repository: str, upload_id: str) -> tuple[ColumnElement[bool], ...]:
    place = select(repositories.c.id).where(repositories.c.name == repository).scalar_subquery()
    return (
        uploads.c.id == upload_id,
        uploads.c.principal == str(principal),
        uploads.c.repository_id == place,
    )


async def offset_of(tx: Tx, principal: Principal, repository: str, upload_id: str) -> int:
    """How many bytes of a session are safe; raises UploadUnknown."""
    query = select(uploads.c.offset).where(*_mine(principal, repository, upload_id))
    offset = (await tx.execute(query)).scalar_one_or_none()
    if offset is None:
        raise UploadUnknown(detail={"upload": upload_id})
    return int(offset)


async def advance(tx: Tx, held: Claim, segment: Segment) -> int:
    """Count a durable segment, return the new offset; Conflict when no longer the writer."""
    offset = held.offset + segment.size
    moved = await tx.fetch(
        _ADVANCE, upload=held.upload_id, held=held.epoch, start=held.offset, end=offset
    )
    if not moved:
        raise Conflict("another request has taken over this upload; ask for its offset and go on")
    await tx.fetch(_COUNT, key=segment.storage_key, length=segment.size, found=segment.digest)
    return offset


async def drop_segment(tx: Tx, storage_key: str, rules: Rules) -> None:
    """Give up a segment whose bytes will not count."""
    await tx.execute(upload_segments.delete().where(upload_segments.c.storage_key == storage_key))
    await blobs.discard_keys(tx, [storage_key], 0)


async def touch(tx: Tx, upload_id: str) -> None:
    """Say that a session is alive; raises UploadUnknown when it is not."""
    mine = update(uploads).where(uploads.c.id == upload_id).values(updated_at=now())
    if (await tx.execute(mine)).rowcount == 0:
        raise UploadUnknown(detail={"upload": upload_id})


async def segments(tx: Tx, held: Claim) -> list[Segment]:
    """The segments that count, in order; raises UploadUnknown when the session ended meanwhile."""
    if held.offset == 0:
        return []
    found = [Segment(*row) for row in await tx.fetch(_SEGMENTS, upload=held.upload_id)]
    if sum(segment.size for segment in found) != held.offset:
        raise UploadUnknown(detail={"upload": held.upload_id})
    return found


async def expired(tx: Tx, rules: Rules, most: int) -> list[str]:
    """Ids of sessions that rest for too long."""
    query = (
        select(uploads.c.id)
        .where(uploads.c.updated_at < from_now(-rules.upload_age))
        .order_by(uploads.c.updated_at)
        .limit(most)
    )
    locked = tx.dialect.for_update(query, skip_locked=True)
    return list((await tx.execute(locked)).scalars())


_BEGIN = Prepared(
    lambda dialect: (
        uploads.insert()
        .values(
            id=bindparam("upload"),
            repository_id=bindparam("repository"),
            principal=bindparam("principal"),
            algorithm=bindparam("algorithm"),
        )
        .returning(
            uploads.c.epoch,
            select(quotas.c.hard)
            .where(quotas.c.project_id == bindparam("project"))
            .scalar_subquery(),
        )
    )
)
_HOLDS = Prepared(
    lambda dialect: select(uploads.c.id).where(
        uploads.c.id == bindparam("upload"), uploads.c.epoch == bindparam("held")
    )
)
_HELD = Prepared(
    lambda dialect: dialect.for_key_share(
        select(uploads.c.id).where(
            uploads.c.id == bindparam("upload"), uploads.c.epoch == bindparam("held")
        )
    )
)
_INTEND = Prepared(
    lambda dialect: upload_segments.insert().values(
        storage_key=bindparam("key"), upload_id=bindparam("upload"), start=bindparam("begin")
    )
)
_CLAIM = Prepared(
    lambda dialect: (
        update(uploads)
        .where(
            uploads.c.id == bindparam("upload"),
            uploads.c.principal == bindparam("principal"),
            uploads.c.repository_id
            == select(repositories.c.id)
            .where(repositories.c.name == bindparam("repository"))
            .scalar_subquery(),
            uploads.c.offset
            == func.coalesce(bindparam("start", type_=BigInteger), uploads.c.offset),
        )
        .values(epoch=uploads.c.epoch + 1, updated_at=now())
        .returning(uploads.c.repository_id, uploads.c.offset, uploads.c.epoch, uploads.c.algorithm)
    )
)
_LOOK = Prepared(
    lambda dialect: (
        select(
            uploads.c.repository_id,
            repositories.c.project_id,
            uploads.c.offset,
            uploads.c.epoch,
            uploads.c.algorithm,
            quotas.c.hard,
        )
        .join_from(uploads, repositories, repositories.c.id == uploads.c.repository_id)
        .join(quotas, quotas.c.project_id == repositories.c.project_id)
        .where(
            uploads.c.id == bindparam("upload"),
            uploads.c.principal == bindparam("principal"),
            repositories.c.name == bindparam("repository"),
        )
    )
)
_PLACE = Prepared(
    lambda dialect: (
        select(repositories.c.project_id, quotas.c.hard)
        .join_from(repositories, quotas, quotas.c.project_id == repositories.c.project_id)
        .where(repositories.c.id == bindparam("repository"))
    )
)
_SEGMENTS = Prepared(
    lambda dialect: (
        select(upload_segments.c.storage_key, upload_segments.c.size, upload_segments.c.digest)
        .where(
            upload_segments.c.upload_id == bindparam("upload"), upload_segments.c.size.is_not(None)
        )
        .order_by(upload_segments.c.start)
    )
)
_ADVANCE = Prepared(
    lambda dialect: (
        update(uploads)
        .where(
            uploads.c.id == bindparam("upload"),
            uploads.c.epoch == bindparam("held"),
            uploads.c.offset == bindparam("start"),
        )
        .values(offset=bindparam("end"), updated_at=now())
        .returning(uploads.c.id)
    )
)
_COUNT = Prepared(
    lambda dialect: (
        update(upload_segments)
        .where(upload_segments.c.storage_key == bindparam("key"))
        .values(size=bindparam("length"), digest=bindparam("found"))
    )
)
