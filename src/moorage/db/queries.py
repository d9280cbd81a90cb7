"""Filters, sorting and pages of lists: values from a face, applied to columns on an allow-list.

    Query(filters={"name": Fuzzy("lib")}, sort=(("name", False),), page=1, size=10)

A field that the list does not offer is ignored, as Harbor does. A value that the column cannot
hold matches nothing. No text of a caller ever becomes SQL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    Select,
    and_,
    false,
    func,
    select,
)

from moorage.db.transactions import Tx
from moorage.db.types import Timestamp

T = TypeVar("T")
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Exact:
    """Equal to the value."""

    value: str


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """Contains the value, in any case of letters."""

    value: str


@dataclass(frozen=True, slots=True)
class Range:
    """Between both ends, which count; None is open."""

    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Equal to one of the values."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Has all the values; only lists of things with many values understand it."""

    values: tuple[str, ...]


Match = Exact | Fuzzy | Range | AnyOf | AllOf


@dataclass(frozen=True, slots=True)
class Query:
    """One page of a list."""

    filters: Mapping[str, Match] = field(default_factory=dict)
    sort: tuple[tuple[str, bool], ...] = ()  # (field, whether descending)
    page: int = 1
    size: int = 10

    @property
    def start(self) -> int:
        """Items of the pages before."""
        return (self.page - 1) * self.size

    def with_filter(self, name: str, match: Match) -> "Query":
        """The same query, narrowed further."""
        return Query({**self.filters, name: match}, self.sort, self.page, self.size)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The items of one page and how many there are on all."""

    items: Sequence[T]
    total: int


def coerce(column: ColumnElement[Any], text: str) -> Any:
    """`text` as a value of the column's type; raises ValueError, OverflowError."""
    kind = column.type
    if isinstance(kind, Boolean):
        if text.lower() in ("true", "1"):
            return True
        if text.lower() in ("false", "0"):
            return False
        raise ValueError(text)
    if isinstance(kind, Integer | BigInteger):
        number = int(text)
        if abs(number) > LARGEST or (not isinstance(kind, BigInteger) and abs(number) >= 2**31):
            raise ValueError(text)
        return number
    if isinstance(kind, Timestamp):
        moment = datetime.fromisoformat(text)
        # In UTC here already: an offset can lead out of the years that there are.
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return text


def _equal(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    same: ColumnElement[bool] = column == coerce(column, text)
    return same


def condition(column: ColumnElement[Any], match: Match) -> ColumnElement[bool]:
    """The match as a condition on one column."""
    try:
        match match:
            case Exact(value):
                return _equal(column, value)
            case Fuzzy(value):
                if isinstance(column.type, Boolean | Integer | Timestamp):
                    return _equal(column, value)
                return func.lower(column).contains(value.lower(), autoescape=True)
            case Range(low, high):
                if isinstance(column.type, Boolean):
                    return false()
                parts = []
                if low is not None:
                    parts.append(column >= coerce(column, low))
                if high is not None:
                    parts.append(column <= coerce(column, high))
                return and_(*parts) if parts else column.is_not(None)
            case AnyOf(values):
                return column.in_([coerce(column, value) for value in values])
            case AllOf(values):
                return and_(*(_equal(column, value) for value in values))
    except (ValueError, OverflowError):
        return false()


Columns = Mapping[str, ColumnElement[Any]]


def narrow(statement: Select[Any], query: Query, columns: Columns) -> Select[Any]:
    """`statement` with the filters whose fields are in `columns`."""
    for name, match in query.filters.items():
        column = columns.get(name)
        if column is not None:
            statement = statement.where(condition(column, match))
    return statement


def ordered(
    statement: Select[Any], query: Query, columns: Columns, *default: ColumnElement[Any]
) -> Select[Any]:
    """`statement` sorted as asked; `default` follows, so that the order is always total."""
    for name, descending in query.sort:
        column = columns.get(name)
        if column is not None:
            statement = statement.order_by(column.desc() if descending else column.asc())
    return statement.order_by(*default)


def paged(statement: Select[Any], query: Query) -> Select[Any]:
    """`statement` cut to the asked page."""
    return statement.limit(query.size).offset(query.start)


async def one_page(tx: Tx, statement: Select[Any], query: Query) -> tuple[Sequence[Any], int]:
    """The rows of the asked page of `statement`, and how many there are on all."""
    rows = (await tx.execute(paged(statement, query))).all()
    return rows, await total_of(tx, rows, statement, query)


async def total_of(tx: Tx, rows: Sequence[Any], statement: Select[Any], query: Query) -> int:
    """How many rows `statement` has on all pages; the asked one has `rows`.

    They are counted only where this page does not tell: it is full, or empty and not the first.
    """
    if len(rows) < query.size and (rows or not query.start):
        return query.start + len(rows)
    return await count(tx, statement)


async def count(tx: Tx, statement: Select[Any]) -> int:
    """How many rows `statement` has without its page."""
    inner = statement.order_by(None).limit(None).offset(None).subquery()
    return int((await tx.execute(select(func.count()).select_from(inner))).scalar_one())
