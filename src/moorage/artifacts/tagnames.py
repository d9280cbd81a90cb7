"""The tags of a repository: all of them, whatever they point at.

    sort=version      1.9.0 before 1.10.0, pre-releases before their release; then all other names
    sort=-version     the newest version first; names that are no versions stay behind
    sort=name, push_time, pull_time       by the database

Versions are ordered here, from names alone: no database knows SemVer. Only the rows of the page
that was asked for are read whole.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, bindparam, select

from moorage.artifacts import details
from moorage.artifacts.details import Wanted
from moorage.artifacts.entries import Artifact, Tag
from moorage.artifacts.repositories import Place, listed
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import manifests, tags
from moorage.db.transactions import Tx
from moorage.patterns import versions

BY_VERSION = "version"
FIELDS: Columns = {
    "id": tags.c.id,
    "name": tags.c.name,
    "push_time": tags.c.pushed_at,
    "pull_time": tags.c.pulled_at,
    "digest": manifests.c.digest,
}
MAX_VERSIONS = 50_000
"""Names that are ordered as versions at most; of more the last pushed is the first."""
AT_ONCE = 500
"""Names that are ordered in the event loop at most: some 5 ms."""


@dataclass(frozen=True, slots=True)
class Named:
    """A tag, the digest that it points at, and what that is, if that was asked for."""

    tag: Tag
    digest: str
    artifact: Artifact | None = None


class TagNames:
    """Reads the tags of a repository."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(
        self,
        repository: str,
        query: Query,
        *,
        immutable: bool = False,
        artifacts: Wanted | None = None,
    ) -> Page[Named]:
        """One page of them, the last pushed first unless asked otherwise.

        With `artifacts` each has the artifact that it points at, and as much of that.
        Raises RepositoryUnknown.
        """
        async with self._db.read() as tx:
            place = await listed(tx, repository)
            rows, total = await _page(tx, place, query)
            found = [Named(Tag(*row[:-1]), row.digest) for row in rows]
            if immutable and found:
                found = await _marked(tx, place, found)
            if artifacts is not None and found:
                found = await _described(tx, place, found, artifacts)
            return Page(found, total)


async def _page(tx: Tx, place: Place, query: Query) -> tuple[Sequence[Any], int]:
    """Rows of the page, and how many all pages have."""
    if query.sort and query.sort[0][0] == BY_VERSION:
        names = await _names(tx, place, query)
        if len(names) <= MAX_VERSIONS:
            return await _versions(tx, names, query), len(names)
    statement = _narrowed(place, query)
    newest = tags.c.pushed_at.desc(), tags.c.id.desc()
    return await one_page(tx, ordered(statement, query, FIELDS, *newest), query)


def _narrowed(place: Place, query: Query) -> Select[Any]:
    return narrow(_rows().where(tags.c.repository_id == place.id), query, FIELDS)


def _rows() -> Select[Any]:
    rows = details.tag_rows().add_columns(manifests.c.digest)
    return rows.join(manifests, manifests.c.id == tags.c.manifest_id)


async def _names(tx: Tx, place: Place, query: Query) -> Sequence[Any]:
    """Id and name of all tags that fit; one more than can be ordered, if there are more."""
    if not query.filters:
        return await tx.select(_NAMES, repository=place.id, most=MAX_VERSIONS + 1)
    named = _narrowed(place, query).with_only_columns(tags.c.id, tags.c.name)
    return (await tx.execute(named.limit(MAX_VERSIONS + 1))).all()


async def _versions(tx: Tx, names: Sequence[Any], query: Query) -> Sequence[Any]:
    """The rows of the page, by version."""
    descending = query.sort[0][1]
    if len(names) > AT_ONCE:
        in_order = await asyncio.to_thread(_in_order, names, descending)
    else:
        in_order = _in_order(names, descending)
    ids = in_order[query.start : query.start + query.size]
    if not ids:
        return []
    by_id = {row.id: row for row in await tx.select(_BY_ID, ids=tx.dialect.many(ids))}
    return [by_id[each] for each in ids if each in by_id]


def _in_order(names: Sequence[Any], descending: bool) -> Sequence[int]:
    """Ids of tags by version; those of all other names behind them, by name."""
    known, others = [], []
    for number, name in names:
        version = versions.parse(name)
        if version is None:
            others.append((name, number))
        else:
            known.append((version.numbers, version.pre, name, number))
    known.sort(reverse=descending)
    return [each[-1] for each in known] + [each[-1] for each in sorted(others)]


async def _marked(tx: Tx, place: Place, found: list[Named]) -> list[Named]:
    """The same, and which of them a rule keeps."""
    marked = await details.marked(tx, place, [each.tag for each in found])
    return [replace(each, tag=tag) for each, tag in zip(found, marked, strict=True)]


async def _described(tx: Tx, place: Place, found: list[Named], wanted: Wanted) -> list[Named]:
    """The same with their artifacts; several may point at one, and one may be gone by now."""
    ids = {each.tag.artifact_id for each in found}
    artifacts = await details.by_id(tx, place.id, ids, wanted)
    return [replace(each, artifact=artifacts.get(each.tag.artifact_id)) for each in found]


_NAMES = Prepared(
    lambda _: (
        select(tags.c.id, tags.c.name)
        .where(tags.c.repository_id == bindparam("repository"))
        .limit(bindparam("most"))
    )
)
_BY_ID = Prepared(lambda dialect: _rows().where(dialect.among(tags.c.id, "ids")))
