"""Write transactions: what a step is given, and how one ends for certain.

    Separate    each step on a connection of its own (PostgreSQL)

`moorage.db.groups` has the other kind, for SQLite.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from moorage.db.dialects import Dialect
from moorage.db.failures import away, broken
from moorage.db.prepared import Prepared, Row

T = TypeVar("T")


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
    driver: Any  # the driver's own connection
    touched: set[str] = field(default_factory=set)
    committed: bool = False

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run one statement; `parameters` as a list runs it once for each."""
        running = self.connection.execute(statement, parameters)
        return await (running if self.dialect.interruptible else whole(running))

    async def fetch(self, prepared: Prepared, **values: Any) -> Sequence[Row]:
        """Run a statement of a hot path; its rows, as plain sequences."""
        return await prepared.fetch(self.driver, self.dialect, values)

    async def find(self, prepared: Prepared, **values: Any) -> Any:
        """The only row of such a statement, with names and types; None if there is none."""
        return await prepared.find(self.driver, self.dialect, values)

    async def select(self, prepared: Prepared, **values: Any) -> Sequence[Any]:
        """The rows of one that may have many or take a while, with names and types."""
        running = prepared.select(self.driver, self.dialect, values)
        return await (running if self.dialect.interruptible else whole(running))

    async def fetch_many(
        self, prepared: Prepared, values: Sequence[dict[str, Any]]
    ) -> Sequence[Row]:
        """Run such a statement once for each of `values`; the rows of all."""
        if not values:
            return []
        return await prepared.fetch_many(self.driver, self.dialect, values)

    def touch(self, *keys: str) -> None:
        """Say that cached values under `keys` end with this transaction."""
        self.touched.update(keys)


class Transactions(Protocol):
    """Where write transactions come from."""

    def begin(self, notifier: Notifier | None) -> AbstractAsyncContextManager[Tx]:
        """A transaction that is committed at the end of the block, rolled back by an error."""

    async def close(self) -> None:
        """Wait for commits under way."""


class Separate:
    """Each transaction has a connection of its own."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect, doubt: Callable[[], None]) -> None:
        self._engine = engine
        self._dialect = dialect
        self._doubt = doubt  # called when a connection broke: its neighbours may be dead too

    @asynccontextmanager
    async def begin(self, notifier: Notifier | None) -> AsyncIterator[Tx]:
        async with self._engine.connect() as connection:
            try:
                # Cut short, it would leave a transaction behind of which SQLAlchemy knows nothing:
                # whatever the connection did next would be inside of it, and never committed.
                driver = await whole(self._dialect.begin_write(connection))
                tx = Tx(connection, self._dialect, driver)
                yield tx
                async with announced(tx, notifier):
                    await commit(connection)
                    tx.committed = True
            except BaseException as error:
                await whole(self._undo(connection, error))
                raise

    async def _undo(self, connection: AsyncConnection, error: BaseException) -> None:
        if broken(error):
            self._doubt()
            await connection.invalidate()
            return
        await roll_back(connection)

    async def close(self) -> None:
        pass


@asynccontextmanager
async def announced(tx: Tx, notifier: Notifier | None) -> AsyncIterator[None]:
    """Tell the notifier before and after the commit in the block, whatever comes of it."""
    if not tx.touched or notifier is None:
        yield
        return
    settled = True
    try:
        await notifier.before_commit(tx.touched)
        try:
            yield
        except BaseException:
            settled = False
            raise
    finally:
        await whole(notifier.after_commit(tx.touched, settled=settled))


async def commit(connection: AsyncConnection) -> None:
    """Commit, and know the outcome; raises CommitUnknown."""
    try:
        await whole(connection.commit())
    except Exception as error:
        if away(error):
            raise CommitUnknown from error
        # The server refused. SQLAlchemy takes the transaction for ended and would not roll it
        # back, but SQLite leaves it open: with its connection it ends for certain.
        await connection.invalidate()
        raise


async def roll_back(connection: AsyncConnection) -> None:
    """Roll back; a connection that cannot even do that leaves the pool."""
    try:
        await connection.rollback()
    except Exception:
        await connection.invalidate()


async def whole(work: Awaitable[T]) -> T:
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
    return task.result()


class CommitUnknown(OSError):
    """The connection broke during the commit: it may have happened."""
