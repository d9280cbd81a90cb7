"""What must be true of a registry's rows and objects between any two requests.

quota       what is counted is what manifests are, refer to, or what was pushed for the next one
lists       what a manifest's row says of tags, indexes and subjects is so
references  every manifest's content has a row, a link to its repository and an object
garbage     what nothing refers to is known to the collector, what no row names does not exist
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Select, and_, exists, or_, select
from tests.support.content import Content

from moorage.db import tables as t
from moorage.db.transactions import Tx


async def violations(content: Content) -> list[str]:
    """What is wrong, in words; nobody may write meanwhile."""
    async with _view(content) as tx:
        wrong = await _quota(tx)
        wrong += await lists(tx)
        wrong += await _references(tx)
        wrong += await _candidates(tx)
        live = set((await tx.execute(select(t.blobs.c.storage_key))).scalars())
        trash = set((await tx.execute(select(t.blob_trash.c.storage_key))).scalars())
        intended = set((await tx.execute(select(t.upload_segments.c.storage_key))).scalars())
    kept = await content.keys()
    wrong += [f"the object {key} of a blob is missing" for key in sorted(live - kept)]
    wrong += [f"no row names the object {key}" for key in sorted(kept - live - trash - intended)]
    wrong += [f"{key} is in use and in the trash" for key in sorted(live & trash)]
    return wrong


async def leftovers(content: Content) -> list[str]:
    """What is there and nobody needs; to be asked when all leases are over and all is collected."""
    async with _view(content) as tx:
        unneeded = select(t.blobs.c.digest).where(
            ~exists().where(t.manifest_blobs.c.digest == t.blobs.c.digest)
        )
        wrong = [f"blob {digest} is left" for digest in (await tx.execute(unneeded)).scalars()]
        for table in (t.uploads, t.upload_segments, t.blob_trash, t.gc_candidates):
            rows = (await tx.execute(select(table))).all()
            wrong += [f"{table.name} is left: {row}" for row in rows]
    strays = await content.keys() ^ await content.live_keys()
    return wrong + [f"object {key} is left, or missing" for key in sorted(strays)]


@asynccontextmanager
async def _view(content: Content) -> AsyncIterator[Tx]:
    async with content.db.read() as tx:
        yield tx


async def lists(tx: Tx) -> list[str]:
    """What each row says of itself, found out without the step that writes it."""
    rows = (await tx.execute(select(t.manifests))).all()
    there = {(row.repository_id, row.digest) for row in rows}
    tagged = set((await tx.execute(select(t.tags.c.manifest_id))).scalars())
    children = set((await tx.execute(select(t.manifest_children.c.child_id))).scalars())
    wrong = []
    for row in rows:
        accessory = (row.repository_id, row.subject_digest) in there
        shown = not accessory and (row.id in tagged or row.id not in children)
        if (row.tagged, row.listed) != (row.id in tagged, shown):
            wrong.append(f"tagged {row.tagged}, listed {row.listed}: {row.digest}")
    return wrong


async def _quota(tx: Tx) -> list[str]:
    counted: dict[int, dict[str, int]] = {}
    should: dict[int, dict[str, int]] = {}
    for row in await tx.execute(select(t.project_content)):
        counted.setdefault(row.project_id, {})[row.digest] = row.size
    for query in _holds():
        for row in await tx.execute(query):
            should.setdefault(row.project_id, {})[row.digest] = row.size
    wrong = []
    for row in await tx.execute(select(t.quotas.c.project_id, t.quotas.c.used, t.quotas.c.hard)):
        there = counted.get(row.project_id, {})
        wanted = should.get(row.project_id, {})
        if row.used != sum(there.values()):
            wrong.append(f"quota says {row.used}, its rows {sum(there.values())}")
        if there != wanted:
            odd = sorted(there.items() ^ wanted.items())
            wrong.append(f"counted and held differ in project {row.project_id}: {odd}")
        if 0 <= row.hard < row.used:
            wrong.append(f"{row.used} bytes are over the limit of {row.hard}")
    return wrong


def _holds() -> list[Select[tuple[int, str, int]]]:
    """Project, digest and size of all that counts."""
    place = t.repositories.c.project_id
    of_manifests = t.manifests.c.repository_id == t.repositories.c.id
    return [
        select(place, t.manifests.c.digest, t.manifests.c.payload_size.label("size")).join_from(
            t.manifests, t.repositories, of_manifests
        ),
        select(place, t.manifest_blobs.c.digest, t.manifest_blobs.c.size)
        .join_from(t.manifest_blobs, t.manifests)
        .join(t.repositories, of_manifests),
        select(place, t.repository_blobs.c.digest, t.blobs.c.size)
        .join_from(t.repository_blobs, t.repositories)
        .join(t.blobs)
        .where(t.repository_blobs.c.pending),
    ]


async def _references(tx: Tx) -> list[str]:
    """The foreign keys see to the rest: rows of blobs, children, tags."""
    linked = exists().where(
        t.repository_blobs.c.repository_id == t.manifests.c.repository_id,
        t.repository_blobs.c.digest == t.manifest_blobs.c.digest,
    )
    dangling = (
        select(t.manifests.c.digest.label("manifest"), t.manifest_blobs.c.digest)
        .join_from(t.manifest_blobs, t.manifests)
        .where(~linked)
    )
    wrong = [f"{row.manifest} has lost {row.digest}" for row in await tx.execute(dangling)]
    unequal = (
        select(t.blobs.c.digest)
        .join(t.manifest_blobs, t.manifest_blobs.c.digest == t.blobs.c.digest)
        .where(t.blobs.c.size != t.manifest_blobs.c.size)
    )
    wrong += [f"{digest} has changed its size" for digest in (await tx.execute(unequal)).scalars()]
    hidden = (
        select(t.repositories.c.name)
        .join(t.manifests, t.manifests.c.repository_id == t.repositories.c.id)
        .where(t.repositories.c.pushed_at.is_(None))
    )
    wrong += [f"{name} is hidden and not empty" for name in (await tx.execute(hidden)).scalars()]
    return wrong


async def _candidates(tx: Tx) -> list[str]:
    """A blob that some repository holds without need, or none holds, will be looked at again."""
    referenced = exists().where(
        t.manifest_blobs.c.digest == t.blobs.c.digest,
        t.manifest_blobs.c.manifest_id == t.manifests.c.id,
        t.manifests.c.repository_id == t.repository_blobs.c.repository_id,
    )
    query = (
        select(t.blobs.c.digest)
        .outerjoin(t.repository_blobs, t.repository_blobs.c.digest == t.blobs.c.digest)
        .where(
            or_(
                t.repository_blobs.c.digest.is_(None),
                and_(t.repository_blobs.c.digest.is_not(None), ~referenced),
            ),
            ~exists().where(t.gc_candidates.c.digest == t.blobs.c.digest),
        )
    )
    forgotten = set((await tx.execute(query)).scalars())
    return [f"the collector has forgotten {digest}" for digest in sorted(forgotten)]
