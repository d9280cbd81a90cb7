"""What is in the repositories, for lists and pages: read only, no query per item.

    repositories ─► artifacts ─┬─ tags
                               ├─ references   children of an index
                               └─ accessories  artifacts whose subject it is

A list of artifacts leaves out, as Harbor does: untagged children of an index (unless `base=*`)
and accessories of an artifact that is there.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    exists,
    func,
    select,
    update,
)

from moorage.access.principals import Principal
from moorage.artifacts import details, labels, typed
from moorage.artifacts.contents import ByReference
from moorage.artifacts.details import Wanted
from moorage.artifacts.entries import Accessory, Artifact, Repository, Tag
from moorage.artifacts.repositories import Place, listed
from moorage.db.engine import Database
from moorage.db.queries import (
    AllOf,
    Columns,
    Exact,
    Fuzzy,
    Match,
    Page,
    Query,
    condition,
    narrow,
    one_page,
    ordered,
    paged,
    total_of,
)
from moorage.db.tables import manifests, projects, repositories, tags
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import ManifestUnknown, RepositoryUnknown, TagUnknown
from moorage.events import RepositoryUpdated, emit
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
PLAIN = Wanted()


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
        only_ids = statement.with_only_columns(repositories.c.id)
        async with self._db.read() as tx:
            # Artifacts are counted for the repositories of this page only.
            chosen = paged(_by_name(only_ids, query), query).subquery()
            whole = _repositories().join(chosen, chosen.c.id == repositories.c.id)
            rows = (await tx.execute(_by_name(whole, query))).all()
            total = await total_of(tx, rows, only_ids, query)
            return Page([Repository(**row._mapping) for row in rows], total)

    async def repository(self, name: str) -> Repository:
        """The listed repository of that full name; raises RepositoryUnknown."""
        async with self._db.read() as tx:
            return await _repository(tx, name)

    async def describe(self, actor: Principal, name: str, description: str) -> None:
        """Set the description (Markdown) of a repository; raises RepositoryUnknown."""

        async def step(tx: Tx) -> None:
            changed = await tx.execute(
                update(repositories)
                .where(repositories.c.name == name, repositories.c.pushed_at.is_not(None))
                .values(description=description, updated_at=now())
                .returning(repositories.c.project_id)
            )
            project_id = changed.scalar_one_or_none()
            if project_id is None:
                raise RepositoryUnknown(f"repository {name} not found")
            fact = RepositoryUpdated(operator=actor.name, project_id=project_id, repository=name)
            await emit(tx, fact)

        await self._db.run(step)

    # --- artifacts ---

    async def artifacts(
        self,
        query: Query,
        *,
        repository: str | None = None,
        project_id: int | None = None,
        latest_in_repository: bool = False,
        wanted: Wanted = PLAIN,
    ) -> Page[Artifact]:
        """Artifacts of one repository or of one project, the newest first.

        `latest_in_repository` keeps only the last pushed one of each repository.
        Raises RepositoryUnknown.
        """
        async with self._db.read() as tx:
            scope: list[ColumnElement[bool]] = []
            if repository is not None:
                place = await listed(tx, repository)
                scope.append(manifests.c.repository_id == place.id)
            if project_id is not None:
                scope.append(repositories.c.project_id == project_id)
            children_too = query.filters.get("base") == Exact("*")
            statement = details.artifact_rows().where(
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
            # The ids come from an index alone; only the rows of this page are read.
            page = paged(_newest(statement.with_only_columns(manifests.c.id), query), query)
            chosen = page.subquery()
            whole = _newest(
                details.measured_rows().join(chosen, chosen.c.id == manifests.c.id), query
            )
            rows = (await tx.execute(whole)).all()
            total = await total_of(tx, rows, statement, query)
            return Page(await details.complete(tx, rows, wanted), total)

    async def artifact(self, repository: str, reference: str, wanted: Wanted = PLAIN) -> Artifact:
        """One artifact by tag or digest; raises RepositoryUnknown, ManifestUnknown."""
        async with self._db.read() as tx:
            place = await listed(tx, repository)
            row = await _find(tx, place, reference)
            (found,) = await details.complete(tx, [row], wanted)
            if wanted.attached:
                found = replace(found, attached=await details.attached(tx, found.accessories))
            return found

    async def accessories(self, repository: str, reference: str, query: Query) -> Page[Accessory]:
        """Artifacts whose subject the named one is, the newest first."""
        async with self._db.read() as tx:
            place = await listed(tx, repository)
            row = await _find(tx, place, reference)
            statement = narrow(
                details.artifact_rows().where(
                    manifests.c.repository_id == place.id,
                    manifests.c.subject_digest == row.digest,
                ),
                query,
                ARTIFACT_FIELDS,
            )
            newest = ordered(statement, query, ARTIFACT_FIELDS, manifests.c.id.desc())
            rows, total = await one_page(tx, newest, query)
            return Page([details.accessory(found, row.id) for found in rows], total)

    async def tags(
        self, repository: str, reference: str, query: Query, *, immutable: bool = False
    ) -> Page[Tag]:
        """The tags of one artifact, the last pushed first."""
        async with self._db.read() as tx:
            place = await listed(tx, repository)
            row = await _find(tx, place, reference)
            statement = narrow(
                details.tag_rows().where(tags.c.manifest_id == row.id), query, TAG_FIELDS
            )
            newest = tags.c.pushed_at.desc(), tags.c.id.desc()
            rows, total = await one_page(tx, ordered(statement, query, TAG_FIELDS, *newest), query)
            found = [Tag(**each._mapping) for each in rows]
            if immutable:
                found = await details.marked(tx, place, found)
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


def _by_name(statement: Select[Any], query: Query) -> Select[Any]:
    return ordered(statement, query, REPOSITORY_FIELDS, repositories.c.name)


def _newest(statement: Select[Any], query: Query) -> Select[Any]:
    newest = manifests.c.pushed_at.desc(), manifests.c.id.desc()
    return ordered(statement, query, ARTIFACT_FIELDS, *newest)


def _is_tagged(match: Match) -> ColumnElement[bool]:
    return _has_tag(condition(tags.c.name, match))


def _has_tag(fitting: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(
        tags.c.manifest_id == manifests.c.id,
        tags.c.repository_id == manifests.c.repository_id,
        fitting,
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
    elif isinstance(wanted, Fuzzy):  # `V1` and `v1` are two tags
        statement = statement.where(_has_tag(tx.dialect.holds(tags.c.name, wanted.value)))
    elif wanted is not None:
        statement = statement.where(_is_tagged(wanted))
    if "labels" in query.filters:
        statement = statement.where(labels.carried(query.filters["labels"]))
    kind = query.filters.get("type")
    if kind is not None:
        statement = statement.where(await typed.narrowed(tx, kind, scope))
    return statement


async def _find(tx: Tx, place: Place, reference: str) -> Any:
    query = _BY_REFERENCE.of(reference)
    row = await tx.find(query, repository_id=place.id, reference=reference)
    if row is None:
        raise ManifestUnknown(f"artifact {place.name}:{reference} not found")
    return row


_BY_REFERENCE = ByReference(details.measured_rows)
