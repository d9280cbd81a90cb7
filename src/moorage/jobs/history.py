"""Reading what was done: executions, their tasks, and what those said."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select

from moorage.db.engine import Database
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import executions, task_logs, tasks
from moorage.errors import NotFound
from moorage.jobs.records import FINAL, Execution, Task

EXECUTION_FIELDS: Columns = {
    "id": executions.c.id,
    "status": executions.c.status,
    "trigger": executions.c.trigger,
    "vendor_type": executions.c.vendor_type,
    "vendor_id": executions.c.vendor_id,
    "start_time": executions.c.created_at,
    "creation_time": executions.c.created_at,
    "update_time": executions.c.updated_at,
    "end_time": executions.c.ended_at,
}
TASK_FIELDS: Columns = {
    "id": tasks.c.id,
    "status": tasks.c.status,
    "run_count": tasks.c.runs,
    "creation_time": tasks.c.created_at,
    "update_time": tasks.c.updated_at,
    "start_time": tasks.c.started_at,
    "end_time": tasks.c.ended_at,
}
"""What these lists can be narrowed and sorted by."""

MAX_LOG = 16 << 20
"""Characters of a log that one answer holds; the end of a longer one is read by its pieces."""

TASK_COLUMNS = (
    tasks.c.id,
    tasks.c.execution_id,
    tasks.c.kind,
    tasks.c.arguments,
    tasks.c.extra,
    tasks.c.status,
    tasks.c.status_message,
    tasks.c.runs,
    tasks.c.owner,
    tasks.c.check_in,
    tasks.c.checked_in_at,
    tasks.c.created_at,
    tasks.c.updated_at,
    tasks.c.started_at,
    tasks.c.ended_at,
    tasks.c.fence.label("revision"),
)
_EXECUTION = (
    executions.c.id,
    executions.c.vendor_type,
    executions.c.vendor_id,
    executions.c.status,
    executions.c.status_message,
    executions.c.trigger,
    executions.c.extra,
    executions.c.revision,
    executions.c.created_at,
    executions.c.updated_at,
    executions.c.ended_at,
)


class History:
    """Executions and tasks."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # --- executions

    async def list(
        self, vendor_types: Collection[str], query: Query, *, vendor_id: int | None = None
    ) -> Page[Execution]:
        """Executions of these types, the newest first."""
        statement: Select[Any] = select(*_EXECUTION).where(*_of(vendor_types, vendor_id))
        statement = narrow(statement, query, EXECUTION_FIELDS)
        newest = executions.c.id.desc()
        async with self._db.read() as tx:
            rows, total = await one_page(
                tx, ordered(statement, query, EXECUTION_FIELDS, newest), query
            )
            return Page([_execution(row) for row in rows], total)

    async def get(
        self, vendor_types: Collection[str], execution_id: int, *, vendor_id: int | None = None
    ) -> Execution:
        """One execution; raises NotFound."""
        where = *_of(vendor_types, vendor_id), executions.c.id == execution_id
        async with self._db.read() as tx:
            row = (await tx.execute(select(*_EXECUTION).where(*where))).one_or_none()
        if row is None:
            raise NotFound(f"execution {execution_id} not found")
        return _execution(row)

    async def running(self, vendor_type: str, *, vendor_id: int | None = None) -> bool:
        """Whether one of the type has not ended."""
        where = *_of((vendor_type,), vendor_id), executions.c.status.not_in(FINAL)
        async with self._db.read() as tx:
            found = await tx.execute(select(executions.c.id).where(*where).limit(1))
            return found.scalar_one_or_none() is not None

    async def metrics(
        self, ids: Collection[int], *, kind: str | None = None
    ) -> Mapping[int, Mapping[str, int]]:
        """Of each of these executions, how many tasks (of a kind) are in which state; one query."""
        query = (
            select(tasks.c.execution_id, tasks.c.status, func.count().label("count"))
            .where(tasks.c.execution_id.in_(ids))
            .group_by(tasks.c.execution_id, tasks.c.status)
        )
        if kind is not None:
            query = query.where(tasks.c.kind == kind)
        found: dict[int, dict[str, int]] = {each: {} for each in ids}
        async with self._db.read() as tx:
            for row in await tx.execute(query):
                found[row.execution_id][row.status] = row._mapping["count"]
        return found

    # --- tasks

    async def tasks_of(
        self,
        execution_id: int,
        query: Query,
        *,
        kind: str | None = None,
        shown: Mapping[str, str] | None = None,
    ) -> Page[Task]:
        """Tasks of an execution, the oldest first: all, or of a `kind`, or that have `shown`."""
        statement = select(*TASK_COLUMNS).where(tasks.c.execution_id == execution_id)
        if kind is not None:
            statement = statement.where(tasks.c.kind == kind)
        for name, value in (shown or {}).items():
            statement = statement.where(tasks.c.extra[name].as_string() == value)
        return await self._tasks(narrow(statement, query, TASK_FIELDS), query)

    async def all_tasks(
        self, query: Query, *, kinds: Collection[str] = (), statuses: Collection[str] = ()
    ) -> Page[Task]:
        """Tasks of every execution, the newest first."""
        statement = select(*TASK_COLUMNS)
        if kinds:
            statement = statement.where(tasks.c.kind.in_(kinds))
        if statuses:
            statement = statement.where(tasks.c.status.in_(statuses))
        return await self._tasks(statement, query, tasks.c.id.desc())

    async def _tasks(
        self, statement: Select[Any], query: Query, order: ColumnElement[Any] = tasks.c.id
    ) -> Page[Task]:
        async with self._db.read() as tx:
            rows, total = await one_page(tx, ordered(statement, query, TASK_FIELDS, order), query)
            return Page([task_of(row) for row in rows], total)

    async def task(self, task_id: int, execution_id: int | None = None) -> Task:
        """One task, of that execution if one is named; raises NotFound."""
        mine = tasks.c.id == task_id
        if execution_id is not None:
            mine = and_(mine, tasks.c.execution_id == execution_id)
        async with self._db.read() as tx:
            row = (await tx.execute(select(*TASK_COLUMNS).where(mine))).one_or_none()
        if row is None:
            raise NotFound(f"task {task_id} not found")
        return task_of(row)

    # --- logs

    async def log(self, task_id: int) -> str:
        """What a task said so far."""
        text, _ = await self.log_after(task_id, 0)
        return text

    async def log_of(self, execution_id: int) -> str:
        """What the first task of an execution said; most have one only."""
        page = await self.tasks_of(execution_id, Query(size=1))
        return await self.log(page.items[0].id) if page.items else ""

    async def log_after(self, task_id: int, piece: int) -> tuple[str, int]:
        """What a task said after a piece of its log, and the last piece of that."""
        query = (
            select(task_logs.c.id, task_logs.c.text)
            .where(task_logs.c.task_id == task_id, task_logs.c.id > piece)
            .order_by(task_logs.c.id)
        )
        found, size = [], 0
        async with self._db.read() as tx:
            for row in await tx.execute(query):
                found.append(row.text)
                piece, size = row.id, size + len(row.text)
                if size > MAX_LOG:
                    break
        return "".join(found), piece

    async def follow(self, task_id: int, look: float = 1.0) -> AsyncIterator[str]:
        """What a task says, until it has ended."""
        piece, ended = 0, False
        while True:
            text, piece = await self.log_after(task_id, piece)
            if text:
                yield text
            elif ended:
                return
            else:
                ended = (await self.task(task_id)).status in FINAL
                await asyncio.sleep(0 if ended else look)


def _of(vendor_types: Collection[str], vendor_id: int | None) -> Sequence[ColumnElement[bool]]:
    of_type = executions.c.vendor_type.in_(sorted(vendor_types))
    return (of_type,) if vendor_id is None else (of_type, executions.c.vendor_id == vendor_id)


def _execution(row: Any) -> Execution:
    return Execution(**row._mapping)


def task_of(row: Any) -> Task:
    return Task(**row._mapping)
