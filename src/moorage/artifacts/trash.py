"""Steps that bring a deleted manifest back.

artifact_trash ─► manifest, tags that are free, labels that are still there
blob_trash ─────► blobs: the row returns with the very key, unless the sweeper has claimed it

Only blobs that the manifest held here come back with it. What it merely names may be absent, and
may be somebody else's: linking it would hand their bytes to whoever knows a digest.

In a project that is a cache, and wherever manifests may be sparse, an index comes back without the
children that were never here.
"""

from dataclasses import replace

from sqlalchemy import Row, delete, select

from moorage import failpoints
from moorage.artifacts import blobs, labels, references, repositories, storing
from moorage.artifacts.records import Pushed
from moorage.artifacts.repositories import Place
from moorage.artifacts.rules import Rules
from moorage.artifacts.storing import Push
from moorage.db.tables import artifact_trash, blob_trash, manifests, project_registries, tags
from moorage.db.tables import blobs as blob_table
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import ManifestBlobUnknown, ManifestUnknown
from moorage.oci.manifest import Descriptor, ParsedManifest, parse

Kept = Row[tuple[str, bytes, list[str], list[str], list[int]]]


async def restore(tx: Tx, repository: str, digest: str, operator: str, rules: Rules) -> Pushed:
    """Bring a manifest and the deleted children that it names back.

    Raises RepositoryUnknown, ManifestUnknown, ManifestBlobUnknown, QuotaExceeded.
    """
    # Alone: a tag that is free must still be so when it is given back.
    place = await repositories.demand_alone(tx, repository)
    if await _cached(tx, place):
        rules = replace(rules, sparse=True)
    return await _restore(tx, place, digest, operator, rules)


async def _cached(tx: Tx, place: Place) -> bool:
    """Whether the project is a cache of another registry."""
    query = select(project_registries.c.registry_id).where(
        project_registries.c.project_id == place.project_id
    )
    return (await tx.execute(query)).scalar_one_or_none() is not None


async def _restore(tx: Tx, place: Place, digest: str, operator: str, rules: Rules) -> Pushed:
    kept = await _take(tx, place, digest)
    parsed = parse(kept.payload, kept.media_type)
    for blob in sorted(parsed.blobs, key=lambda blob: blob.digest):
        if blob.digest in kept.blobs:
            await _revive(tx, place, blob, rules)
    for child in await _deleted(tx, place, parsed, rules):
        await _restore(tx, place, child, operator, rules)
    free = await _free(tx, place, kept.tags)
    push = Push(operator, place.name, digest, kept.payload, parsed, free, restored=True)
    held = await references.check(tx, place.id, parsed, sparse=rules.sparse)
    manifest_id = await storing.insert(tx, place, push, held, rules)
    await labels.put_back(tx, place, manifest_id, kept.labels)
    await failpoints.reach("restore.restoring")
    return Pushed(digest, free, parsed.subject.digest if parsed.subject else None)


async def _take(tx: Tx, place: Place, digest: str) -> Kept:
    """Remove a manifest from the trash; the newest, if it was deleted several times."""
    mine = artifact_trash.c.repository_id == place.id, artifact_trash.c.digest == digest
    query = (
        select(
            artifact_trash.c.media_type,
            artifact_trash.c.payload,
            artifact_trash.c.tags,
            artifact_trash.c.blobs,
            artifact_trash.c.labels,
        )
        .where(*mine, artifact_trash.c.expires_at > now())
        .order_by(artifact_trash.c.id.desc())
        .limit(1)
    )
    kept = (await tx.execute(tx.dialect.for_update(query))).one_or_none()
    if kept is None:
        raise ManifestUnknown(f"{digest} is not in the trash of {place.name}")
    await tx.execute(delete(artifact_trash).where(*mine))
    return kept


async def _revive(tx: Tx, place: Place, blob: Descriptor, rules: Rules) -> None:
    if await blobs.lock(tx, blob.digest) is None:
        query = (
            select(blob_trash.c.storage_key)
            .where(blob_trash.c.digest == blob.digest, ~blob_trash.c.sweeping)
            .order_by(blob_trash.c.not_before.desc())
            .limit(1)
        )
        key = (await tx.execute(tx.dialect.for_update(query))).scalar_one_or_none()
        if key is None:
            if blob.foreign:
                return
            raise ManifestBlobUnknown(f"{blob.digest} was collected; push the image again")
        row = {"digest": blob.digest, "size": blob.size, "storage_key": key}
        insert = tx.dialect.insert(blob_table).values(row).on_conflict_do_nothing()
        back = await tx.execute(insert.returning(blob_table.c.digest))
        if back.scalar_one_or_none() is None:
            # Somebody pushed it at this moment: theirs is used, the old bytes stay in the trash.
            await _revive(tx, place, blob, rules)
            return
        await tx.execute(delete(blob_trash).where(blob_trash.c.storage_key == key))
    await blobs.lease(tx, place.id, blob.digest, rules)


async def _deleted(tx: Tx, place: Place, parsed: ParsedManifest, rules: Rules) -> list[str]:
    """Children that are not there; where some may be absent, those that were."""
    wanted = [child.digest for child in parsed.children]
    query = select(manifests.c.digest).where(
        manifests.c.repository_id == place.id, manifests.c.digest.in_(wanted)
    )
    there = set((await tx.execute(query)).scalars())
    missing = [digest for digest in wanted if digest not in there]
    if not (missing and rules.sparse):
        return missing
    kept = select(artifact_trash.c.digest).where(
        artifact_trash.c.repository_id == place.id,
        artifact_trash.c.digest.in_(missing),
        artifact_trash.c.expires_at > now(),
    )
    deleted = set((await tx.execute(kept)).scalars())
    return [digest for digest in missing if digest in deleted]


async def _free(tx: Tx, place: Place, names: list[str]) -> tuple[str, ...]:
    """Tags that nobody has used again."""
    query = select(tags.c.name).where(tags.c.repository_id == place.id, tags.c.name.in_(names))
    taken = set((await tx.execute(query)).scalars())
    return tuple(name for name in names if name not in taken)
