"""Time in SQL, the same on both databases: the database's clock decides.

`Timestamp` columns give aware datetimes in UTC. `now()` and `from_now(seconds)` are expressions.
PostgreSQL reads its own clock once a statement, so that an index can be asked for what is due
(`clock_timestamp()` would be read again for each row, and every row be visited). SQLite calls
`moorage_now`, which each connection registers, so that a test can turn the clock of a SQLite
database.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


def sqlite_text(moment: datetime) -> str:
    """How SQLite stores a time: in UTC and of fixed width, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(" ", "microseconds")[:26]


class Timestamp(TypeDecorator[datetime]):
    """A point in time with microseconds."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(26))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return sqlite_text(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """A plain function: lists have thousands of times. asyncpg's own are in UTC."""
        return _from_text if dialect.name == "sqlite" else None


def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value + "+00:00")


class now(FunctionElement[datetime]):
    """The database's clock at this statement."""

    type = Timestamp()
    inherit_cache = True


class _FromNow(FunctionElement[datetime]):
    type = Timestamp()
    inherit_cache = True


def from_now(seconds: float | ColumnElement[Any]) -> FunctionElement[datetime]:
    """The database's clock plus `seconds`, which may be negative."""
    return _FromNow(seconds)


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **kw: Any) -> str:
    return "statement_timestamp()"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **kw: Any) -> str:
    return "(moorage_now(0))"


@compiles(_FromNow, "postgresql")
def _from_now_postgresql(element: _FromNow, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(statement_timestamp() + make_interval(secs => {seconds}))"


@compiles(_FromNow, "sqlite")
def _from_now_sqlite(element: _FromNow, compiler: Any, **kw: Any) -> str:
    return f"moorage_now({compiler.process(element.clauses, **kw)})"
