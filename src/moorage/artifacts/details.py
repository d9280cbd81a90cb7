"""What belongs to the artifacts of one page: a query of each kind for all of them.

tags · references (children of an index) · accessories · labels · annotations and attributes
"""

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, Text, and_, bindparam, cast, func, select

from moorage.artifacts import icons, labels, types
from moorage.artifacts.entries import Accessory, Artifact, Child, Reference, Tag
from moorage.artifacts.repositories import Place
from moorage.artifacts.room import fitting
from moorage.db.dialects import Dialect
from moorage.db.prepared import Prepared
from moorage.db.tables import manifest_children, manifests, repositories, tags
from moorage.db.transactions import Tx
from moorage.projects import immutability

MAX_CHILDREN = 1000
LEVELS = 3
"""Of what is attached to accessories: a signature of an SBOM of an image is on the first."""
MAX_ATTACHED = 300
MAX_TEXTS = 8 << 20
"""Bytes of annotations and attributes in one list; a hundred of the largest would hold 500 MiB."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of artifacts beside what every list says."""

    labels: bool = False
    immutable: bool = False
    """Which tags the rules of their project keep."""
    children: bool = False
    """What is inside an index, and what is attached to that: of the first MAX_CHILDREN."""
    attached: bool = False
    """What is attached to its accessories; lists do not say it."""


async def complete(tx: Tx, rows: Sequence[Any], wanted: Wanted) -> list[Artifact]:
    """The artifacts of rows of `measured_rows`, in their order."""
    ids = [row.id for row in rows]
    texts = await _texts(tx, rows)
    tags_of = await _tags(tx, rows, wanted.immutable)
    inside = await tx.select(_INSIDE, ids=tx.dialect.many(ids))
    described = _described(ids, inside) if wanted.children else set()
    accessories = await _accessories(tx, {*ids, *described})
    references = _references(inside, described, accessories)
    carried = await labels.of(tx, ids) if wanted.labels else {}
    return [
        Artifact(
            **dict(zip(_OWN, row, strict=False)),  # and behind those how long its texts are
            **_kind(row, accessories.get(row.id, ())),
            annotations=texts[row.id].annotations if row.id in texts else {},
            extra_attrs=texts[row.id].extra_attrs if row.id in texts else None,
            tags=tags_of.get(row.id, ()),
            references=references.get(row.id, ()),
            accessories=_attached(accessories, row.id),
            labels=carried.get(row.id, ()),
        )
        for row in rows
    ]


async def by_id(
    tx: Tx, repository_id: int, ids: Collection[int], wanted: Wanted
) -> dict[int, Artifact]:
    """Artifacts of a repository by their ids; whatever is not there is left out."""
    rows = await tx.select(_BY_ID, ids=tx.dialect.many(sorted(ids)), repository=repository_id)
    return {each.id: each for each in await complete(tx, rows, wanted)}


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
    for tag in await tx.select(_TAGS, ids=tx.dialect.many(ids)):
        found_tags.setdefault(tag.artifact_id, []).append(Tag(*tag))
    if immutable:
        rules = await immutability.in_force(tx, {row.project_id for row in rows})
        for row in rows:
            mine, covering = found_tags.get(row.id, []), rules[row.project_id]
            found_tags[row.id] = await _kept(mine, covering, row.repository_name)
    return found_tags


def _described(ids: Sequence[int], inside: Sequence[Any]) -> set[int]:
    """For which of them there is room, in the order of the artifacts that they are in."""
    place = {parent: number for number, parent in enumerate(ids)}
    first = sorted(inside, key=lambda row: place[row.parent_id])[:MAX_CHILDREN]
    return {row.child_id for row in first}


def _references(
    inside: Sequence[Any], described: Container[int], accessories: Mapping[int, Sequence[Any]]
) -> dict[int, list[Reference]]:
    children: dict[int, list[Reference]] = {}
    for row in inside:
        child = None
        if row.child_id in described:
            kind = types.of(row.media_type, row.config_media_type, row.artifact_type)
            attached = _attached(accessories, row.child_id)
            child = Child(kind, row.total_size, row.pulled_at, attached)
        one = Reference(row.parent_id, row.child_id, row.child_digest, row.platform, child)
        children.setdefault(row.parent_id, []).append(one)
    return children


