"""Labels on artifacts: steps that put them on and take them off, and what lists ask of them.

A manifest carries global labels and those of its own project; a label of another project is none
at all here. Who adds or removes several rows holds their labels first: the delete of a label takes
the rows below it along, and two that want the same rows would meet half-way.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select

from moorage.artifacts import repositories
from moorage.artifacts.repositories import Place
from moorage.db.prepared import Prepared
from moorage.db.queries import AllOf, Exact, Match, condition
from moorage.db.tables import labels, manifest_labels, manifests
from moorage.db.transactions import Tx
from moorage.errors import Conflict, ManifestUnknown, NotFound, PreconditionFailed
from moorage.events import ArtifactLabelled, ArtifactUnlabelled, emit
from moorage.projects.records import Label

MAX_LABELS = 100
"""Labels of one artifact; two that are added at the same moment may go beyond."""


async def add(tx: Tx, repository: str, digest: str, label_id: int, operator: str) -> None:
    """Put a label on a manifest.

    Raises RepositoryUnknown, ManifestUnknown; NotFound when there is no such label for this
    project; Conflict when the manifest carries it; PreconditionFailed beyond MAX_LABELS.
    """
    place = await repositories.demand(tx, repository)
    query = select(manifests.c.id).where(
        manifests.c.repository_id == place.id, manifests.c.digest == digest
    )
    manifest_id = (await tx.execute(tx.dialect.for_key_share(query))).scalar_one_or_none()
    if manifest_id is None:
        raise ManifestUnknown(f"{digest} not found in {repository}")
    usable = await _usable(tx, place, [label_id])
    if not usable:
        raise NotFound(f"label {label_id} not found")
    fresh = (
        tx.dialect.insert(manifest_labels)
        .values(manifest_id=manifest_id, label_id=label_id)
        .on_conflict_do_nothing()
        .returning(manifest_labels.c.label_id)
    )
    if (await tx.execute(fresh)).scalar_one_or_none() is None:
        raise Conflict(f"the artifact carries label {label_id} already")
    carries = select(func.count()).where(manifest_labels.c.manifest_id == manifest_id)
    if (await tx.execute(carries)).scalar_one() > MAX_LABELS:
        raise PreconditionFailed(f"an artifact has at most {MAX_LABELS} labels; remove one first")
    await _tell(tx, ArtifactLabelled, place, digest, usable[label_id], operator)


async def remove(tx: Tx, repository: str, digest: str, label_id: int, operator: str) -> None:
    """Take a label off a manifest; raises RepositoryUnknown, NotFound when it carries it not."""
    place = await repositories.demand(tx, repository)
    target = select(manifests.c.id).where(
        manifests.c.repository_id == place.id, manifests.c.digest == digest
    )
    gone = await tx.execute(
        delete(manifest_labels)
        .where(manifest_labels.c.manifest_id.in_(target), manifest_labels.c.label_id == label_id)
        .returning(manifest_labels.c.label_id)
    )
    if gone.scalar_one_or_none() is None:
        raise NotFound(f"the artifact does not carry label {label_id}")
    name = (await tx.execute(select(labels.c.name).where(labels.c.id == label_id))).scalar_one()
    await _tell(tx, ArtifactUnlabelled, place, digest, name, operator)


async def _tell(
    tx: Tx,
    what: type[ArtifactLabelled],
    place: Place,
    digest: str,
    label: str,
    operator: str,
) -> None:
    fact = what(
        operator=operator,
        project_id=place.project_id,
        repository=place.name,
        digest=digest,
        label=label,
    )
    await emit(tx, fact)


async def take_off(tx: Tx, manifest_ids: Sequence[int]) -> list[tuple[int, int]]:
    """Take all labels off manifests; returns (manifest id, label id) of what they carried."""
    mine = manifest_labels.c.manifest_id.in_(manifest_ids)
    carried = select(labels.c.id).where(
        labels.c.id.in_(select(manifest_labels.c.label_id).where(mine))
    )
    await tx.execute(tx.dialect.for_key_share(carried.order_by(labels.c.id)))
    gone = await tx.execute(
        delete(manifest_labels)
        .where(mine)
        .returning(manifest_labels.c.manifest_id, manifest_labels.c.label_id)
    )
    return [(row.manifest_id, row.label_id) for row in gone]


async def put_back(tx: Tx, place: Place, manifest_id: int, label_ids: Sequence[int]) -> None:
    """Put those of the labels on a manifest that are still there."""
    rows = [
        {"manifest_id": manifest_id, "label_id": label_id}
        for label_id in await _usable(tx, place, label_ids)
    ]
    if rows:
        await tx.execute(tx.dialect.insert(manifest_labels).values(rows).on_conflict_do_nothing())


async def _usable(tx: Tx, place: Place, label_ids: Sequence[int]) -> dict[int, str]:
    """Ids and names of those of the labels that this project may use, held until the commit."""
    query = (
        select(labels.c.id, labels.c.name)
        .where(
            labels.c.id.in_(label_ids),
            or_(labels.c.project_id.is_(None), labels.c.project_id == place.project_id),
        )
        .order_by(labels.c.id)
    )
    found = await tx.execute(tx.dialect.for_key_share(query))
    return {row.id: row.name for row in found}


def carried(match: Match) -> ColumnElement[bool]:
    """Whether a manifest carries the labels that a list's filter names by their ids."""
    if isinstance(match, AllOf):
        return and_(*(carried(Exact(value)) for value in match.values))
    return exists().where(
        manifest_labels.c.manifest_id == manifests.c.id,
        condition(manifest_labels.c.label_id, match),
    )


_CARRIED = Prepared(
    lambda dialect: (
        select(manifest_labels.c.manifest_id, labels)
        .join(labels, labels.c.id == manifest_labels.c.label_id)
        .where(dialect.among(manifest_labels.c.manifest_id, "ids"))
        .order_by(labels.c.name, labels.c.id)
    )
)


async def of(tx: Tx, manifest_ids: Sequence[int]) -> dict[int, list[Label]]:
    """The labels of manifests by manifest, each list by name."""
    found: dict[int, list[Label]] = {}
    for row in await tx.select(_CARRIED, ids=tx.dialect.many(manifest_ids)):
        values = row._asdict()
        found.setdefault(values.pop("manifest_id"), []).append(Label(**values))
    return found
