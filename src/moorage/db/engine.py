"""A database: short transactions on one of two dialects.

    run(step, …)    a write transaction around `await step(tx, …)`; retried whole where that is safe
    write()         the same as a context manager, never retried
    read()          statements that each see what is committed, cannot lock

A step does database work only and may run twice. `tx.touch(key)` names what readers may have in
their caches: the `Notifier` hears of it before the commit and after it, whatever comes of it.
"""

import asyncio
import random
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import CursorResult, Executable, exc, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from moorage.db.dialects import Dialect
from moorage.db.failures import away, broken, contended, translated
from moorage.db.freshness import Freshness
from moorage.db.prepared import Prepared, Row

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 6
"""How often a transaction that others were in the way of is tried."""


class Notifier(Protocol):
    """Told of cache keys around a commit; the cache implements it."""

    async def before_commit(self, keys: Iterable[str]) -> None:
        """May raise: the transaction is then rolled back."""

    async def after_commit(self, keys: Iterable[str], *, settled: bool = True) -> None:
        """Called in every case; `settled` is false when the outcome is unknown."""


@dataclass
class Tx:
    """One transaction."""

    connection: AsyncConnection
    dialect: Dialect
    touched: set[str] = field(default_factory=set)
    committed: bool = False

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement; `parameters` as a list runs it once for each."""
        return await self.connection.execute(statement, parameters)

    async def fetch(self, prepared: Prepared, **values: Any) -> Sequence[Row]:
        """Run a statement of a hot path; its rows, as plain sequences."""
        return await prepared.fetch(self.connection, self.dialect, values)

    async def fetch_many(
        self, prepared: Prepared, values: Sequence[dict[str, Any]]
    ) -> Sequence[Row]:
        """Run such a statement once for each of `values`; the rows of all."""
        if not values:
            return []
        return await prepared.fetch_many(self.connection, self.dialect, values)

    def touch(self, *keys: str) -> None:
        """Say that cached values under `keys` end with this transaction."""
        self.touched.update(keys)


class Database:
    """Owns its engines; made by `moorage.db.connect`, closed by whoever made it.

    `writer` and `reader` are one engine on PostgreSQL. SQLite has one writer at a time: a pool of
    one connection is its queue. `swapped` says that a pooler may give each transaction another
    session, so that a statement is prepared and run in one session only inside of a transaction.
    """

    def __init__(
        self,
        writer: AsyncEngine,
        dialect: Dialect,
        reader: AsyncEngine | None = None,
        connect_arguments: Mapping[str, Any] | None = None,
        *,
        swapped: bool = False,
    ) -> None:
        self.engine = writer
        self.swapped = swapped
        self.connect_arguments = dict(connect_arguments or {})
        self.dialect = dialect
        self.notifier: Notifier | None = None
        # SQLite's driver begins nothing by itself, and SQLAlchemy's switch would ask it each time.
        self._reader = reader or (
            writer if swapped else writer.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._freshness = Freshness(writer) if dialect.name == "postgresql" else None

    async def run(
        self,
        step: Callable[Concatenate[Tx, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `step` in a write transaction; raises DatabaseUnavailable.

        Runs it again when it lost against another transaction, or when its connection turned out
        to be dead before the commit. A commit whose outcome is unknown is never repeated, nor is
        a wait that was as long as the settings allow.
        """
        with translated():
            for attempt in range(1, ATTEMPTS + 1):
                tx = None
                try:
                    async with self._transaction() as tx:
                        return await step(tx, *args, **kwargs)
                except Exception as error:
                    safe = tx is None or not tx.committed
                    lost = contended(error) or _broke_early(error)
                    if attempt == ATTEMPTS or not (safe and lost):
                        raise
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Tx]:
        """A write transaction, committed at the end of the block."""
        with translated():
            async with self._transaction() as tx:
                yield tx

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Tx]:
        async with self.engine.connect() as connection:
            try:
                await self.dialect.begin_write(connection)
                tx = Tx(connection, self.dialect)
                yield tx
                await self._commit(tx)
            except BaseException as error:
                await _whole(self._undo(connection, error))
                raise

    async def _undo(self, connection: AsyncConnection, error: BaseException) -> None:
        """Roll back; a connection that cannot even do that leaves the pool."""
        if broken(error):
            self._doubt()
            await connection.invalidate()
            return
        try:
            await connection.rollback()
        except Exception:
            await connection.invalidate()

    def _doubt(self) -> None:
        if self._freshness is not None:
            self._freshness.doubt()

    async def _commit(self, tx: Tx) -> None:
        if not tx.touched or self.notifier is None:
            await _finish(tx)
            return
        settled = True
        try:
            await self.notifier.before_commit(tx.touched)
            try:
                await _finish(tx)
            except BaseException:
                settled = False
                raise
        finally:
            await _whole(self.notifier.after_commit(tx.touched, settled=settled))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """Statements that are no transaction: each sees the newest commit."""
        with translated():
            async with self._reader.connect() as connection:
                try:
                    if self.swapped:
                        await self.dialect.begin_write(connection)
                    yield Tx(connection, self.dialect)
                except Exception as error:
                    if broken(error):
                        self._doubt()
                        await connection.invalidate()
                    raise

    async def ping(self) -> None:
        """Raise DatabaseUnavailable unless the database answers."""
        async with self.read() as tx:
            await tx.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self.engine.dispose()


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Let `work` end, however often the request is being cancelled; it is then told afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen; the cancellation goes before it
        raise cancelled
    task.result()


async def _finish(tx: Tx) -> None:
    """Commit, and know the outcome."""
    try:
        await _whole(tx.connection.commit())
    except Exception as error:
        if away(error):
            raise CommitUnknown from error
        # The server refused. SQLAlchemy takes the transaction for ended and would not roll it
        # back, but SQLite leaves it open: with its connection it ends for certain.
        await tx.connection.invalidate()
        raise
    tx.committed = True


class CommitUnknown(OSError):
    """The connection broke during the commit: it may have happened."""


def _broke_early(error: BaseException) -> bool:
    waited = isinstance(error, exc.TimeoutError | TimeoutError)
    return away(error) and not waited and not isinstance(error, CommitUnknown)
