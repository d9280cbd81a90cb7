"""What belongs to the artifacts of one page: a query of each kind for all of them.

tags · references (children of an index) · accessories · labels · annotations and attributes
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, Text, and_, cast, func, select

from moorage.artifacts import icons, labels, types
from moorage.artifacts.entries import Accessory, Artifact, Reference, Tag
from moorage.artifacts.room import fitting
from moorage.db.tables import manifest_children, manifests, repositories, tags
from moorage.db.transactions import Tx
from moorage.projects import immutability

MAX_TEXTS = 8 << 20
"""Bytes of annotations and attributes in one list; a hundred of the largest would hold 500 MiB."""


async def complete(
    tx: Tx, rows: Sequence[Any], with_labels: bool, immutable: bool
) -> list[Artifact]:
    """The artifacts of rows of `measured_rows`, in their order."""
    ids = [row.id for row in rows]
    texts = await _texts(tx, rows)
    tags_of = await _tags(tx, rows, immutable)
    references = await _references(tx, ids)
    carried = await labels.of(tx, ids) if with_labels else {}
    accessories = await _accessories(tx, ids)
    return [
        Artifact(
            **{name: row._mapping[name] for name in _OWN},
            **_kind(row, accessories.get(row.id, ())),
            annotations=texts[row.id].annotations if row.id in texts else {},
            extra_attrs=texts[row.id].extra_attrs if row.id in texts else None,
            tags=tags_of.get(row.id, ()),
            references=references.get(row.id, ()),
            accessories=[accessory(found, row.id) for found in accessories.get(row.id, ())],
            labels=carried.get(row.id, ()),
        )
        for row in rows
    ]


def artifact_rows() -> Select[Any]:
    """Artifacts without what hangs on them."""
    return select(
        manifests.c.id,
        repositories.c.project_id,
        manifests.c.repository_id,
        repositories.c.name.label("repository_name"),
        manifests.c.digest,
        manifests.c.media_type,
        manifests.c.config_media_type,
        manifests.c.artifact_type,
        manifests.c.total_size,
        manifests.c.pushed_at,
        manifests.c.pulled_at,
        manifests.c.subject_digest,
    ).join(repositories, repositories.c.id == manifests.c.repository_id)


def measured_rows() -> Select[Any]:
    """The same, and how many bytes their annotations and attributes are."""
    annotations = func.length(cast(manifests.c.annotations, Text))
    attributes = func.coalesce(func.length(manifests.c.extra_attrs), 0)
    return artifact_rows().add_columns((annotations + attributes).label("texts"))


_OWN = tuple(artifact_rows().selected_columns.keys())


def tag_rows() -> Select[Any]:
    """Tags with the artifact that each points at."""
    return select(
        tags.c.id,
        tags.c.repository_id,
        tags.c.manifest_id.label("artifact_id"),
        tags.c.name,
        tags.c.pushed_at,
        tags.c.pulled_at,
    )


async def _tags(tx: Tx, rows: Sequence[Any], immutable: bool) -> dict[int, list[Tag]]:
    ids = [row.id for row in rows]
    found_tags: dict[int, list[Tag]] = {}
    for tag in await tx.execute(
        tag_rows()
        .where(tags.c.manifest_id.in_(ids))
        .order_by(tags.c.pushed_at.desc(), tags.c.id.desc())
    ):
        found_tags.setdefault(tag.artifact_id, []).append(Tag(**tag._mapping))
    if immutable:
        rules = await immutability.in_force(tx, {row.project_id for row in rows})
        for row in rows:
            mine, covering = found_tags.get(row.id, []), rules[row.project_id]
            found_tags[row.id] = await marked(mine, covering, row.repository_name)
    return found_tags


async def _references(tx: Tx, ids: Sequence[int]) -> dict[int, list[Reference]]:
    children: dict[int, list[Reference]] = {}
    for child in await tx.execute(
        select(
            manifest_children.c.parent_id,
            manifest_children.c.child_id,
            manifests.c.digest.label("child_digest"),
            manifest_children.c.platform,
        )
        .join(manifests, manifests.c.id == manifest_children.c.child_id)
        .where(manifest_children.c.parent_id.in_(ids))
        .order_by(manifest_children.c.parent_id, manifest_children.c.position)
    ):
        children.setdefault(child.parent_id, []).append(Reference(**child._mapping))
    return children


async def _accessories(tx: Tx, ids: Sequence[int]) -> dict[int, list[Any]]:
    accessories: dict[int, list[Any]] = {}
    subject = manifests.alias("subject")
    for found in await tx.execute(
        artifact_rows()
        .add_columns(subject.c.id.label("subject_id"))
        .join(
            subject,
            and_(
                subject.c.repository_id == manifests.c.repository_id,
                subject.c.digest == manifests.c.subject_digest,
            ),
        )
        .where(subject.c.id.in_(ids))
        .order_by(manifests.c.id)
    ):
        accessories.setdefault(found.subject_id, []).append(found)
    return accessories


def _kind(row: Any, accessories: Sequence[Any]) -> Mapping[str, Any]:
    """What follows from its media types, and from whether a bill of materials hangs onto it."""
    documented = any(found.artifact_type in types.SBOMS for found in accessories)
    processor = types.processor_of(row.media_type, row.config_media_type, row.artifact_type)
    attached = processor.attached if documented else ()
    return {
        "type": processor.type,
        "icon": icons.digest_of(processor.type),
        "additions": (*processor.additions, *attached),
    }


async def _texts(tx: Tx, rows: Sequence[Any]) -> dict[int, Any]:
    """Annotations and attributes by manifest, as far as MAX_TEXTS has room for both."""
    count = fitting((row.texts for row in rows), MAX_TEXTS)
    found = await tx.execute(
        select(manifests.c.id, manifests.c.annotations, manifests.c.extra_attrs).where(
            manifests.c.id.in_([row.id for row in rows[:count]])
        )
    )
    return {row.id: row for row in found}


async def marked(found: list[Tag], rules: immutability.Covering, repository: str) -> list[Tag]:
    """The tags, and which of them a rule keeps."""
    covered = await rules.covered(repository, [tag.name for tag in found])
    return [replace(tag, immutable=tag.name in covered) for tag in found]


def accessory(row: Any, subject_id: int) -> Accessory:
    """A row of `artifact_rows` as an accessory of another."""
    kind = types.of_accessory(row.artifact_type, row.config_media_type)
    return Accessory(
        id=row.id,
        subject_id=subject_id,
        subject_digest=row.subject_digest,
        digest=row.digest,
        size=row.total_size,
        type=kind,
        created_at=row.pushed_at,
        icon=icons.digest_of(kind),
    )
