"""Steps that store a manifest and its tags (M2)."""

from dataclasses import dataclass

from sqlalchemy import bindparam, select, update

from moorage import failpoints
from moorage.artifacts import (
    absences,
    kinds,
    ledger,
    listed,
    references,
    repositories,
    tagmoves,
    types,
)
from moorage.artifacts.references import References
from moorage.artifacts.repositories import Place
from moorage.artifacts.rules import Rules
from moorage.artifacts.tagmoves import Move
from moorage.db.prepared import Prepared
from moorage.db.tables import manifest_blobs, manifest_children, manifests, repository_blobs, tags
from moorage.db.tables import repositories as repository_table
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import ManifestUnknown
from moorage.events import ArtifactPushed, QuotaRefused, emit
from moorage.oci.manifest import ParsedManifest
from moorage.projects import immutability


@dataclass(frozen=True, slots=True)
class Push:
    """A manifest on its way in."""

    operator: str
    repository: str
    digest: str
    payload: bytes
    parsed: ParsedManifest
    tags: tuple[str, ...]
    restored: bool = False  # from the trash


async def put(tx: Tx, push: Push, rules: Rules) -> None:
    """M1 and M2."""
    place = await repositories.ensure(tx, push.repository)
    held = await references.check(tx, place.id, push.parsed, sparse=rules.sparse)
    await failpoints.reach("manifest.checked")
    await insert(tx, place, push, held, rules)
    await failpoints.reach("manifest.inserting")


async def insert(tx: Tx, place: Place, push: Push, held: References, rules: Rules) -> int:
    """Everything that a manifest is, on a transaction that holds its references; its row's id."""
    manifest_id, known = await _insert_manifest(tx, place, push, held)
    changed = {manifest_id, *(child.id for child in held.children)}
    moves = []
    for tag in sorted(push.tags):
        before, fresh = await _point(tx, place, tag, manifest_id)
        changed.add(before)
        if fresh:
            moves.append(Move(tag, "restored" if push.restored else "created", push.digest))
        elif before != manifest_id:
            moves.append(Move(tag, "moved", push.digest, before=before))
    await tagmoves.note(tx, place.id, push.operator, moves)
    await tx.fetch(_PUSHED, repository=place.id)
    await emit(
        tx,
        ArtifactPushed(
            project_id=place.project_id,
            repository=place.name,
            operator=push.operator,
            digest=push.digest,
            media_type=push.parsed.media_type,
            tags=list(push.tags),
        ),
    )
    contents = {blob.digest: blob.size for blob in held.blobs} | {push.digest: len(push.payload)}
    await ledger.charge(tx, place.project_id, contents, limited=rules.limited)
    await listed.refresh(tx, changed)
    await listed.hide_accessories(tx, place.id, push.digest)
    if known:
        await renew(tx, manifest_id)
    return manifest_id


async def renew(tx: Tx, manifest_id: int) -> None:
    """Of what no tag keeps: as after its first push, an index may be about to name it."""
    mine = manifests.c.id == manifest_id, ~manifests.c.tagged
    await tx.execute(update(manifests).where(*mine).values(pushed_at=now()))


async def _insert_manifest(tx: Tx, place: Place, push: Push, held: References) -> tuple[int, bool]:
    """The row's id, and whether it was there already."""
    parsed = push.parsed
    artifact_type = parsed.artifact_type or parsed.config_media_type
    config_type = types.config_type(parsed)
    rows = await tx.fetch(
        _INSERT,
        repository_id=place.id,
        digest=push.digest,
        media_type=parsed.media_type,
        artifact_type=artifact_type,
        config_media_type=config_type,
        type=types.of(parsed.media_type, config_type, artifact_type),
        payload=push.payload,
        payload_size=len(push.payload),
        total_size=held.total_size(len(push.payload)),
        depth=held.depth,
        subject_digest=parsed.subject.digest if parsed.subject else None,
        annotations=dict(parsed.annotations),
        pushed_by=push.operator,
    )
    if not rows:
        # The same bytes again: it holds its references already; keep it from being deleted.
        return await _lock_manifest(tx, place, push.digest), True
    manifest_id = int(rows[0][0])
    await _insert_references(tx, place, manifest_id, held)
    await absences.adopt(tx, place, push.digest, child_id=manifest_id)
    return manifest_id, False


