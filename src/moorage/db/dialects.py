"""All that differs between SQLite and PostgreSQL."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    ColumnElement,
    Insert,
    Integer,
    Select,
    String,
    Table,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
Many = Sequence[str] | Sequence[int] | Sequence[date]

BUSY_SECONDS = 30
"""How long SQLite waits for another process that writes."""


async def driver_of(connection: AsyncConnection) -> Any:
    """The driver's own connection."""
    return (await connection.get_raw_connection()).driver_connection


class Dialect(Protocol):
    name: str
    interruptible: bool
    """Whether the driver ends a statement whose caller is cancelled."""
    nests_changes: bool
    """Whether a statement can read what another inside of it changes."""
    waiting: str | None
    """A query of how many commits have waited for a standby, longer than `seconds`."""

    async def begin_write(self, connection: AsyncConnection) -> Any:
        """Begin at the server, so that statements of the driver are inside too; the driver."""

    async def begin_snapshot(self, connection: AsyncConnection) -> None:
        """Begin to read as of one moment, for however long it takes."""

    async def fetch(self, driver: Any, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
        """Run a statement on the driver's own connection; its rows."""

    async def fetch_all(self, driver: Any, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
        """The same for a statement that may take a while."""

    async def fetch_many(
        self, driver: Any, text: str, arguments: Sequence[Sequence[Any]]
    ) -> Sequence[Any]:
        """Run it once for each; the rows of all."""

    def among(self, column: ColumnElement[T], name: str) -> ColumnElement[bool]:
        """Whether a column has one of the values in the parameter `name` of a Prepared.

        One parameter, however many values: the statement stays the same. See `many`.
        """

    def many(self, values: Many) -> Any:
        """What that parameter is given."""

    def insert(self, table: Table) -> Any:
        """An INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update`."""

    def for_key_share(self, select: Select[Any]) -> Select[Any]:
        """Lock rows against deletion."""

    def for_update(self, select: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
        """Lock rows against everybody."""

    def holds(self, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
        """Whether a column contains `text`, in that case of letters."""

    def some(self, table: Table, which: ColumnElement[bool], most: int) -> ColumnElement[bool]:
        """Rows of a table, at most so many of those; each found by a single look."""


class SqliteDialect:
    """One writer at a time: `BEGIN IMMEDIATE` is every lock there is."""

    name = "sqlite"
    interruptible = False  # it would run on in its thread, and keep its locks
    nests_changes = False
    waiting: str | None = None

    async def begin_write(self, connection: AsyncConnection) -> Any:
        await connection.begin()
        driver = await driver_of(connection)
        # At once, in the event loop; when another process writes, in the thread that may wait.
        driver._conn.execute("PRAGMA busy_timeout = 0")
        try:
            driver._conn.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            driver._conn.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
            await driver.execute("BEGIN IMMEDIATE")
        return driver

    async def begin_snapshot(self, connection: AsyncConnection) -> None:
        await connection.exec_driver_sql("BEGIN")
        # The moment is that of the first read.
        await connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")

    async def fetch(self, driver: Any, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
        # In the event loop: such a statement takes ten microseconds and writes to memory only,
        # a hop to the driver's thread takes seventy. The commit, which waits for the disk, hops.
        rows: Sequence[Any] = driver._conn.execute(text, arguments).fetchall()
        return rows

    async def fetch_all(self, driver: Any, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
        rows: Sequence[Any] = await driver._execute(_all, driver._conn, text, arguments)
        return rows

    async def fetch_many(
        self, driver: Any, text: str, arguments: Sequence[Sequence[Any]]
    ) -> Sequence[Any]:
        connection = driver._conn
        return [row for each in arguments for row in connection.execute(text, each).fetchall()]

    def among(self, column: ColumnElement[T], name: str) -> ColumnElement[bool]:
        values = func.json_each(bindparam(name, type_=String())).table_valued("value")
        return column.in_(select(values.c.value))

    def many(self, values: Many) -> Any:
        return json.dumps(values, default=date.isoformat)

    def insert(self, table: Table) -> Insert:
        return sqlite.insert(table)

    def for_key_share(self, select: Select[Any]) -> Select[Any]:
        return select

    def for_update(self, select: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
        return select

    def holds(self, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
        return func.instr(column, text) > 0

    def some(self, table: Table, which: ColumnElement[bool], most: int) -> ColumnElement[bool]:
        # Of several columns that are IN a list, it would look up the first one and read on.
        row: ColumnElement[int] = literal_column("rowid", Integer())
        return row.in_(select(row).select_from(table).where(which).limit(most))


def _all(connection: sqlite3.Connection, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
    return connection.execute(text, arguments).fetchall()


class PostgresDialect:
    """Row locks."""

    name = "postgresql"
    interruptible = True
    nests_changes = True
    # Sessions of other roles show nothing of what they wait for: ours are seen, and that is enough.
    waiting: str | None = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event = 'SyncRep' AND query_start < now() - make_interval(secs => :seconds)"
    )

    async def begin_write(self, connection: AsyncConnection) -> Any:
        await connection.begin()
        raw = await connection.get_raw_connection()
        # SQLAlchemy begins with its first statement; ours may be the driver's.
        await raw.dbapi_connection._start_transaction()  # type: ignore[union-attr]
        return raw.driver_connection

    async def begin_snapshot(self, connection: AsyncConnection) -> None:
        await connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        await connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.exec_driver_sql("SET LOCAL statement_timeout = 0")

    async def fetch(self, driver: Any, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
        rows: Sequence[Any] = await driver.fetch(text, *arguments)
        return rows

    async def fetch_all(self, driver: Any, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
        return await self.fetch(driver, text, arguments)

    async def fetch_many(
        self, driver: Any, text: str, arguments: Sequence[Sequence[Any]]
    ) -> Sequence[Any]:
        rows: Sequence[Any] = await driver.fetchmany(text, arguments)  # one round trip
        return rows

    def among(self, column: ColumnElement[T], name: str) -> ColumnElement[bool]:
        item = String() if isinstance(column.type, String) else column.type
        return column == any_(bindparam(name, type_=postgresql.ARRAY(item)))

    def many(self, values: Many) -> Any:
        return values

    def insert(self, table: Table) -> Insert:
        return postgresql.insert(table)

    def for_key_share(self, select: Select[Any]) -> Select[Any]:
        return select.with_for_update(key_share=True, read=True)

    def for_update(self, select: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
        return select.with_for_update(skip_locked=skip_locked)

    def holds(self, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
        return func.strpos(column, text) > 0

    def some(self, table: Table, which: ColumnElement[bool], most: int) -> ColumnElement[bool]:
        key: list[Any] = list(table.primary_key.columns)
        return tuple_(*key).in_(select(*key).where(which).limit(most))
