"""Steps that delete (D1): what was deleted goes to the trash, its bytes to the collector."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Row, Select, exists, or_, select, update
from sqlalchemy import delete as sql_delete

from moorage import failpoints
from moorage.artifacts import blobs, kinds, labels, ledger, listed, repositories, tagmoves
from moorage.artifacts.repositories import Place
from moorage.artifacts.rules import Rules
from moorage.artifacts.tagmoves import Move
from moorage.db.tables import (
    artifact_trash,
    manifest_blobs,
    manifest_children,
    manifests,
    tags,
)
from moorage.db.tables import repositories as repository_table
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.errors import ManifestUnknown, PreconditionFailed, TagUnknown
from moorage.events import ArtifactDeleted, RepositoryDeleted, TagDeleted, emit
from moorage.projects import immutability

_BATCH = 500

Found = Row[tuple[int, str, str, bytes]]
_COLUMNS = manifests.c.id, manifests.c.digest, manifests.c.media_type, manifests.c.payload


@dataclass(slots=True)
class _Had:
    """What belonged to a deleted manifest, for the trash."""

    tags: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)  # digests
    labels: list[int] = field(default_factory=list)  # ids


async def delete(
    tx: Tx,
    repository: str,
    digest: str,
    operator: str,
    rules: Rules,
    *,
    untagged: float | None = None,
) -> None:
    """Delete a manifest, its tags, and the untagged manifests that refer to it as their subject.

    `untagged`: only if it has no tag, and neither it nor what refers to it was pushed for so many
    seconds. Raises ManifestUnknown; PreconditionFailed where that is not so, and while an index
    names it; TagImmutable.
    """
    place = await repositories.demand(tx, repository)
    here = manifests.c.repository_id == place.id, manifests.c.digest == digest
    await _lock_tags(tx, select(manifests.c.id).where(*here))
    query = select(*_COLUMNS).where(*here)
    found = (await tx.execute(tx.dialect.for_update(query))).one_or_none()
    if found is None:
        raise ManifestUnknown(detail={"digest": digest})
    await _refuse_children(tx, found)
    if untagged is not None:
        await _refuse_tagged(tx, found)
        await _refuse_fresh(tx, place, found, untagged)
    doomed = [found, *await _referrers(tx, place, digest)]
    await _remove(tx, place, doomed, operator, rules)
    await failpoints.reach("delete.deleting")


async def _lock_tags(tx: Tx, ids: Select[int]) -> None:
    """In the order of a push, tags by name and then manifests: else both wait for each other."""
    held = select(tags.c.id).where(tags.c.manifest_id.in_(ids)).order_by(tags.c.name)
    await tx.execute(tx.dialect.for_update(held))


async def _refuse_children(tx: Tx, found: Found) -> None:
    parent = (
        select(manifests.c.digest)
        .join(manifest_children, manifest_children.c.parent_id == manifests.c.id)
        .where(manifest_children.c.child_id == found.id)
        .limit(1)
    )
    index = (await tx.execute(parent)).scalar_one_or_none()
    if index is not None:
        raise PreconditionFailed(f"index {index} refers to this manifest; delete the index first")


async def _refuse_tagged(tx: Tx, found: Found) -> None:
    """The manifest is locked: whoever wants to tag it comes after us, or has committed."""
    query = select(tags.c.name).where(tags.c.manifest_id == found.id).limit(1)
    tag = (await tx.execute(query)).scalar_one_or_none()
    if tag is not None:
        raise PreconditionFailed(f"tag {tag} names this manifest")


async def _refuse_fresh(tx: Tx, place: Place, found: Found, seconds: float) -> None:
    query = select(manifests.c.digest).where(
        manifests.c.repository_id == place.id,
        or_(manifests.c.id == found.id, manifests.c.subject_digest == found.digest),
        manifests.c.pushed_at > from_now(-seconds),
    )
    pushed = (await tx.execute(query.limit(1))).scalar_one_or_none()
    if pushed is not None:
        raise PreconditionFailed(f"{pushed} was pushed lately")


async def _referrers(tx: Tx, place: Place, digest: str) -> list[Found]:
    """Signatures, SBOMs and the like below `digest`, at every depth, that no tag or index keeps."""
    found: dict[int, Found] = {}
    level = [digest]
    while level:
        below = select(manifests.c.id).where(
            manifests.c.repository_id == place.id, manifests.c.subject_digest.in_(level)
        )
        locked = tx.dialect.for_update(below.order_by(manifests.c.id))
        ids = (await tx.execute(locked)).scalars().all()
        # A statement of its own: a push that the lock waited for may have tagged one of them.
        query = (
            select(*_COLUMNS)
            .where(
                manifests.c.id.in_(ids),
                ~exists().where(tags.c.manifest_id == manifests.c.id),
                ~exists().where(manifest_children.c.child_id == manifests.c.id),
            )
            .order_by(manifests.c.id)
        )
        rows = (await tx.execute(query)).all()
        level = [row.digest for row in rows if row.id not in found]
        found |= {row.id: row for row in rows}
    return [row for row in found.values() if row.digest != digest]


async def _remove(
    tx: Tx, place: Place, doomed: Sequence[Found], operator: str, rules: Rules
) -> None:
    """Delete manifests that nothing outside of `doomed` refers to; raises TagImmutable."""
    ids = [found.id for found in doomed]
    had = {manifest_id: _Had() for manifest_id in ids}
    children: set[int] = set()
    for start in range(0, len(ids), _BATCH):
        children |= await _detach(tx, place, ids[start : start + _BATCH], had)
    for start in range(0, len(ids), _BATCH):
        await tx.execute(
            sql_delete(manifests).where(manifests.c.id.in_(ids[start : start + _BATCH]))
        )
    for found in doomed:
        tx.touch(kinds.MANIFEST.key(place.name, found.digest))
    moves = [
        Move(tag, "deleted", previous=found.digest)
        for found in doomed
        for tag in sorted(had[found.id].tags)
    ]
    await tagmoves.note(tx, place.id, operator, moves)
    await _keep_in_trash(tx, place, doomed, had, operator, rules)
    freed = {digest for each in had.values() for digest in each.blobs}
    candidates = sorted(freed)
    for start in range(0, len(candidates), _BATCH):
        await blobs.nominate(tx, candidates[start : start + _BATCH], 0, "manifest deleted")
    await emit(
        tx,
        *(
            ArtifactDeleted(
                project_id=place.project_id,
                repository=place.name,
                operator=operator,
                digest=found.digest,
                tags=sorted(had[found.id].tags),
            )
            for found in doomed
        ),
    )
    digests = [found.digest for found in doomed]
    await ledger.settle(tx, place.project_id, freed | set(digests))
    await listed.refresh(tx, children - set(ids))
    for start in range(0, len(digests), _BATCH):
        left = await listed.accessories(tx, place.id, digests[start : start + _BATCH])
        await listed.refresh(tx, left)


async def _detach(tx: Tx, place: Place, batch: list[int], had: dict[int, _Had]) -> set[int]:
    """Delete what belongs to the manifests of a batch, and note it in `had`; their children."""
    gone = sql_delete(tags).where(tags.c.manifest_id.in_(batch))
    untied = (await tx.execute(gone.returning(tags.c.name, tags.c.manifest_id))).all()
    for row in untied:
        had[row.manifest_id].tags.append(row.name)
        tx.touch(kinds.TAG.key(place.name, row.name))
    await immutability.guard(tx, place.project_id, place.name, [row.name for row in untied])
    parents = sql_delete(manifest_children).where(manifest_children.c.parent_id.in_(batch))
    children = await tx.execute(parents.returning(manifest_children.c.child_id))
    freed = set(children.scalars())
    links = sql_delete(manifest_blobs).where(manifest_blobs.c.manifest_id.in_(batch))
    returned = links.returning(manifest_blobs.c.manifest_id, manifest_blobs.c.digest)
    for link in await tx.execute(returned):
        had[link.manifest_id].blobs.append(link.digest)
    for manifest_id, label_id in await labels.take_off(tx, batch):
        had[manifest_id].labels.append(label_id)
    return freed


async def _keep_in_trash(
    tx: Tx,
    place: Place,
    doomed: Sequence[Found],
    had: dict[int, _Had],
    operator: str,
    rules: Rules,
) -> None:
    for found in doomed:
        await tx.execute(
            artifact_trash.insert().values(
                repository_id=place.id,
                digest=found.digest,
                media_type=found.media_type,
                payload=found.payload,
                tags=sorted(had[found.id].tags),
                blobs=sorted(had[found.id].blobs),
                labels=sorted(had[found.id].labels),
                deleted_by=operator,
                expires_at=from_now(rules.trash),
            )
        )


async def delete_tag(tx: Tx, repository: str, tag: str, operator: str) -> None:
    """Remove a tag; raises TagUnknown, TagImmutable."""
    place = await repositories.demand(tx, repository)
    gone = (
        sql_delete(tags)
        .where(tags.c.repository_id == place.id, tags.c.name == tag)
        .returning(tags.c.manifest_id)
    )
    manifest_id = (await tx.execute(gone)).scalar_one_or_none()
    if manifest_id is None:
        raise TagUnknown(f"tag {tag} not found", detail={"tag": tag})
    await immutability.guard(tx, place.project_id, place.name, (tag,))
    tx.touch(kinds.TAG.key(repository, tag))
    named = select(manifests.c.digest).where(manifests.c.id == manifest_id)
    digest = (await tx.execute(named)).scalar_one()
    await tagmoves.note(tx, place.id, operator, [Move(tag, "deleted", previous=digest)])
    fact = TagDeleted(
        project_id=place.project_id,
        repository=repository,
        operator=operator,
        digest=digest,
        tag=tag,
    )
    await emit(tx, fact)
    await ledger.lock(tx, place.project_id)
    await listed.refresh(tx, [manifest_id])
    await failpoints.reach("delete.deleting")


async def delete_repository(tx: Tx, repository: str, operator: str, rules: Rules) -> None:
    """Delete all manifests of a repository and hide it; raises RepositoryUnknown, TagImmutable."""
    # Alone: an index that is pushed meanwhile would hold its children, or be hidden with its tag.
    place = await repositories.demand_alone(tx, repository)
    query = select(*_COLUMNS).where(manifests.c.repository_id == place.id)
    rows = (await tx.execute(query.order_by(manifests.c.id))).all()
    await _remove(tx, place, rows, operator, rules)
    await tx.execute(
        update(repository_table)
        .where(repository_table.c.id == place.id)
        .values(pushed_at=None, description="", pull_count=0)
    )
    fact = RepositoryDeleted(project_id=place.project_id, repository=repository, operator=operator)
    await emit(tx, fact)
    await failpoints.reach("delete.deleting")
