"""A database: short transactions on one of two dialects.

    run(step, …)    a write transaction around `await step(tx, …)`; retried whole where that is safe
    write()         the same as a context manager, never retried
    read()          one consistent view, cannot write

A step does database work only and may run twice. `tx.touch(key)` names what readers may have in
their caches: the `Notifier` hears of it before the commit and after it, whatever comes of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from moorage.db.dialects import Dialect

P = ParamSpec("P")
T = TypeVar("T")


class Notifier(Protocol):
    """Told of cache keys around a commit; the cache implements it."""

    async def before_commit(self, keys: Iterable[str]) -> None: ...

    async def after_commit(self, keys: Iterable[str]) -> None:
        """Called in every case, also when the commit failed or its outcome is unknown."""


@dataclass
class Tx:
    """One transaction."""

    connection: AsyncConnection
    dialect: Dialect
    touched: set[str] = field(default_factory=set)

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement; `parameters` as a list runs it once for each."""
        return await self.connection.execute(statement, parameters)

    def touch(self, *keys: str) -> None:
        """Say that cached values under `keys` end with this transaction."""
        self.touched.update(keys)


class Database:
    """Owns the engine; made by `moorage.db.connect`, closed by whoever made it."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect) -> None:
        self.engine = engine
        self.dialect = dialect
        self.notifier: Notifier | None = None
        self._writing = asyncio.Lock()

    async def run(
        self,
        step: Callable[Concatenate[Tx, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `step` in a write transaction; raises DatabaseUnavailable."""
        async with self.write() as tx:
            return await step(tx, *args, **kwargs)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Tx]:
        """A write transaction, committed at the end of the block."""
        async with self.engine.connect() as connection:
            await self.dialect.begin_write(connection)
            tx = Tx(connection, self.dialect)
            try:
                yield tx
                if tx.touched and self.notifier:
                    await self.notifier.before_commit(tx.touched)
                await connection.commit()
            finally:
                if tx.touched and self.notifier:
                    await self.notifier.after_commit(tx.touched)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """A read transaction."""
        async with self.engine.connect() as connection:
            yield Tx(connection, self.dialect)

    async def close(self) -> None:
        await self.engine.dispose()
