"""All that differs between SQLite and PostgreSQL."""

from typing import Any, Protocol

from sqlalchemy import Insert, Select, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


class Dialect(Protocol):
    name: str

    async def begin_write(self, connection: AsyncConnection) -> None: ...

    def insert(self, table: Table) -> Any:
        """An INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update`."""

    def for_key_share(self, select: Select[Any]) -> Select[Any]:
        """Lock rows against deletion."""

    def for_update(self, select: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
        """Lock rows against everybody."""


class SqliteDialect:
    """One writer at a time: `BEGIN IMMEDIATE` is every lock there is."""

    name = "sqlite"

    async def begin_write(self, connection: AsyncConnection) -> None:
        await connection.execute(text("BEGIN IMMEDIATE"))

    def insert(self, table: Table) -> Insert:
        return sqlite.insert(table)

    def for_key_share(self, select: Select[Any]) -> Select[Any]:
        return select

    def for_update(self, select: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
        return select


class PostgresDialect:
    """Row locks."""

    name = "postgresql"

    async def begin_write(self, connection: AsyncConnection) -> None:
        await connection.begin()

    def insert(self, table: Table) -> Insert:
        return postgresql.insert(table)

    def for_key_share(self, select: Select[Any]) -> Select[Any]:
        return select.with_for_update(key_share=True, read=True)

    def for_update(self, select: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
        return select.with_for_update(skip_locked=skip_locked)
