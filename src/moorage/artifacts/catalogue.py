"""What is in the repositories, for lists and pages: read only, no query per item.

    repositories ─► artifacts ─┬─ tags
                               ├─ references   children of an index
                               └─ accessories  artifacts whose subject it is

A list of artifacts leaves out, as Harbor does: untagged children of an index (unless `base=*`)
and accessories of an artifact that is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    cast,
    exists,
    func,
    select,
    tuple_,
    update,
)

from moorage.access.principals import Principal
from moorage.artifacts import icons, labels, types
from moorage.artifacts.entries import Accessory, Artifact, Reference, Repository, Tag
from moorage.artifacts.room import fitting
from moorage.db.engine import Database
from moorage.db.queries import (
    AllOf,
    Columns,
    Exact,
    Match,
    Page,
    Query,
    condition,
    count,
    narrow,
    ordered,
    paged,
)
from moorage.db.tables import manifest_children, manifests, projects, repositories, tags
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import ManifestUnknown, RepositoryUnknown, TagUnknown
from moorage.oci.digest import is_digest
from moorage.projects import immutability
from moorage.projects.visibility import visible

REPOSITORY_FIELDS: Columns = {
    "id": repositories.c.id,
    "repository_id": repositories.c.id,
    "project_id": repositories.c.project_id,
    "name": repositories.c.name,
    "description": repositories.c.description,
    "pull_count": repositories.c.pull_count,
    "creation_time": repositories.c.created_at,
    "update_time": repositories.c.updated_at,
}
ARTIFACT_FIELDS: Columns = {
    "id": manifests.c.id,
    "digest": manifests.c.digest,
    "media_type": manifests.c.config_media_type,
    "manifest_media_type": manifests.c.media_type,
    "artifact_type": manifests.c.artifact_type,
    "size": manifests.c.total_size,
    "push_time": manifests.c.pushed_at,
    "pull_time": manifests.c.pulled_at,
    "repository_id": manifests.c.repository_id,
}
TAG_FIELDS: Columns = {
    "id": tags.c.id,
    "name": tags.c.name,
    "push_time": tags.c.pushed_at,
    "pull_time": tags.c.pulled_at,
}
"""What each list can be narrowed and sorted by."""

MAX_TEXTS = 8 << 20
"""Bytes of annotations and attributes in one list; a hundred of the largest would hold 500 MiB."""


class Catalogue:
    """Reads of repositories, artifacts and tags."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # --- repositories ---

    async def repositories(
        self, query: Query, *, project_id: int | None = None, caller: Principal | None = None
    ) -> Page[Repository]:
        """Listed repositories of one project, or of all that `caller` may list; by name."""
        where: list[ColumnElement[bool]] = [repositories.c.pushed_at.is_not(None)]
        if project_id is not None:
            where.append(repositories.c.project_id == project_id)
        if caller is not None:
            where.append(visible(caller, "repository", "list"))
        statement = narrow(_repositories().where(*where), query, REPOSITORY_FIELDS)
        async with self._db.read() as tx:
            total = await count(tx, statement)
            sorted_ = ordered(statement, query, REPOSITORY_FIELDS, repositories.c.name)
            rows = (await tx.execute(paged(sorted_, query))).all()
            return Page([Repository(**row._mapping) for row in rows], total)

    async def repository(self, name: str) -> Repository:
        """The listed repository of that full name; raises RepositoryUnknown."""
        async with self._db.read() as tx:
            return await _repository(tx, name)

    async def describe(self, name: str, description: str) -> None:
        """Set the description (Markdown) of a repository; raises RepositoryUnknown."""

        async def step(tx: Tx) -> int:
            changed = await tx.execute(
                update(repositories)
                .where(repositories.c.name == name, repositories.c.pushed_at.is_not(None))
                .values(description=description, updated_at=now())
            )
            return changed.rowcount

        if not await self._db.run(step):
            raise RepositoryUnknown(f"repository {name} not found")

    # --- artifacts ---

    async def artifacts(
        self,
        query: Query,
        *,
        repository: str | None = None,
        project_id: int | None = None,
        latest_in_repository: bool = False,
        with_labels: bool = False,
        immutable: bool = False,
    ) -> Page[Artifact]:
        """Artifacts of one repository or of one project, the newest first.

        `latest_in_repository` keeps only the last pushed one of each repository; `with_labels`
        asks what they carry, `immutable` which tags the rules of the project keep.
        Raises RepositoryUnknown.
        """
        async with self._db.read() as tx:
            scope: list[ColumnElement[bool]] = []
            if repository is not None:
                place = await _place(tx, repository)
                scope.append(manifests.c.repository_id == place.id)
            if project_id is not None:
                scope.append(repositories.c.project_id == project_id)
            children_too = query.filters.get("base") == Exact("*")
            statement = _artifacts().where(
                *scope, ~_is_accessory() if children_too else manifests.c.listed
            )
            statement = await _narrow_special(tx, statement, query, scope)
            statement = narrow(statement, query, ARTIFACT_FIELDS)
            if latest_in_repository:
                newest = statement.with_only_columns(
                    manifests.c.id,
                    func.row_number()
                    .over(
                        partition_by=manifests.c.repository_id,
                        order_by=(manifests.c.pushed_at.desc(), manifests.c.id.desc()),
                    )
                    .label("place"),
                ).subquery()
                statement = statement.where(
                    manifests.c.id.in_(select(newest.c.id).where(newest.c.place == 1))
                )
            total = await count(tx, statement)
            if not total:
                return Page([], 0)
            # The ids come from an index alone; only the rows of this page are read.
            page = paged(_newest(statement.with_only_columns(manifests.c.id), query), query)
            chosen = page.subquery()
            whole = _newest(_artifacts().join(chosen, chosen.c.id == manifests.c.id), query)
            rows = (await tx.execute(whole)).all()
            return Page(await _complete(tx, rows, with_labels, immutable), total)

    async def artifact(
        self, repository: str, reference: str, *, with_labels: bool = False, immutable: bool = False
    ) -> Artifact:
        """One artifact by tag or digest; raises RepositoryUnknown, ManifestUnknown."""
        async with self._db.read() as tx:
            place = await _place(tx, repository)
            row = await _find(tx, place, reference)
            return (await _complete(tx, [row], with_labels, immutable))[0]

    async def accessories(self, repository: str, reference: str, query: Query) -> Page[Accessory]:
        """Artifacts whose subject the named one is, the newest first."""
        async with self._db.read() as tx:
            place = await _place(tx, repository)
            row = await _find(tx, place, reference)
            statement = narrow(
                _artifacts().where(
                    manifests.c.repository_id == place.id,
                    manifests.c.subject_digest == row.digest,
                ),
                query,
                ARTIFACT_FIELDS,
            )
            total = await count(tx, statement)
            rows = await tx.execute(
                paged(ordered(statement, query, ARTIFACT_FIELDS, manifests.c.id.desc()), query)
            )
            return Page([_accessory(found, row.id) for found in rows], total)

    async def tags(
        self, repository: str, reference: str, query: Query, *, immutable: bool = False
    ) -> Page[Tag]:
        """The tags of one artifact, the last pushed first."""
        async with self._db.read() as tx:
            place = await _place(tx, repository)
            row = await _find(tx, place, reference)
            statement = narrow(_tags().where(tags.c.manifest_id == row.id), query, TAG_FIELDS)
            total = await count(tx, statement)
            sorted_ = ordered(
                statement, query, TAG_FIELDS, tags.c.pushed_at.desc(), tags.c.id.desc()
            )
            rows = await tx.execute(paged(sorted_, query))
            found = [Tag(**each._mapping) for each in rows]
            if immutable:
                rules = await immutability.in_force(tx, [place.project_id])
                found = await _marked(found, rules[place.project_id], place.name)
            return Page(found, total)

    async def tag(self, repository: str, reference: str, name: str) -> Tag:
        """The tag of that name on that artifact; raises TagUnknown."""
        page = await self.tags(repository, reference, Query({"name": Exact(name)}))
        if not page.items:
            raise TagUnknown(f"tag {name} not found on {repository}:{reference}")
        return page.items[0]


