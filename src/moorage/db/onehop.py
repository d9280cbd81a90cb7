"""SQLite's connection thread asked once for a statement.

    SQLAlchemy's own     cursor ─► execute ─► fetchall ─► close      four messages to the thread
    here                 execute with all of that                    one

Each message wakes a thread and the event loop again, which costs more than most statements do.
"""

import collections
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.dialects.sqlite import aiosqlite
from sqlalchemy.util import await_


@dataclass(slots=True)
class _Ended:
    """What is left of a cursor when all was read."""

    description: Any = None
    lastrowid: Any = None
    rowcount: int = -1
    arraysize: int = 1

    def close(self) -> None:
        """The thread did that."""


class _Cursor(aiosqlite.AsyncAdapt_aiosqlite_cursor):
    __slots__ = ()

    _awaitable_cursor_close = False

    def _make_new_cursor(self, connection: Any) -> Any:
        return _Ended()

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        await self._ask(_one, operation, () if parameters is None else parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        await self._ask(_many, operation, seq_of_parameters)

    async def _ask(self, work: Any, operation: Any, parameters: Any) -> None:
        connection: Any = self._connection
        async with self._adapt_connection._execute_mutex:
            # What aiosqlite's own methods call; none of them says what a statement returned.
            self._cursor, rows = await connection._execute(
                work, connection._conn, operation, parameters
            )
            self._rows = collections.deque(rows)


def _one(
    connection: sqlite3.Connection, operation: str, parameters: Any
) -> tuple[_Ended, Sequence[Any]]:
    cursor = connection.execute(operation, parameters)
    rows = cursor.fetchall() if cursor.description else ()
    return _left(cursor), rows


def _many(
    connection: sqlite3.Connection, operation: str, parameters: Any
) -> tuple[_Ended, Sequence[Any]]:
    return _left(connection.executemany(operation, parameters)), ()


def _left(cursor: sqlite3.Cursor) -> _Ended:
    found = _Ended(cursor.description, cursor.lastrowid, cursor.rowcount)
    cursor.close()
    return found


class _Connection(aiosqlite.AsyncAdapt_aiosqlite_connection):
    __slots__ = ()

    _cursor_cls = _Cursor


def connect(dialect: Any, record: Any, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
    """For SQLAlchemy's event `do_connect`."""
    made = dialect.dbapi.aiosqlite.connect(*arguments, **named)
    made._thread.daemon = True  # as SQLAlchemy does: a process that ends waits for no statement
    return _Connection(dialect.dbapi, await_(made))
