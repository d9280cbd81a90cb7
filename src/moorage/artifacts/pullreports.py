"""Reads what was pulled: day by day, or name by name, the most pulled first.

of a project        all of it · by repository · by caller
of a repository     all of it, one artifact, one tag · by artifact, tag, caller
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import ColumnElement, Table, func, select

from moorage.artifacts import pulldays
from moorage.db.engine import Database
from moorage.db.queries import Page, Query, paged
from moorage.db.tables import project_pulls, repositories, repository_pulls
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import RepositoryUnknown

_PROJECT = project_pulls, project_pulls.c.project_id
_REPOSITORY = repository_pulls, repository_pulls.c.repository_id


@dataclass(frozen=True, slots=True)
class Day:
    """What was pulled on one day, UTC."""

    day: date
    pulls: int = 0
    size: int = 0  # bytes


@dataclass(frozen=True, slots=True)
class Named:
    """What was pulled under one name."""

    name: str
    pulls: int
    size: int  # bytes


class PullReports:
    """Days are the last `days` of the database's clock, today included."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of_project(self, project_id: int, days: int) -> Sequence[Day]:
        """Every day, the first first; those without a pull too."""
        async with self._db.read() as tx:
            return await _days(tx, _PROJECT, project_id, days, pulldays.ALL)

    async def within_project(
        self, project_id: int, subject: str, days: int, query: Query
    ) -> Page[Named]:
        """Its repositories, or those who pulled from it."""
        async with self._db.read() as tx:
            return await _names(tx, _PROJECT, project_id, days, subject, query)

    async def of_repository(
        self, repository: str, days: int, *, digest: str = "", tag: str = ""
    ) -> Sequence[Day]:
        """Every day of a repository, or of one artifact or one tag of it.

        Raises RepositoryUnknown.
        """
        subject, name = pulldays.ALL, ""
        if digest:
            subject, name = pulldays.ARTIFACT, digest
        elif tag:
            subject, name = pulldays.TAG, tag
        async with self._db.read() as tx:
            number = await _repository(tx, repository)
            return await _days(tx, _REPOSITORY, number, days, subject, name)

    async def within_repository(
        self, repository: str, subject: str, days: int, query: Query
    ) -> Page[Named]:
        """Its artifacts, its tags, or those who pulled from it; raises RepositoryUnknown."""
        async with self._db.read() as tx:
            number = await _repository(tx, repository)
            return await _names(tx, _REPOSITORY, number, days, subject, query)


async def _repository(tx: Tx, name: str) -> int:
    query = select(repositories.c.id).where(
        repositories.c.name == name, repositories.c.pushed_at.is_not(None)
    )
    found = (await tx.execute(query)).scalar_one_or_none()
    if found is None:
        raise RepositoryUnknown(f"repository {name} not found")
    return int(found)


async def _last(tx: Tx, days: int) -> Sequence[date]:
    today = (await tx.execute(select(now()))).scalar_one().date()
    return [today - timedelta(days=ago) for ago in range(days - 1, -1, -1)]


async def _days(
    tx: Tx,
    where: tuple[Table, ColumnElement[int]],
    owner: int,
    days: int,
    subject: str,
    name: str = "",
) -> Sequence[Day]:
    table, column = where
    every = await _last(tx, days)
    # Each day by itself: the name comes after it in the key, and is one of very many.
    query = select(table.c.day, table.c.pulls, table.c.bytes).where(
        column == owner,
        table.c.subject == subject,
        table.c.day.in_(every),
        table.c.name == name,
    )
    found = {row.day: Day(row.day, row.pulls, row.bytes) for row in await tx.execute(query)}
    return [found.get(day, Day(day)) for day in every]


async def _names(
    tx: Tx,
    where: tuple[Table, ColumnElement[int]],
    owner: int,
    days: int,
    subject: str,
    query: Query,
) -> Page[Named]:
    table, column = where
    first = (await _last(tx, days))[0]
    here = column == owner, table.c.subject == subject, table.c.day >= first
    pulls = func.sum(table.c.pulls).label("pulls")
    rows = (
        select(table.c.name, pulls, func.sum(table.c.bytes).label("size"))
        .where(*here)
        .group_by(table.c.name)
        .order_by(pulls.desc(), table.c.name)
    )
    total = select(func.count(table.c.name.distinct())).where(*here)
    found = [
        Named(row.name, int(row.pulls), int(row.size))
        for row in await tx.execute(paged(rows, query))
    ]
    return Page(found, int((await tx.execute(total)).scalar_one()))