def _repositories() -> Select[Any]:
    listed = (
        select(func.count())
        .select_from(manifests)
        .where(manifests.c.repository_id == repositories.c.id)
        .scalar_subquery()
    )
    return select(
        repositories.c.id,
        repositories.c.project_id,
        repositories.c.name,
        repositories.c.description,
        repositories.c.pull_count,
        repositories.c.created_at,
        repositories.c.updated_at,
        listed.label("artifact_count"),
        projects.c.public.label("project_public"),
    ).join(projects, projects.c.id == repositories.c.project_id)


async def _repository(tx: Tx, name: str) -> Repository:
    found = await tx.execute(
        _repositories().where(repositories.c.name == name, repositories.c.pushed_at.is_not(None))
    )
    row = found.one_or_none()
    if row is None:
        raise RepositoryUnknown(f"repository {name} not found")
    return Repository(**row._mapping)


async def _place(tx: Tx, name: str) -> Any:
    """Id, project and name of the listed repository; raises RepositoryUnknown."""
    found = await tx.execute(
        select(repositories.c.id, repositories.c.project_id, repositories.c.name).where(
            repositories.c.name == name, repositories.c.pushed_at.is_not(None)
        )
    )
    row = found.one_or_none()
    if row is None:
        raise RepositoryUnknown(f"repository {name} not found")
    return row


