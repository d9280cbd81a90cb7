"""Rows of every table, in a form that SQLite and PostgreSQL both give and take.

    Form   a table's name, its columns with their kinds, its primary key

A form is data and no table of the code: rows of an older revision are put back by the forms that
came with them, into a schema of that revision.

    kind    in memory        in a dump                     in PostgreSQL, in SQLite
    int     int              number                        its column's
    bool    bool             true, false
    text    str              string
    time    datetime, UTC    ISO 8601 with microseconds
    day     date             ISO 8601
    bytes   bytes            base64
    json    str, its text    string                        JSON: the exact text is kept
"""

import base64
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from moorage.db.tables import blob_trash, blobs, metadata
from moorage.db.transactions import Tx
from moorage.db.types import Timestamp

Row = tuple[Any, ...]

BATCH = 1000
"""Rows of one statement."""

NEVER_MOVED = frozenset({"workers"})
"""Processes, which report again."""

UNDER_WAY = frozenset({"uploads", "upload_segments", "login_attempts", "pending_sign_ins"})
"""What begins anew after a restore: its bytes may be gone, its moment is."""

LEFT_OUT_OF_BACKUPS = NEVER_MOVED | UNDER_WAY | {"sessions"}
"""A session that was ended after the backup must not live again."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is known of a table."""

    name: str
    columns: tuple[tuple[str, str], ...]  # name and kind
    key: tuple[str, ...]
    counted: bool  # its ids are given out by the database
    once: bool  # and never come again

    def encode(self, row: Row) -> list[Any]:
        """For a dump."""
        return [
            _ENCODE[kind](value) if value is not None and kind in _ENCODE else value
            for value, (_, kind) in zip(row, self.columns, strict=True)
        ]

    def decode(self, values: Sequence[Any]) -> Row:
        """From a dump."""
        return tuple(
            _DECODE[kind](value) if value is not None and kind in _DECODE else value
            for value, (_, kind) in zip(values, self.columns, strict=True)
        )


_ENCODE: dict[str, Callable[[Any], str]] = {
    "time": lambda value: str(value.isoformat(timespec="microseconds")),
    "day": lambda value: str(value.isoformat()),
    "bytes": lambda value: base64.b64encode(value).decode(),
}
_DECODE: dict[str, Callable[[Any], Any]] = {
    "time": datetime.fromisoformat,
    "day": date.fromisoformat,
    "bytes": base64.b64decode,
}


class _JsonText(TypeDecorator[str]):
    """JSON by its text."""

    impl = sa.Text
    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        return sa.cast(sa.type_coerce(bindvalue, sa.Text), sa.JSON)


def forms(*, without: Collection[str] = NEVER_MOVED) -> list[Form]:
    """Those of this version's tables, what is referenced first."""
    return [_form(table) for table in metadata.sorted_tables if table.name not in without]


def form_of(noted: Mapping[str, Any]) -> Form:
    """From what a dump notes."""
    columns = tuple((name, kind) for name, kind in noted["columns"])
    key = tuple(noted["key"])
    return Form(noted["name"], columns, key, noted["counted"], noted["once"])


def _form(table: sa.Table) -> Form:
    once = bool(table.dialect_options["sqlite"]["autoincrement"])
    counted = table.autoincrement_column is not None
    columns = tuple((column.name, _kind(column.type)) for column in table.columns)
    key = tuple(column.name for column in table.primary_key)
    return Form(table.name, columns, key, counted, once)


def _kind(type_: TypeEngine[Any]) -> str:
    if isinstance(type_, Timestamp):
        return "time"
    for name, kind in (
        (sa.JSON, "json"),
        (sa.LargeBinary, "bytes"),
        (sa.Boolean, "bool"),
        (sa.Date, "day"),
        (sa.Integer, "int"),
        (sa.String, "text"),
    ):
        if isinstance(type_, name):
            return kind
    raise TypeError(f"no form for {type_!r}")


@lru_cache
def _table(form: Form, dialect: str) -> sa.TableClause:
    types: dict[str, TypeEngine[Any]] = {
        "int": sa.BigInteger(),
        "bool": sa.Boolean(),
        "text": sa.Text(),
        "time": Timestamp(),
        "day": sa.Date(),
        "bytes": sa.LargeBinary(),
        "json": _JsonText() if dialect == "postgresql" else sa.Text(),
    }
    return sa.table(form.name, *(sa.column(name, types[kind]) for name, kind in form.columns))


def _select(form: Form, dialect: str) -> sa.Select[Any]:
    table = _table(form, dialect)
    columns = [
        sa.cast(sa.column(name, sa.JSON()), sa.Text).label(name)
        if kind == "json" and dialect == "postgresql"
        else table.c[name]
        for name, kind in form.columns
    ]
    return sa.select(*columns).select_from(table).order_by(*(table.c[name] for name in form.key))


