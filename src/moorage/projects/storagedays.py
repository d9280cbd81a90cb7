"""The bytes of every project and of its repositories, noted once a day (UTC), and read again.

    for each project without a row of today:   count it (projects.usage) ─► one transaction of rows

Any number of processes may do it: whoever is second changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Column, bindparam, case, exists, func, select

from moorage.db.engine import Database
from moorage.db.moments import today
from moorage.db.prepared import Prepared
from moorage.db.queries import Page, Query, one_page
from moorage.db.tables import (
    blobs,
    project_storage,
    projects,
    repositories,
    repository_blobs,
    repository_storage,
)
from moorage.db.transactions import Tx
from moorage.errors import ProjectUnknown, RepositoryUnknown
from moorage.projects import holding
from moorage.projects.usage import ProjectUsage, Usage

_BATCH = 20


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of objects that a repository holds."""

    physical: int  # that no other repository holds
    shared: int


@dataclass(frozen=True, slots=True)
class ProjectDay:
    """A project as it was noted on a day."""

    day: date
    usage: ProjectUsage


@dataclass(frozen=True, slots=True)
class RepositoryDay:
    """A repository as it was noted on a day."""

    day: date
    held: Held


@dataclass(frozen=True, slots=True)
class HeldBy:
    """What a repository of a project held when that was noted last."""

    repository: str
    held: Held


class StorageDays:
    """Notes bytes day by day, and reads them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def note(self) -> bool:
        """Note some of the projects that today has nothing of; whether there may be more."""
        async with self._db.read() as tx:
            day = await today(tx)
            noted = exists().where(
                project_storage.c.project_id == projects.c.id, project_storage.c.day == day
            )
            query = select(projects.c.id).where(~noted).order_by(projects.c.id).limit(_BATCH)
            waiting = (await tx.execute(query)).scalars().all()
        for project_id in waiting:
            usage = await Usage(self._db).of_project(project_id)
            async with self._db.read() as tx:
                held = await _held(tx, project_id)
            try:
                await self._db.run(_note, project_id, day, usage, held)
            except ProjectUnknown:
                continue  # deleted meanwhile
        return len(waiting) == _BATCH

    async def of_project(self, project_id: int, days: int) -> Sequence[ProjectDay]:
        """The last days of which something was noted, the first first."""
        async with self._db.read() as tx:
            first = await _first(tx, days)
            rows = await tx.select(_OF_PROJECT, owner=project_id, first=first)
            return [ProjectDay(day, ProjectUsage(*bytes_)) for day, *bytes_ in rows]

    async def of_repository(self, repository: str, days: int) -> Sequence[RepositoryDay]:
        """The same of a repository; raises RepositoryUnknown."""
        async with self._db.read() as tx:
            place = await tx.find(_LISTED, name=repository)
            if place is None:
                raise RepositoryUnknown(f"repository {repository} not found")
            first = await _first(tx, days)
            rows = await tx.select(_OF_REPOSITORY, owner=place.id, first=first)
            return [RepositoryDay(day, Held(*bytes_)) for day, *bytes_ in rows]

    async def repositories(self, project_id: int, query: Query) -> Page[HeldBy]:
        """Those of a project as they were noted last, the largest first."""
        newest = (
            select(func.max(project_storage.c.day))
            .where(project_storage.c.project_id == project_id)
            .scalar_subquery()
        )
        table = repository_storage
        rows = (
            select(repositories.c.name, table.c.physical, table.c.shared)
            .join(repositories, repositories.c.id == table.c.repository_id)
            .where(
                repositories.c.project_id == project_id,
                repositories.c.pushed_at.is_not(None),
                table.c.day == newest,
            )
            .order_by((table.c.physical + table.c.shared).desc(), repositories.c.name)
        )
        async with self._db.read() as tx:
            found, total = await one_page(tx, rows, query)
            return Page([HeldBy(row.name, Held(row.physical, row.shared)) for row in found], total)


async def _first(tx: Tx, days: int) -> date:
    return await today(tx) - timedelta(days=days - 1)


async def _held(tx: Tx, project_id: int) -> Mapping[int, Held]:
    """What each repository of the project holds."""
    theirs = repository_blobs.alias()
    elsewhere = exists().where(
        theirs.c.digest == repository_blobs.c.digest,
        theirs.c.repository_id != repository_blobs.c.repository_id,
    )
    size = blobs.c.size
    query = (
        select(
            repository_blobs.c.repository_id,
            func.sum(case((elsewhere, 0), else_=size)).label("physical"),
            func.sum(case((elsewhere, size), else_=0)).label("shared"),
        )
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .join(blobs, blobs.c.digest == repository_blobs.c.digest)
        .where(repositories.c.project_id == project_id)
        .group_by(repository_blobs.c.repository_id)
    )
    rows = await tx.execute(query)
    return {row.repository_id: Held(int(row.physical), int(row.shared)) for row in rows}


async def _note(
    tx: Tx, project_id: int, day: date, usage: ProjectUsage, held: Mapping[int, Held]
) -> None:
    """Step: the rows of a day; raises ProjectUnknown."""
    await holding.hold(tx, project_id)
    mine = select(repositories.c.id).where(repositories.c.project_id == project_id)
    left = (await tx.execute(tx.dialect.for_key_share(mine.order_by(repositories.c.id)))).scalars()
    rows = [
        {"repository_id": number, "day": day}
        | {"physical": held[number].physical, "shared": held[number].shared}
        for number in left
        if number in held
    ]
    if rows:
        every = tx.dialect.insert(repository_storage).on_conflict_do_nothing()
        await tx.execute(every, rows)
    row = {
        "project_id": project_id,
        "day": day,
        "logical": usage.logical,
        "counted": usage.unique,
        "physical": usage.physical,
        "shared": usage.shared,
    }
    whole = tx.dialect.insert(project_storage).values(row).on_conflict_do_nothing()
    await tx.execute(whole)


def _since(owner: Column[int], *figures: Column[int]) -> Prepared:
    """The figures of an owner on each day from the first on."""
    day = owner.table.c.day
    return Prepared(
        lambda _: (
            select(day, *figures)
            .where(owner == bindparam("owner"), day >= bindparam("first"))
            .order_by(day)
        )
    )


_OF_PROJECT = _since(
    project_storage.c.project_id,
    project_storage.c.logical,
    project_storage.c.counted,
    project_storage.c.physical,
    project_storage.c.shared,
)
_OF_REPOSITORY = _since(
    repository_storage.c.repository_id,
    repository_storage.c.physical,
    repository_storage.c.shared,
)
_LISTED = Prepared(
    lambda _: select(repositories.c.id).where(
        repositories.c.name == bindparam("name"), repositories.c.pushed_at.is_not(None)
    )
)
