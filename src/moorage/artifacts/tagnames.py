"""The tags of a repository: all of them, whatever they point at.

    sort=version      1.9.0 before 1.10.0, pre-releases before their release; then all other names
    sort=-version     the newest version first; names that are no versions stay behind
    sort=name, push_time, pull_time       by the database

Versions are ordered here, from names alone: no database knows SemVer. Only the rows of the page
that was asked for are read whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from moorage.artifacts import details
from moorage.artifacts.entries import Tag
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, count, narrow, ordered, paged
from moorage.db.tables import manifests, repositories, tags
from moorage.db.transactions import Tx
from moorage.errors import RepositoryUnknown
from moorage.patterns import versions
from moorage.projects import immutability

BY_VERSION = "version"
FIELDS: Columns = {
    "id": tags.c.id,
    "name": tags.c.name,
    "push_time": tags.c.pushed_at,
    "pull_time": tags.c.pulled_at,
    "digest": manifests.c.digest,
}
MAX_VERSIONS = 50_000
"""Names that are ordered as versions at most; a repository with more is sorted by name."""


@dataclass(frozen=True, slots=True)
class Named:
    """A tag and the digest that it points at."""

    tag: Tag
    digest: str


class TagNames:
    """Reads the tags of a repository."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, repository: str, query: Query, *, immutable: bool = False) -> Page[Named]:
        """One page of them, the last pushed first unless asked otherwise.

        Raises RepositoryUnknown.
        """
        async with self._db.read() as tx:
            place = await _place(tx, repository)
            statement = narrow(_rows().where(tags.c.repository_id == place.id), query, FIELDS)
            total = await count(tx, statement)
            if _by_version(query) and total <= MAX_VERSIONS:
                rows = await _versions(tx, statement, query)
            else:
                newest = tags.c.pushed_at.desc(), tags.c.id.desc()
                page = paged(ordered(statement, query, FIELDS, *newest), query)
                rows = (await tx.execute(page)).all()
            found = [Named(Tag(**_without_digest(row)), row.digest) for row in rows]
            if immutable and found:
                rules = await immutability.in_force(tx, [place.project_id])
                marked = await details.marked(
                    [each.tag for each in found], rules[place.project_id], place.name
                )
                found = [Named(tag, each.digest) for tag, each in zip(marked, found, strict=True)]
            return Page(found, total)


def _by_version(query: Query) -> bool:
    return bool(query.sort) and query.sort[0][0] == BY_VERSION


def _rows() -> Select[Any]:
    rows = details.tag_rows().add_columns(manifests.c.digest)
    return rows.join(manifests, manifests.c.id == tags.c.manifest_id)


def _without_digest(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name != "digest"}


async def _place(tx: Tx, name: str) -> Any:
    found = await tx.execute(
        select(repositories.c.id, repositories.c.project_id, repositories.c.name).where(
            repositories.c.name == name, repositories.c.pushed_at.is_not(None)
        )
    )
    row = found.one_or_none()
    if row is None:
        raise RepositoryUnknown(f"repository {name} not found")
    return row


async def _versions(tx: Tx, statement: Select[Any], query: Query) -> Sequence[Any]:
    """The rows of the page, by version."""
    names = await tx.execute(statement.with_only_columns(tags.c.id, tags.c.name))
    known, others = [], []
    for row in names:
        number, name = row.id, row.name
        version = versions.parse(name)
        if version is None:
            others.append((name, number))
        else:
            known.append((version.numbers, version.pre, name, number))
    known.sort(reverse=query.sort[0][1])
    in_order = [each[-1] for each in known] + [each[-1] for each in sorted(others)]
    start = (query.page - 1) * query.size
    ids = in_order[start : start + query.size]
    if not ids:
        return []
    found = await tx.execute(_rows().where(tags.c.id.in_(ids)))
    by_id = {row.id: row for row in found}
    return [by_id[each] for each in ids if each in by_id]