async def _lock_manifest(tx: Tx, place: Place, digest: str) -> int:
    query = select(manifests.c.id).where(
        manifests.c.repository_id == place.id, manifests.c.digest == digest
    )
    locked = tx.dialect.for_key_share(query)
    manifest_id = (await tx.execute(locked)).scalar_one_or_none()
    if manifest_id is None:
        raise ManifestUnknown(f"{digest} was deleted at this moment; push it again")
    return int(manifest_id)


async def _insert_references(tx: Tx, place: Place, manifest_id: int, held: References) -> None:
    named = sorted(held.blobs, key=lambda blob: blob.digest)
    rows = [{"manifest": manifest_id, "digest": blob.digest, "size": blob.size} for blob in named]
    await tx.fetch_many(_REFER, rows)
    if held.children:
        await tx.execute(
            manifest_children.insert(),
            [
                {
                    "parent_id": manifest_id,
                    "child_id": child.id,
                    "position": position,
                    "platform": child.descriptor.platform,
                }
                for position, child in enumerate(held.children)
            ],
        )
    await absences.note(tx, manifest_id, held.absent)
    among = tx.dialect.many([blob.digest for blob in named])
    await tx.fetch(_SETTLE, repository=place.id, digests=among)


async def _point(tx: Tx, place: Place, tag: str, manifest_id: int) -> tuple[int, bool]:
    """Make the tag, or move it: where it pointed until now, and whether it is new.

    Raises TagImmutable.

    One statement unless it moves: it locks the row and tells where the tag pointed.
    """
    row = {"repository": place.id, "name": tag, "manifest": manifest_id}
    ((pointed, revision),) = await tx.fetch(_POINT, **row)
    if pointed != manifest_id:
        await immutability.guard(tx, place.project_id, place.name, (tag,))
        await tx.fetch(_MOVE, **row)
    tx.touch(kinds.TAG.key(place.name, tag))
    return int(pointed), revision == 1


_COLUMNS = (
    "repository_id",
    "digest",
    "media_type",
    "artifact_type",
    "config_media_type",
    "type",
    "payload",
    "payload_size",
    "total_size",
    "depth",
    "subject_digest",
    "annotations",
    "pushed_by",
)
_INSERT = Prepared(
    lambda dialect: (
        dialect.insert(manifests)
        .values({name: bindparam(name) for name in _COLUMNS})
        .on_conflict_do_nothing(index_elements=["repository_id", "digest"])
        .returning(manifests.c.id)
    )
)
_REFER = Prepared(
    lambda dialect: manifest_blobs.insert().values(
        manifest_id=bindparam("manifest"), digest=bindparam("digest"), size=bindparam("size")
    )
)
_SETTLE = Prepared(
    lambda dialect: (
        update(repository_blobs)
        .where(
            repository_blobs.c.repository_id == bindparam("repository"),
            dialect.among(repository_blobs.c.digest, "digests"),
            repository_blobs.c.pending,
        )
        .values(pending=False)
    )
)
_PUSHED = Prepared(
    lambda dialect: (
        update(repository_table)
        .where(repository_table.c.id == bindparam("repository"))
        .values(updated_at=now(), pushed_at=now())
    )
)
_POINT = Prepared(
    lambda dialect: (
        dialect.insert(tags)
        .values(
            repository_id=bindparam("repository"),
            name=bindparam("name"),
            manifest_id=bindparam("manifest"),
        )
        .on_conflict_do_update(
            index_elements=["repository_id", "name"],
            set_={"revision": tags.c.revision + 1, "pushed_at": now()},
        )
        .returning(tags.c.manifest_id, tags.c.revision)
    )
)
_MOVE = Prepared(
    lambda dialect: (
        update(tags)
        .where(tags.c.repository_id == bindparam("repository"), tags.c.name == bindparam("name"))
        .values(manifest_id=bindparam("manifest"))
    )
)


async def tell_refused(tx: Tx, push: Push, message: str) -> None:
    """Tell that a push did not fit; a transaction of its own, after the push's was rolled back."""
    place = await repositories.find(tx, push.repository)
    if place is not None:
        fact = QuotaRefused(
            project_id=place.project_id,
            repository=place.name,
            operator=push.operator,
            message=message,
        )
        await emit(tx, fact)
