"""The lists of `/v2`: tags of a repository and the catalog, by byte order, by the page."""

from collections.abc import Collection

from sqlalchemy import select

from moorage.artifacts import repositories
from moorage.db.engine import Database
from moorage.db.tables import repositories as repository_table
from moorage.db.tables import tags
from moorage.errors import RepositoryUnknown


class Listing:
    """Names, read in pages: everything behind `last`, `limit` at the most."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def tags(self, repository: str, *, last: str | None, limit: int | None) -> list[str]:
        """Tags in byte order; `last` need not exist; raises RepositoryUnknown."""
        async with self._db.read() as tx:
            place = await repositories.find(tx, repository)
            if place is None:
                raise RepositoryUnknown(
                    f"repository {repository} not found", detail={"name": repository}
                )
            query = select(tags.c.name).where(tags.c.repository_id == place.id)
            if last is not None:
                query = query.where(tags.c.name > last)
            rows = await tx.execute(query.order_by(tags.c.name).limit(limit))
            return list(rows.scalars())

    async def repositories(
        self, *, last: str | None, limit: int, projects: Collection[int] | None = None
    ) -> list[str]:
        """Full names of listed repositories, of `projects` if given."""
        query = select(repository_table.c.name).where(repository_table.c.pushed_at.is_not(None))
        if projects is not None:
            query = query.where(repository_table.c.project_id.in_(projects))
        if last is not None:
            query = query.where(repository_table.c.name > last)
        async with self._db.read() as tx:
            rows = await tx.execute(query.order_by(repository_table.c.name).limit(limit))
            return list(rows.scalars())
