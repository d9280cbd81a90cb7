"""Steps that write down what is stored already: manifests with their blobs, and tags.

The rows are those of a push, many at a time, with two differences: nobody is told of each (no
webhook for a hundred thousand old images), and times are those of the old registry. What a manifest
names and the storage lacks is remembered as absent, as where sparse manifests are allowed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update

from moorage.artifacts import absences, kinds, ledger, listed, repositories, types
from moorage.artifacts.repositories import Place
from moorage.db.tables import (
    blob_trash,
    blobs,
    manifest_absences,
    manifest_blobs,
    manifest_children,
    manifests,
    repository_blobs,
    tags,
)
from moorage.db.tables import repositories as repository_table
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.oci.manifest import Descriptor, ParsedManifest

OPERATOR = "import"
"""Who pushed it, for lists."""

_BATCH = 400


@dataclass(frozen=True, slots=True)
class Item:
    """A manifest that is to be filed; what it names and is not there was left out of `held`."""

    digest: str
    payload: bytes
    parsed: ParsedManifest
    modified: datetime
    held: frozenset[str]  # digests of blobs whose bytes are there


@dataclass(slots=True)
class Filed:
    """What came of one repository's."""

    manifests: int = 0
    blobs: int = 0
    lost: list[str] = field(default_factory=list)  # digests of blobs that go at this moment


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    total: int
    depth: int
    size: int


async def file(tx: Tx, repository: str, items: Sequence[Item], keys: Mapping[str, str]) -> Filed:
    """Step: file manifests of one repository, what an index names before the index.

    `keys` are the storage keys of blobs by digest. Raises ProjectUnknown, NameInvalid.
    """
    done = Filed()
    place = await repositories.ensure(tx, repository)
    wanted = {b.digest: b for item in items for b in item.parsed.blobs if b.digest in item.held}
    sizes = await _hold_blobs(tx, place, wanted, keys, done)
    known = await _known(tx, place, [child.digest for i in items for child in i.parsed.children])
    rows, fresh = [], []
    for item in items:
        if item.digest in known and known[item.digest].id:
            continue
        row, facts = _row(place, item, sizes, known)
        known[item.digest] = facts
        rows.append(row)
        fresh.append(item)
    ids = await _insert(tx, place, rows)
    fresh = [item for item in fresh if item.digest in ids]
    for digest, number in ids.items():
        facts = known[digest]
        known[digest] = _Known(number, facts.total, facts.depth, facts.size)
    await _refer(tx, fresh, known, sizes)
    changed = set(ids.values()) | {
        known[child.digest].id
        for item in fresh
        for child in item.parsed.children
        if child.digest in known
    }
    await _adopt(tx, place, [*ids, *sizes], ids)
    await _note_push(tx, place, fresh)
    contents = {item.digest: len(item.payload) for item in fresh}
    contents |= {b.digest: b.size for i in fresh for b in i.parsed.blobs if b.digest in sizes}
    await ledger.charge(tx, place.project_id, contents, limited=False)
    await listed.refresh(tx, changed)
    for item in fresh:
        await listed.hide_accessories(tx, place.id, item.digest)
    done.manifests = len(ids)
    return done


def _row(
    place: Place, item: Item, sizes: Mapping[str, int], known: Mapping[str, _Known]
) -> tuple[dict[str, Any], _Known]:
    parsed = item.parsed
    artifact_type = parsed.artifact_type or parsed.config_media_type
    config_type = types.config_type(parsed)
    children = [known[child.digest] for child in parsed.children if child.digest in known]
    total = len(item.payload) + sum(child.total for child in children)
    total += sum(blob.size for blob in parsed.blobs if blob.digest in sizes)
    depth = max((child.depth + 1 for child in children), default=0)
    row = {
        "repository_id": place.id,
        "digest": item.digest,
        "media_type": parsed.media_type,
        "artifact_type": artifact_type,
        "config_media_type": config_type,
        "type": types.of(parsed.media_type, config_type, artifact_type),
        "payload": item.payload,
        "payload_size": len(item.payload),
        "total_size": total,
        "depth": depth,
        "subject_digest": parsed.subject.digest if parsed.subject else None,
        "annotations": dict(parsed.annotations),
        "pushed_by": OPERATOR,
        "pushed_at": item.modified,
    }
    return row, _Known(0, total, depth, len(item.payload))


