"""What was deleted in a project and can still come back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import artifact_trash, repositories
from moorage.db.types import now

FIELDS: Columns = {
    "repository_name": repositories.c.name,
    "digest": artifact_trash.c.digest,
    "deleted_by": artifact_trash.c.deleted_by,
    "deleted_at": artifact_trash.c.deleted_at,
    "expires_at": artifact_trash.c.expires_at,
}
"""What the list can be narrowed and sorted by."""


@dataclass(frozen=True, slots=True)
class Trashed:
    """A deleted artifact."""

    id: int
    repository_name: str
    digest: str
    media_type: str
    tags: Sequence[str]  # the names that pointed at it
    deleted_by: str
    deleted_at: datetime
    expires_at: datetime  # gone for good from then on


class TrashList:
    """Reads the trash."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, project_id: int, query: Query) -> Page[Trashed]:
        """Deleted artifacts of one project, the last deleted first."""
        rows = (
            select(
                artifact_trash.c.id,
                repositories.c.name.label("repository_name"),
                artifact_trash.c.digest,
                artifact_trash.c.media_type,
                artifact_trash.c.tags,
                artifact_trash.c.deleted_by,
                artifact_trash.c.deleted_at,
                artifact_trash.c.expires_at,
            )
            .join(repositories, repositories.c.id == artifact_trash.c.repository_id)
            .where(repositories.c.project_id == project_id, artifact_trash.c.expires_at > now())
        )
        statement = narrow(rows, query, FIELDS)
        async with self._db.read() as tx:
            found, total = await one_page(
                tx, ordered(statement, query, FIELDS, artifact_trash.c.id.desc()), query
            )
            return Page([Trashed(**row._mapping) for row in found], total)
