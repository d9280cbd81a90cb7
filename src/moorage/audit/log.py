"""Reading the audit log. Nothing changes a row or deletes one: it outlives what it tells of."""

from typing import Any

from sqlalchemy import select

from moorage.access.principals import Principal
from moorage.audit.entries import Logged
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import audit_log, projects
from moorage.projects.visibility import holding

FIELDS: Columns = {
    "id": audit_log.c.id,
    "op_time": audit_log.c.occurred_at,
    "project_id": audit_log.c.project_id,
    "username": audit_log.c.username,
    "operation": audit_log.c.operation,
    "resource_type": audit_log.c.resource_type,
    "resource": audit_log.c.resource,
    "operation_description": audit_log.c.description,
    "operation_result": audit_log.c.successful,
}
"""What the log can be narrowed and sorted by."""


class AuditLog:
    """The rows of the log."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(
        self, query: Query, *, project_id: int | None = None, reader: Principal | None = None
    ) -> Page[Logged]:
        """Rows, the newest first unless asked otherwise.

        Those of one project, or those of the projects whose log `reader` may list, or all.
        """
        statement = select(audit_log)
        if project_id is not None:
            statement = statement.where(audit_log.c.project_id == project_id)
        elif reader is not None:
            readable = select(projects.c.id).where(holding(reader, "log", "list"))
            statement = statement.where(audit_log.c.project_id.in_(readable))
        statement = narrow(statement, query, FIELDS)
        newest = audit_log.c.occurred_at.desc(), audit_log.c.id.desc()
        async with self._db.read() as tx:
            rows, total = await one_page(tx, ordered(statement, query, FIELDS, *newest), query)
            return Page([_logged(row) for row in rows], total)


def _logged(row: Any) -> Logged:
    return Logged(**row._mapping)