async def _hold_blobs(
    tx: Tx, place: Place, wanted: Mapping[str, Descriptor], keys: Mapping[str, str], done: Filed
) -> dict[str, int]:
    """Rows and links of blobs; digest to size of those that are held until the commit."""
    digests = sorted(wanted)
    held: dict[str, int] = {}
    for start in range(0, len(digests), _BATCH):
        some = digests[start : start + _BATCH]
        some = await _revive(tx, some, keys, done)
        if not some:
            continue
        rows = [{"digest": d, "size": wanted[d].size, "storage_key": keys[d]} for d in some]
        insert = tx.dialect.insert(blobs).values(rows).on_conflict_do_nothing()
        made = await tx.execute(insert.returning(blobs.c.digest))
        done.blobs += len(made.all())
        query = select(blobs.c.digest, blobs.c.size).where(blobs.c.digest.in_(some))
        locked = await tx.execute(tx.dialect.for_key_share(query.order_by(blobs.c.digest)))
        found = {r.digest: r.size for r in locked if r.size == wanted[r.digest].size}
        held |= found
        done.lost += [digest for digest in some if digest not in found]
        links = [
            {"repository_id": place.id, "digest": d, "lease_until": now(), "pending": False}
            for d in found
        ]
        if links:
            link = tx.dialect.insert(repository_blobs).values(links)
            await tx.execute(
                link.on_conflict_do_update(
                    index_elements=["repository_id", "digest"], set_={"pending": False}
                )
            )
        for digest in found:
            tx.touch(kinds.BLOB.key(place.name, digest))
    return held


async def _revive(
    tx: Tx, digests: Sequence[str], keys: Mapping[str, str], done: Filed
) -> list[str]:
    """Take keys back out of the trash; those that are being deleted right now are lost."""
    mine = blob_trash.c.storage_key.in_([keys[digest] for digest in digests])
    query = select(blob_trash.c.storage_key, blob_trash.c.sweeping).where(mine)
    rows = (await tx.execute(tx.dialect.for_update(query))).all()
    if not rows:
        return list(digests)
    going = {row.storage_key for row in rows if row.sweeping}
    await tx.execute(delete(blob_trash).where(mine, ~blob_trash.c.sweeping))
    done.lost += [digest for digest in digests if keys[digest] in going]
    return [digest for digest in digests if keys[digest] not in going]


async def _known(tx: Tx, place: Place, digests: Sequence[str]) -> dict[str, _Known]:
    found: dict[str, _Known] = {}
    wanted = sorted(set(digests))
    for start in range(0, len(wanted), _BATCH):
        query = select(
            manifests.c.digest,
            manifests.c.id,
            manifests.c.total_size,
            manifests.c.depth,
            manifests.c.payload_size,
        ).where(
            manifests.c.repository_id == place.id,
            manifests.c.digest.in_(wanted[start : start + _BATCH]),
        )
        for row in await tx.execute(tx.dialect.for_key_share(query)):
            found[row.digest] = _Known(row.id, row.total_size, row.depth, row.payload_size)
    return found


