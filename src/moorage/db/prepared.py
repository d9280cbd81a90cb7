"""Statements of the hot paths: compiled once, then run by the driver itself.

Building, hashing and adapting a statement costs more than PostgreSQL needs to run it. A `Prepared`
is a module's constant; its parameters are `bindparam`s and its rows are plain sequences.

    FIND = Prepared(lambda dialect: select(blobs.c.size).where(blobs.c.digest == bindparam("d")))
    rows = await tx.fetch(FIND, d=digest)
    rows = await tx.select(FIND, d=digest)     the same as rows with names and types
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.dialects.sqlite.aiosqlite import dialect as aiosqlite_dialect

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
        self._built: dict[str, Executable] = {}
        self._compiled: dict[str, _Compiled] = {}

    def built(self, dialect: Dialect) -> Executable:
        """The statement for SQLAlchemy: the same object each time, whose key it knows by then."""
        statement = self._built.get(dialect.name)
        if statement is None:
            statement = self._built[dialect.name] = self._build(dialect)
        return statement

    def on(self, dialect: Dialect) -> "_Compiled":
        """The statement as that dialect's driver takes it."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self.built(dialect), dialect.name)
        return compiled

    async def fetch(self, driver: Any, dialect: Dialect, values: dict[str, Any]) -> Sequence[Row]:
        """Run it on the driver's own connection, inside of what was begun there."""
        compiled = self.on(dialect)
        return await dialect.fetch(driver, compiled.text, compiled.arguments(values))

    async def fetch_many(
        self, driver: Any, dialect: Dialect, values: Sequence[dict[str, Any]]
    ) -> Sequence[Row]:
        """Run it once for each of `values`; the rows of all."""
        compiled = self.on(dialect)
        arguments = [compiled.arguments(each) for each in values]
        return await dialect.fetch_many(driver, compiled.text, arguments)


class _Compiled:
    """SQL text and how its positions are filled."""

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

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Values in the order of their positions."""
        found = []
        for key, required, process in self._positions:
            value = values[key] if required else self._constants[key]
            found.append(process(value) if process is not None else value)
        return found
