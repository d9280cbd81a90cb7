"""Bytes that another registry wrote, under its own paths, and may still need.

They are read like all others. Nothing deletes them before an administrator says that the other
registry is gone for good: until then it can be started again, and finds its storage as it left it.
"""

from sqlalchemy import ColumnElement, ColumnExpressionArgument, exists, or_, select

from moorage.db.tables import properties
from moorage.db.transactions import Tx
from moorage.db.types import now

PREFIX = "docker/"
"""What the storage keys of such bytes begin with."""

ADOPTED = "storage_adopted"
"""The row of `properties` that says so."""


def deletable(storage_key: ColumnElement[str]) -> ColumnExpressionArgument[bool]:
    """Whether the object of a key may be deleted."""
    adopted = exists().where(properties.c.name == ADOPTED)
    return or_(~storage_key.startswith(PREFIX, autoescape=True), adopted)


async def is_adopted(tx: Tx) -> bool:
    """Step: whether everything in the storage is ours."""
    adopted = exists().where(properties.c.name == ADOPTED)
    return bool(await tx.connection.scalar(select(adopted)))


async def adopt(tx: Tx) -> None:
    """Step: the other registry is gone."""
    insert = tx.dialect.insert(properties).values(name=ADOPTED, value="true", updated_at=now())
    await tx.execute(insert.on_conflict_do_nothing(index_elements=["name"]))
