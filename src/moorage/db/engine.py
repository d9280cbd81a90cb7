"""A database: short transactions on one of two dialects.

    run(step, …)    a write transaction around `await step(tx, …)`; retried whole where that is safe
    write()         the same as a context manager, never retried
    read()          statements that each see what is committed, cannot lock
    snapshot()      statements that all see the same moment, for however long; cannot write

A step does database work only and may run twice. `tx.touch(key)` names what readers may have in
their caches: the `Notifier` hears of it before the commit and after it, whatever comes of it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from moorage.db.dialects import Dialect, driver_of
from moorage.db.failures import away, broken, contended, translated
from moorage.db.freshness import Freshness
from moorage.db.groups import Grouped
from moorage.db.transactions import CommitUnknown, Notifier, Separate, Transactions, Tx, whole

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 6
"""How often a transaction that others were in the way of is tried."""
STANDBY_SECONDS = 5.0
"""How long a commit may wait for a standby that is well."""


class Database:
    """Owns its engines; made by `moorage.db.connect`, closed by whoever made it.

    `writer` and `reader` are one engine on PostgreSQL. On SQLite the writer has one connection, on
    which transactions take turns and which nobody else can have; `wait_seconds` is how long one
    waits for its turn. `swapped` says that a pooler may give each transaction another session, so
    that a statement is prepared and run in one session only inside of a transaction.
    """

    def __init__(
        self,
        writer: AsyncEngine,
        dialect: Dialect,
        reader: AsyncEngine | None = None,
        connect_arguments: Mapping[str, Any] | None = None,
        *,
        swapped: bool = False,
        wait_seconds: float = 30.0,
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
        self._transactions: Transactions = (
            Separate(writer, dialect, self._doubt)
            if dialect.name == "postgresql"
            else Grouped(writer, dialect, wait_seconds)
        )

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
                    async with self._transactions.begin(self.notifier) as tx:
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
            async with self._transactions.begin(self.notifier) as tx:
                yield tx

    def _doubt(self) -> None:
        if self._freshness is not None:
            self._freshness.doubt()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """Statements that are no transaction: each sees the newest commit."""
        with translated():
            async with self._reader.connect() as connection:
                try:
                    if self.swapped:
                        await whole(self.dialect.begin_write(connection))
                    yield Tx(connection, self.dialect, await driver_of(connection))
                except Exception as error:
                    if broken(error):
                        self._doubt()
                        await connection.invalidate()
                    raise

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Tx]:
        """Statements that all see the database as of the first of them."""
        with translated():
            async with unhurried(self) as own, own._reader.connect() as connection:
                try:
                    await self.dialect.begin_snapshot(connection)
                    yield Tx(connection, self.dialect, await driver_of(connection))
                finally:
                    # Shielded: a connection that went back inside a transaction would stay there.
                    await whole(connection.rollback())

    async def ping(self) -> None:
        """Raise DatabaseUnavailable unless the database answers."""
        async with self.read() as tx:
            await tx.execute(text("SELECT 1"))

    async def commits_waiting(self, seconds: float = STANDBY_SECONDS) -> int | None:
        """How many commits have waited for a synchronous standby for longer than `seconds`.

        Of all processes; None for a database that has no standbys.
        """
        if self.dialect.waiting is None:
            return None
        async with self.read() as tx:
            query = text(self.dialect.waiting)
            return int((await tx.execute(query, {"seconds": seconds})).scalar_one())

    async def close(self) -> None:
        """Close all connections, after the commits under way."""
        await self._transactions.close()
        await self._reader.dispose()
        await self.engine.dispose()


def _broke_early(error: BaseException) -> bool:
    waited = isinstance(error, exc.TimeoutError | TimeoutError)
    return away(error) and not waited and not isinstance(error, CommitUnknown)


@asynccontextmanager
async def unhurried(db: Database) -> AsyncIterator[Database]:
    """The same database without a time limit of the client: an index, or a copy, may take hours."""
    if db.dialect.name != "postgresql":
        yield db
        return
    arguments = {**db.connect_arguments, "command_timeout": None}
    engine = create_async_engine(db.engine.url, poolclass=NullPool, connect_args=arguments)
    own = Database(engine, db.dialect, connect_arguments=arguments, swapped=db.swapped)
    try:
        yield own
    finally:
        await own.close()
