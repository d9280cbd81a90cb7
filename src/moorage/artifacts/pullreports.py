"""Reads what was pulled: day by day, or name by name, the most pulled first.

of a project        all of it · by repository · by caller
of a repository     all of it, one artifact, one tag · by artifact, tag, caller
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import ColumnElement, Table, bindparam, func, select

from moorage.artifacts import pulldays
from moorage.artifacts.repositories import listed
from moorage.db.engine import Database
from moorage.db.moments import today
from moorage.db.prepared import Prepared
from moorage.db.queries import Page, Query
from moorage.db.tables import project_pulls, repository_pulls
from moorage.db.transactions import Tx


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
            number = (await listed(tx, repository)).id
            return await _days(tx, _REPOSITORY, number, days, subject, name)

    async def within_repository(
        self, repository: str, subject: str, days: int, query: Query
    ) -> Page[Named]:
        """Its artifacts, its tags, or those who pulled from it; raises RepositoryUnknown."""
        async with self._db.read() as tx:
            number = (await listed(tx, repository)).id
            return await _names(tx, _REPOSITORY, number, days, subject, query)


async def _days(
    tx: Tx, table: "_Counted", owner: int, days: int, subject: str, name: str = ""
) -> Sequence[Day]:
    last = await today(tx)
    every = [last - timedelta(days=ago) for ago in range(days - 1, -1, -1)]
    given = {"owner": owner, "subject": subject, "name": name, "days": tx.dialect.many(every)}
    found = {row[0]: Day(*row) for row in await tx.select(table.days, **given)}
    return [found.get(day) or Day(day) for day in every]


async def _names(
    tx: Tx, table: "_Counted", owner: int, days: int, subject: str, query: Query
) -> Page[Named]:
    first = await today(tx) - timedelta(days=days - 1)
    given = {"owner": owner, "subject": subject, "first": first}
    rows = await tx.select(table.names, **given, size=query.size, start=query.start)
    total = rows[0].total if rows else 0
    if query.start and not rows:  # behind the last page
        total = (await tx.select(table.total, **given))[0].total
    return Page([Named(name, int(pulls), int(size)) for name, pulls, size, _ in rows], total)


class _Counted:
    """The statements about one of the tables of pulls."""

    def __init__(self, table: Table, owner: ColumnElement[int]) -> None:
        here = owner == bindparam("owner"), table.c.subject == bindparam("subject")
        since = *here, table.c.day >= bindparam("first")
        pulls, size = func.sum(table.c.pulls).label("pulls"), func.sum(table.c.bytes).label("size")
        # Each day by itself: the name comes after it in the key, and is one of very many.
        self.days = Prepared(
            lambda dialect: select(table.c.day, table.c.pulls, table.c.bytes).where(
                *here, dialect.among(table.c.day, "days"), table.c.name == bindparam("name")
            )
        )
        self.names = Prepared(
            lambda _: (
                select(table.c.name, pulls, size, func.count().over().label("total"))
                .where(*since)
                .group_by(table.c.name)
                .order_by(pulls.desc(), table.c.name)
                .limit(bindparam("size"))
                .offset(bindparam("start"))
            )
        )
        self.total = Prepared(
            lambda _: select(func.count(table.c.name.distinct()).label("total")).where(*since)
        )


_PROJECT = _Counted(project_pulls, project_pulls.c.project_id)
_REPOSITORY = _Counted(repository_pulls, repository_pulls.c.repository_id)