async def _insert(tx: Tx, place: Place, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Ids of those that were not there, by digest."""
    ids: dict[str, int] = {}
    for start in range(0, len(rows), 50):
        insert = tx.dialect.insert(manifests).values(rows[start : start + 50])
        made = insert.on_conflict_do_nothing(index_elements=["repository_id", "digest"])
        for row in await tx.execute(made.returning(manifests.c.digest, manifests.c.id)):
            ids[row.digest] = row.id
    return ids


async def _refer(
    tx: Tx, items: Sequence[Item], known: Mapping[str, _Known], sizes: Mapping[str, int]
) -> None:
    references, children = [], []
    for item in items:
        number = known[item.digest].id
        references += [
            {"manifest_id": number, "digest": blob.digest, "size": blob.size}
            for blob in item.parsed.blobs
            if blob.digest in sizes
        ]
        children += [
            {
                "parent_id": number,
                "child_id": known[child.digest].id,
                "position": position,
                "platform": child.platform,
            }
            for position, child in enumerate(item.parsed.children)
            if child.digest in known
        ]
        absent = [
            d
            for d in (*item.parsed.blobs, *item.parsed.children)
            if d.digest not in sizes and d.digest not in known
        ]
        await absences.note(tx, number, absent)
    if references:
        await tx.execute(manifest_blobs.insert(), references)
    if children:
        await tx.execute(manifest_children.insert(), children)


async def _adopt(tx: Tx, place: Place, digests: Sequence[str], ids: Mapping[str, int]) -> None:
    """What was named in vain before and is there now."""
    for start in range(0, len(digests), _BATCH):
        query = (
            select(manifest_absences.c.digest)
            .join(manifests, manifests.c.id == manifest_absences.c.manifest_id)
            .where(
                manifests.c.repository_id == place.id,
                manifest_absences.c.digest.in_(digests[start : start + _BATCH]),
            )
            .distinct()
        )
        for digest in (await tx.execute(query)).scalars().all():
            await absences.adopt(tx, place, digest, child_id=ids.get(digest))


async def _note_push(tx: Tx, place: Place, items: Sequence[Item]) -> None:
    if not items:
        return
    newest = max(item.modified for item in items)
    await tx.execute(
        update(repository_table)
        .where(repository_table.c.id == place.id)
        .values(
            updated_at=now(),
            pushed_at=func.coalesce(repository_table.c.pushed_at, newest),
        )
    )


@dataclass(frozen=True, slots=True)
class Pointer:
    """A tag that is to point at a manifest."""

    tag: str
    digest: str
    modified: datetime


@dataclass(slots=True)
class Pointed:
    """What came of one repository's."""

    new: int = 0
    moved: int = 0
    same: int = 0
    kept: list[str] = field(default_factory=list)  # tags that were pushed here since
    missing: list[Pointer] = field(default_factory=list)  # whose manifest is not here


async def point(tx: Tx, repository: str, pointers: Iterable[Pointer]) -> Pointed:
    """Step: make tags, or move them where nobody moved them here after the old registry did."""
    done = Pointed()
    wanted = list(pointers)
    place = await repositories.find(tx, repository)
    if place is None:
        done.missing = wanted
        return done
    ids = await _known(tx, place, [pointer.digest for pointer in wanted])
    there: dict[str, Any] = {}
    for start in range(0, len(wanted), _BATCH):
        names = [pointer.tag for pointer in wanted[start : start + _BATCH]]
        query = select(tags.c.name, tags.c.manifest_id, tags.c.pushed_at).where(
            tags.c.repository_id == place.id, tags.c.name.in_(names)
        )
        there |= {r.name: r for r in await tx.execute(tx.dialect.for_update(query))}
    changed: set[int] = set()
    rows = []
    for pointer in wanted:
        known = ids.get(pointer.digest)
        found = there.get(pointer.tag)
        if known is None:
            done.missing.append(pointer)
        elif found is None:
            rows.append(
                {
                    "repository_id": place.id,
                    "name": pointer.tag,
                    "manifest_id": known.id,
                    "pushed_at": pointer.modified,
                }
            )
            changed.add(known.id)
            done.new += 1
        elif found.manifest_id == known.id:
            done.same += 1
        elif found.pushed_at > pointer.modified:
            done.kept.append(pointer.tag)
        else:
            mine = tags.c.repository_id == place.id, tags.c.name == pointer.tag
            values = {
                "manifest_id": known.id,
                "pushed_at": pointer.modified,
                "revision": tags.c.revision + 1,
            }
            await tx.execute(update(tags).where(*mine).values(values))
            changed |= {known.id, found.manifest_id}
            done.moved += 1
        tx.touch(kinds.TAG.key(repository, pointer.tag))
    for start in range(0, len(rows), _BATCH):
        insert = tx.dialect.insert(tags).values(rows[start : start + _BATCH])
        await tx.execute(insert.on_conflict_do_nothing())
    await ledger.lock(tx, place.project_id)
    await listed.refresh(tx, changed)
    return done