async def read(tx: Tx, form: Form) -> AsyncIterator[list[Row]]:
    """All rows by their key, some at a time; `tx` sees one moment."""
    query = _select(form, tx.dialect.name).execution_options(yield_per=BATCH)
    async with tx.connection.stream(query) as result:
        async for rows in result.partitions():
            yield [tuple(row) for row in rows]


async def read_behind(tx: Tx, form: Form, last: Sequence[Any] | None, limit: int) -> list[Row]:
    """The first rows, or those whose key comes after `last`, which `key_of` gave."""
    query = _select(form, tx.dialect.name).limit(limit)
    if last is not None:
        table = _table(form, tx.dialect.name)
        key = sa.tuple_(*(table.c[name] for name in form.key))
        kinds = dict(form.columns)
        values = [
            _DECODE[kinds[name]](value) if kinds[name] in _DECODE else value
            for name, value in zip(form.key, last, strict=True)
        ]
        query = query.where(key > sa.tuple_(*map(sa.literal, values)))
    return [tuple(row) for row in await tx.execute(query)]


def key_of(form: Form, row: Row) -> list[Any]:
    """The values of a row's primary key, fit for a note."""
    names = [name for name, _ in form.columns]
    values = form.encode(row)
    return [values[names.index(name)] for name in form.key]


async def insert(tx: Tx, form: Form, rows: Sequence[Row]) -> None:
    """Step: put rows in."""
    statement = sa.insert(_table(form, tx.dialect.name))
    names = [name for name, _ in form.columns]
    for start in range(0, len(rows), BATCH):
        batch = [dict(zip(names, row, strict=True)) for row in rows[start : start + BATCH]]
        await tx.execute(statement, batch)


async def clear(tx: Tx, names: Sequence[str]) -> None:
    """Step: delete every row of these tables, given what is referenced first."""
    for name in reversed(names):
        await tx.execute(sa.delete(sa.table(name)))


async def count(tx: Tx, form: Form) -> int:
    """How many rows a table has."""
    query = sa.select(sa.func.count()).select_from(sa.table(form.name))
    return int((await tx.execute(query)).scalar_one())


async def used(tx: Tx) -> list[str]:
    """Those tables with rows that only an installation in use has."""
    found = []
    for name in ("users", "projects", "repositories", "blobs"):
        query = sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)
        if (await tx.execute(query)).scalar_one_or_none() is not None:
            found.append(name)
    return found


async def note_missing(tx: Tx, keys: Sequence[str]) -> None:
    """Step: objects that did not arrive; a push of their digest heals them."""
    for start in range(0, len(keys), BATCH):
        some = keys[start : start + BATCH]
        damaged = sa.update(blobs).where(blobs.c.storage_key.in_(some))
        await tx.execute(damaged.values(state="suspect"))
        await tx.execute(sa.delete(blob_trash).where(blob_trash.c.storage_key.in_(some)))


# --- ids that the database gives out


async def counters(tx: Tx, known: Sequence[Form]) -> dict[str, int]:
    """The highest id that each table has given out, as far as the database remembers."""
    found: dict[str, int] = {}
    for form in known:
        if not form.counted:
            continue
        (key,) = form.key
        newest: sa.Select[Any] = sa.select(sa.func.max(sa.column(key))).select_from(
            sa.table(form.name)
        )
        highest = int((await tx.execute(newest)).scalar_one() or 0)
        found[form.name] = max(highest, await _given(tx, form))
    return found


async def _given(tx: Tx, form: Form) -> int:
    if tx.dialect.name == "sqlite":
        if not form.once:
            return 0
        query = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :table")
        return int((await tx.execute(query, {"table": form.name})).scalar_one_or_none() or 0)
    query = sa.text(
        "SELECT last_value FROM pg_sequences WHERE schemaname = current_schema() "
        "AND format('%I.%I', schemaname, sequencename)::regclass = "
        "pg_get_serial_sequence(:table, :key)::regclass"
    )
    values = {"table": form.name, "key": form.key[0]}
    return int((await tx.execute(query, values)).scalar_one_or_none() or 0)


async def go_on_counting(tx: Tx, known: Sequence[Form], given: dict[str, int], leap: int) -> None:
    """Step: let new ids come after those that were given out.

    `leap` is added where an id must never come again: those that were given out after the moment
    of the rows are in tokens and caches still.
    """
    for form in known:
        if not form.counted:
            continue
        highest = given.get(form.name, 0) + (leap if form.once else 0)
        values = {"table": form.name, "highest": highest}
        if tx.dialect.name == "postgresql":
            query = "SELECT setval(pg_get_serial_sequence(:table, :key), :highest)"
            if highest:
                await tx.execute(sa.text(query), {**values, "key": form.key[0]})
        elif form.once:
            gone = "DELETE FROM sqlite_sequence WHERE name = :table"
            await tx.execute(sa.text(gone), {"table": form.name})
            new = "INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :highest)"
            await tx.execute(sa.text(new), values)
