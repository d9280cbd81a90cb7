"""Statements of the hot paths: compiled once, then run by the driver itself.

Building, hashing and adapting a statement costs more than PostgreSQL needs to run it. A `Prepared`
is a module's constant; its parameters are `bindparam`s.

    FIND = Prepared(lambda dialect: select(blobs.c.size).where(blobs.c.digest == bindparam("d")))
    rows = await tx.fetch(FIND, d=digest)      plain sequences, as the driver gives them
    row = await tx.find(FIND, d=digest)        the only one, with names and types; None if there
                                               is none
    rows = await tx.select(FIND, d=digest)     many of those, or what takes more than a look
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.dialects.sqlite.aiosqlite import dialect as aiosqlite_dialect
from sqlalchemy.exc import MultipleResultsFound
from sqlalchemy.types import TypeEngine

from moorage.db.dialects import Dialect

Row = Sequence[Any]

_COMPILERS: dict[str, Any] = {
    "postgresql": asyncpg_dialect(),  # type: ignore[no-untyped-call]
    "sqlite": aiosqlite_dialect(),
}


class Prepared:
    """One statement for both dialects; `build` gets the dialect that it is for."""

    def __init__(self, build: Callable[[Dialect], Executable]) -> None:
        self._build = build
        self._compiled: dict[str, _Compiled] = {}

    def on(self, dialect: Dialect) -> "_Compiled":
        """The statement as that dialect's driver takes it."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._build(dialect), dialect.name)
        return compiled

    async def fetch(self, driver: Any, dialect: Dialect, values: dict[str, Any]) -> Sequence[Row]:
        """Run it on the driver's own connection, inside of what was begun there."""
        compiled = self.on(dialect)
        return await dialect.fetch(driver, compiled.text, compiled.arguments(values))

    async def find(self, driver: Any, dialect: Dialect, values: dict[str, Any]) -> Any:
        """The only row of it, with names and types; None if there is none."""
        found = await self.fetch(driver, dialect, values)
        if len(found) > 1:
            raise MultipleResultsFound
        return self.on(dialect).named(found)[0] if found else None

    async def select(self, driver: Any, dialect: Dialect, values: dict[str, Any]) -> Sequence[Any]:
        """Its rows, with names and types; however many, nothing else of the process waits."""
        compiled = self.on(dialect)
        found = await dialect.fetch_all(driver, compiled.text, compiled.arguments(values))
        return compiled.named(found)

    async def fetch_many(
        self, driver: Any, dialect: Dialect, values: Sequence[dict[str, Any]]
    ) -> Sequence[Row]:
        """Run it once for each of `values`; the rows of all."""
        compiled = self.on(dialect)
        arguments = [compiled.arguments(each) for each in values]
        return await dialect.fetch_many(driver, compiled.text, arguments)


class _Compiled:
    """SQL text, how its positions are filled, and what its columns are."""

    def __init__(self, statement: Executable, name: str) -> None:
        compiler = statement.compile(dialect=_COMPILERS[name])  # type: ignore[attr-defined]
        self.text = str(compiler)
        self._positions = [
            (key, compiler.binds[key].required, compiler._bind_processors.get(key))
            for key in compiler.positiontup
        ]
        self._constants = {
            key: bind.effective_value for key, bind in compiler.binds.items() if not bind.required
        }
        self._columns = [
            (each.keyname, _processor(each.type, name)) for each in compiler._result_columns
        ]

    @cached_property
    def _make(self) -> Callable[[Iterable[Any]], Any]:
        names = [name for name, _ in self._columns]
        return partial(tuple.__new__, namedtuple("Row", names))

    @cached_property
    def _processors(self) -> Sequence[tuple[int, Callable[[Any], Any]]]:
        return [(place, process) for place, (_, process) in enumerate(self._columns) if process]

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Values in the order of their positions."""
        found = []
        for key, required, process in self._positions:
            value = values[key] if required else self._constants[key]
            found.append(process(value) if process is not None else value)
        return found

    def named(self, rows: Sequence[Row]) -> Sequence[Any]:
        """The rows with the names and the types of their columns."""
        make, processors = self._make, self._processors
        if not processors:
            return [make(row) for row in rows]
        found = []
        for row in rows:
            values = list(row)
            for place, process in processors:
                values[place] = process(values[place])
            found.append(make(values))
        return found


def _processor(kind: TypeEngine[Any], name: str) -> Callable[[Any], Any] | None:
    """What makes of a driver's value one of ours, if it is none already."""
    dialect = _COMPILERS[name]
    return kind.dialect_impl(dialect).result_processor(dialect, None)