def _newest(statement: Select[Any], query: Query) -> Select[Any]:
    newest = manifests.c.pushed_at.desc(), manifests.c.id.desc()
    return ordered(statement, query, ARTIFACT_FIELDS, *newest)


def _artifacts() -> Select[Any]:
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


def _tags() -> Select[Any]:
    return select(
        tags.c.id,
        tags.c.repository_id,
        tags.c.manifest_id.label("artifact_id"),
        tags.c.name,
        tags.c.pushed_at,
        tags.c.pulled_at,
    )


def _is_tagged(match: Match) -> ColumnElement[bool]:
    return exists().where(
        tags.c.manifest_id == manifests.c.id,
        tags.c.repository_id == manifests.c.repository_id,
        condition(tags.c.name, match),
    )


def _is_accessory() -> ColumnElement[bool]:
    subject = manifests.alias("subject")
    return exists(
        select(subject.c.id).where(
            subject.c.repository_id == manifests.c.repository_id,
            subject.c.digest == manifests.c.subject_digest,
        )
    )


async def _narrow_special(
    tx: Tx, statement: Select[Any], query: Query, scope: list[ColumnElement[bool]]
) -> Select[Any]:
    """Apply the filters that are no columns of `manifests`: tags, labels, type."""
    wanted = query.filters.get("tags")
    if wanted == Exact("nil"):
        statement = statement.where(~manifests.c.tagged)
    elif wanted == Exact("*"):
        statement = statement.where(manifests.c.tagged)
    elif isinstance(wanted, AllOf):
        statement = statement.where(and_(*(_is_tagged(Exact(v)) for v in wanted.values)))
    elif wanted is not None:
        statement = statement.where(_is_tagged(wanted))
    if "labels" in query.filters:
        statement = statement.where(labels.carried(query.filters["labels"]))
    kind = query.filters.get("type")
    if kind is not None:
        columns: list[ColumnElement[str]] = [
            manifests.c.media_type,
            manifests.c.config_media_type,
            manifests.c.artifact_type,
        ]
        known = await tx.execute(select(*columns).join(repositories).where(*scope).distinct())
        kinds = [row for row in map(tuple, known) if types.matches(types.of(*row), kind)]
        statement = statement.where(tuple_(*columns).in_(kinds))
    return statement


