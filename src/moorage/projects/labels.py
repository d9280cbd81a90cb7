"""Labels that artifacts can carry: those of a project, and global ones for every project.

A name is taken once in its scope, so a project may have a label of the same name as a global one.
Permissions belong to the face. A label never changes its scope: who was allowed to use an id may
still do so when the change is written.
"""

from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from moorage.access.principals import Principal
from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import labels
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Invalid, NotFound
from moorage.events import LabelCreated, LabelDeleted, LabelUpdated, emit
from moorage.projects.holding import hold
from moorage.projects.records import Label

FIELDS: Columns = {
    "id": labels.c.id,
    "name": labels.c.name,
    "description": labels.c.description,
    "color": labels.c.color,
    "creation_time": labels.c.created_at,
    "update_time": labels.c.updated_at,
}
"""What a list of labels can be narrowed and sorted by."""

MAX_NAME = 128
"""Characters of a label's name."""
MAX_DESCRIPTION = 1024
"""Characters; lists of artifacts repeat the description with every artifact."""
MAX_COLOR = 16
"""Characters of a color, as `#FFFFFF`; any text that clients understand."""


def check(name: str, description: str, color: str) -> dict[str, str]:
    """The columns that a caller sets; raises Invalid."""
    if not 1 <= len(name) <= MAX_NAME:
        raise Invalid(f"a label's name has 1 to {MAX_NAME} characters")
    if len(description) > MAX_DESCRIPTION:
        raise Invalid(f"a label's description has at most {MAX_DESCRIPTION} characters")
    if len(color) > MAX_COLOR:
        raise Invalid(f"a label's color has at most {MAX_COLOR} characters, as #FFFFFF")
    return {"name": name, "description": description, "color": color}


class Labels:
    """The labels of projects, and the global ones: their project is None."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(
        self, project_id: int | None, query: Query, *, everybodys: bool = False
    ) -> Page[Label]:
        """Labels of one scope, with the global ones or without; by name unless asked otherwise."""
        within = _within(project_id)
        if everybodys:
            within = or_(within, _within(None))
        statement = narrow(select(labels).where(within), query, FIELDS)
        async with self._db.read() as tx:
            found, total = await one_page(
                tx, ordered(statement, query, FIELDS, labels.c.name, labels.c.id), query
            )
            return Page([_label(row) for row in found], total)

    async def get(self, label_id: int) -> Label:
        """The label of any scope; raises NotFound."""
        async with self._db.read() as tx:
            found = await tx.execute(select(labels).where(labels.c.id == label_id))
            row = found.one_or_none()
        if row is None:
            raise _missing(label_id)
        return _label(row)

    async def create(
        self,
        actor: Principal,
        project_id: int | None,
        name: str,
        *,
        description: str = "",
        color: str = "",
    ) -> int:
        """Make a label. Returns its id; raises Invalid, ProjectUnknown, Conflict."""
        values = check(name, description, color)

        async def step(tx: Tx) -> int:
            if project_id is not None:
                await hold(tx, project_id)
            made = await tx.execute(
                tx.dialect.insert(labels)
                .values(project_id=project_id, **values)
                .on_conflict_do_nothing()
                .returning(labels.c.id)
            )
            label_id = made.scalar_one_or_none()
            if label_id is None:
                raise _taken(name)
            await emit(tx, LabelCreated(operator=actor.name, project_id=project_id, label=name))
            return int(label_id)

        return await self._db.run(step)

    async def change(
        self,
        actor: Principal,
        label_id: int,
        name: str,
        *,
        description: str = "",
        color: str = "",
    ) -> None:
        """Replace what the label says; raises Invalid, NotFound, Conflict."""
        values = check(name, description, color)

        async def step(tx: Tx) -> None:
            statement = update(labels).where(labels.c.id == label_id)
            changed = statement.values(updated_at=now(), **values).returning(labels.c.project_id)
            row = (await tx.execute(changed)).one_or_none()
            if row is None:
                raise _missing(label_id)
            fact = LabelUpdated(operator=actor.name, project_id=row.project_id, label=name)
            await emit(tx, fact)

        try:
            await self._db.run(step)
        except IntegrityError as error:  # nothing but the name can clash
            raise _taken(name) from error

    async def delete(self, actor: Principal, label_id: int) -> None:
        """Delete a label, and take it off every artifact; raises NotFound."""

        async def step(tx: Tx) -> None:
            gone = delete(labels).where(labels.c.id == label_id)
            found = await tx.execute(gone.returning(labels.c.project_id, labels.c.name))
            row = found.one_or_none()
            if row is None:
                raise _missing(label_id)
            fact = LabelDeleted(operator=actor.name, project_id=row.project_id, label=row.name)
            await emit(tx, fact)

        await self._db.run(step)


def _within(project_id: int | None) -> ColumnElement[bool]:
    if project_id is None:
        return labels.c.project_id.is_(None)
    return labels.c.project_id == project_id


def _label(row: Any) -> Label:
    return Label(**row._mapping)


def _missing(label_id: int) -> NotFound:
    return NotFound(f"label {label_id} not found")


def _taken(name: str) -> Conflict:
    return Conflict(f"the label {name} exists already")