async def _accessories(tx: Tx, ids: Collection[int]) -> dict[int, list[Any]]:
    accessories: dict[int, list[Any]] = {}
    for found in await tx.select(_ATTACHED, ids=tx.dialect.many(sorted(ids))):
        accessories.setdefault(found.subject_id, []).append(found)
    return accessories


def _attached(accessories: Mapping[int, Sequence[Any]], subject: int) -> list[Accessory]:
    return [accessory(found, subject) for found in accessories.get(subject, ())]


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
    ids = [row.id for row in rows[:count]]
    return {row.id: row for row in await tx.select(_TEXTS, ids=tx.dialect.many(ids))}


async def attached(tx: Tx, accessories: Sequence[Accessory]) -> list[Accessory]:
    """What is attached to these, and to that in turn: of each level the newest MAX_ATTACHED."""
    found: list[Accessory] = []
    level, seen = accessories, set[int]()
    for _ in range(LEVELS):
        ids = sorted({each.id for each in level} - seen, reverse=True)[:MAX_ATTACHED]
        if not ids:
            break
        seen.update(ids)
        rows = await tx.select(_NEWEST_ATTACHED, ids=tx.dialect.many(ids))
        level = [accessory(row, row.subject_id) for row in rows]
        found += level
    return found


async def marked(tx: Tx, place: Place, found: list[Tag]) -> list[Tag]:
    """Tags of one repository, and which of them a rule keeps."""
    rules = await immutability.in_force(tx, [place.project_id])
    return await _kept(found, rules[place.project_id], place.name)


async def _kept(found: list[Tag], rules: immutability.Covering, repository: str) -> list[Tag]:
    covered = await rules.covered(repository, [tag.name for tag in found])
    return [replace(tag, immutable=True) if tag.name in covered else tag for tag in found]


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


# --- statements: a page asks each of them once

_subject = manifests.alias("subject")
# Of one repository: SQLite may give the id of what was deleted to what another is pushed.
_BY_ID = Prepared(
    lambda dialect: measured_rows().where(
        dialect.among(manifests.c.id, "ids"),
        manifests.c.repository_id == bindparam("repository"),
    )
)
_INSIDE = Prepared(
    lambda dialect: (
        select(
            manifest_children.c.parent_id,
            manifest_children.c.child_id,
            manifest_children.c.platform,
            manifests.c.digest.label("child_digest"),
            manifests.c.media_type,
            manifests.c.config_media_type,
            manifests.c.artifact_type,
            manifests.c.total_size,
            manifests.c.pulled_at,
        )
        .join(manifests, manifests.c.id == manifest_children.c.child_id)
        .where(dialect.among(manifest_children.c.parent_id, "ids"))
        .order_by(manifest_children.c.parent_id, manifest_children.c.position)
    )
)
_TAGS = Prepared(
    lambda dialect: (
        tag_rows()
        .where(dialect.among(tags.c.manifest_id, "ids"))
        .order_by(tags.c.pushed_at.desc(), tags.c.id.desc())
    )
)


def _attached_rows(dialect: Dialect) -> Select[Any]:
    return (
        artifact_rows()
        .add_columns(_subject.c.id.label("subject_id"))
        .join(
            _subject,
            and_(
                _subject.c.repository_id == manifests.c.repository_id,
                _subject.c.digest == manifests.c.subject_digest,
            ),
        )
        .where(dialect.among(_subject.c.id, "ids"))
    )


_ATTACHED = Prepared(lambda dialect: _attached_rows(dialect).order_by(manifests.c.id))
_NEWEST_ATTACHED = Prepared(
    lambda dialect: _attached_rows(dialect).order_by(manifests.c.id.desc()).limit(MAX_ATTACHED)
)
_TEXTS = Prepared(
    lambda dialect: select(manifests.c.id, manifests.c.annotations, manifests.c.extra_attrs).where(
        dialect.among(manifests.c.id, "ids")
    )
)