async def _find(tx: Tx, place: Any, reference: str) -> Any:
    statement = _artifacts().where(manifests.c.repository_id == place.id)
    if is_digest(reference):
        statement = statement.where(manifests.c.digest == reference)
    else:
        statement = statement.where(_is_tagged(Exact(reference)))
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise ManifestUnknown(f"artifact {place.name}:{reference} not found")
    return row


async def _complete(
    tx: Tx, rows: Sequence[Any], with_labels: bool, immutable: bool
) -> list[Artifact]:
    """The rows with what belongs to them: a query of each kind for all of them."""
    ids = [row.id for row in rows]
    texts = await _texts(tx, ids)
    found_tags: dict[int, list[Tag]] = {}
    for tag in await tx.execute(
        _tags()
        .where(tags.c.manifest_id.in_(ids))
        .order_by(tags.c.pushed_at.desc(), tags.c.id.desc())
    ):
        found_tags.setdefault(tag.artifact_id, []).append(Tag(**tag._mapping))
    if immutable:
        rules = await immutability.in_force(tx, {row.project_id for row in rows})
        for row in rows:
            mine, covering = found_tags.get(row.id, []), rules[row.project_id]
            found_tags[row.id] = await _marked(mine, covering, row.repository_name)
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
    carried = await labels.of(tx, ids) if with_labels else {}
    accessories: dict[int, list[Accessory]] = {}
    documented: set[int] = set()
    subject = manifests.alias("subject")
    for found in await tx.execute(
        _artifacts()
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
        accessories.setdefault(found.subject_id, []).append(_accessory(found, found.subject_id))
        if found.artifact_type in types.SBOMS:
            documented.add(found.subject_id)
    return [
        Artifact(
            **row._mapping,
            **_kind(row, row.id in documented),
            annotations=texts[row.id].annotations if row.id in texts else {},
            extra_attrs=texts[row.id].extra_attrs if row.id in texts else None,
            tags=found_tags.get(row.id, ()),
            references=children.get(row.id, ()),
            accessories=accessories.get(row.id, ()),
            labels=carried.get(row.id, ()),
        )
        for row in rows
    ]


def _kind(row: Any, documented: bool) -> Mapping[str, Any]:
    """What follows from its media types, and from whether a bill of materials hangs onto it."""
    processor = types.processor_of(row.media_type, row.config_media_type, row.artifact_type)
    attached = processor.attached if documented else ()
    return {
        "type": processor.type,
        "icon": icons.digest_of(processor.type),
        "additions": (*processor.additions, *attached),
    }


async def _texts(tx: Tx, ids: Sequence[int]) -> dict[int, Any]:
    """Annotations and attributes by manifest, as far as MAX_TEXTS has room for both."""
    annotations = func.length(cast(manifests.c.annotations, Text))
    length = annotations + func.coalesce(func.length(manifests.c.extra_attrs), 0)
    measured = await tx.execute(
        select(manifests.c.id, length.label("size")).where(manifests.c.id.in_(ids))
    )
    sizes = {row.id: row.size for row in measured}
    count = fitting((sizes.get(manifest_id, 0) for manifest_id in ids), MAX_TEXTS)
    found = await tx.execute(
        select(manifests.c.id, manifests.c.annotations, manifests.c.extra_attrs).where(
            manifests.c.id.in_(ids[:count])
        )
    )
    return {row.id: row for row in found}


async def _marked(found: list[Tag], rules: immutability.Covering, repository: str) -> list[Tag]:
    covered = await rules.covered(repository, [tag.name for tag in found])
    return [replace(tag, immutable=tag.name in covered) for tag in found]


def _accessory(row: Any, subject_id: int) -> Accessory:
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
