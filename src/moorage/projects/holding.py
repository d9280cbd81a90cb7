"""A step that keeps a project from being deleted while something is added to it."""

from sqlalchemy import select

from moorage.db.tables import projects
from moorage.db.transactions import Tx
from moorage.errors import ProjectUnknown


async def hold(tx: Tx, project_id: int) -> None:
    """Lock the project's row until the transaction ends; raises ProjectUnknown."""
    query = select(projects.c.id).where(projects.c.id == project_id)
    if (await tx.execute(tx.dialect.for_key_share(query))).scalar_one_or_none() is None:
        raise ProjectUnknown(f"project {project_id} not found")
