"""The step that gives a stored manifest a new tag.

Unlike a push, it never moves a tag: of two that make the same one, the second is refused by the
insert itself. A look beforehand would let both through.
"""

from sqlalchemy import select

from moorage.artifacts import kinds, ledger, listed, repositories, tagmoves
from moorage.artifacts.tagmoves import Move
from moorage.db import Tx
from moorage.db.tables import manifests, tags
from moorage.errors import Conflict, ManifestUnknown
from moorage.events import ArtifactPushed, emit


async def add(tx: Tx, repository: str, digest: str, name: str, operator: str) -> None:
    """Make a tag; raises RepositoryUnknown, ManifestUnknown, Conflict when there is one."""
    place = await repositories.demand(tx, repository)
    query = select(manifests.c.id, manifests.c.media_type).where(
        manifests.c.repository_id == place.id, manifests.c.digest == digest
    )
    manifest = (await tx.execute(tx.dialect.for_key_share(query))).one_or_none()
    if manifest is None:
        raise ManifestUnknown(f"{digest} not found in {repository}")
    fresh = (
        tx.dialect.insert(tags)
        .values(repository_id=place.id, name=name, manifest_id=manifest.id)
        .on_conflict_do_nothing(index_elements=["repository_id", "name"])
    )
    if (await tx.execute(fresh.returning(tags.c.id))).scalar_one_or_none() is None:
        raise Conflict(f"tag {name} already exists in {repository}")
    tx.touch(kinds.TAG.key(repository, name))
    await tagmoves.note(tx, place.id, operator, [Move(name, "created", digest)])
    fact = ArtifactPushed(
        project_id=place.project_id,
        repository=repository,
        operator=operator,
        digest=digest,
        media_type=manifest.media_type,
        tags=[name],
    )
    await emit(tx, fact)
    await ledger.lock(tx, place.project_id)
    await listed.refresh(tx, [manifest.id])
