"""Write transactions of SQLite: those that wait for one another share a commit.

    BEGIN IMMEDIATE ─► SAVEPOINT, step, RELEASE ─► SAVEPOINT, step, RELEASE ─► … ─► COMMIT
                       └──── one caller ─────┘    └──── the next ─────┘

SQLite has one writer at a time, and a commit is two hops between threads and a wait for the disk.
The first step of a group asks for the commit; it comes after the steps that were queued by then.
Each caller goes on when the commit is on the disk. A step that fails is undone alone.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from moorage.db.dialects import Dialect
from moorage.db.transactions import (
    CommitUnknown,
    Notifier,
    Tx,
    announced,
    commit,
    roll_back,
    whole,
)


class _Group:
    """Steps between one BEGIN and its COMMIT."""

    def __init__(self, connection: AsyncConnection, driver: Any) -> None:
        self.connection = connection
        self.driver = driver
        self.sqlite = driver._conn  # what takes microseconds does not hop to a thread
        self.steps = 0
        self.asked = False  # for the commit
        self.outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        """Tell everybody, unless they know better."""
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self.outcome.exception()  # seen, if nobody waits for it


class Grouped:
    """Steps take turns on one connection."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect, wait_seconds: float) -> None:
        self._engine = engine
        self._dialect = dialect
        self._wait = wait_seconds
        self._turn = asyncio.Lock()  # first come, first served
        self._connection: AsyncConnection | None = None  # kept: taking one costs as much as a step
        self._group: _Group | None = None
        self._commits: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def begin(self, notifier: Notifier | None) -> AsyncIterator[Tx]:
        group = await self._take_turn()
        tx = Tx(group.connection, self._dialect, group.driver)
        stepping = True
        try:
            yield tx
            async with announced(tx, notifier):
                group.sqlite.execute("RELEASE step")
                group.steps += 1
                stepping = False
                self._pass_on(group)
                await whole(group.outcome)
                tx.committed = True
        except BaseException:
            if stepping:
                await whole(self._undo(group))
            raise

    async def close(self) -> None:
        while self._commits:
            await asyncio.wait(self._commits)
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _take_turn(self) -> _Group:
        async with asyncio.timeout(self._wait if self._turn.locked() else None):
            await self._turn.acquire()
        try:
            group = self._group or await self._open()
            group.sqlite.execute("SAVEPOINT step")
        except BaseException:
            self._turn.release()
            raise
        return group

    async def _open(self) -> _Group:
        connection = self._connection or await self._engine.connect()
        self._connection = None
        try:
            driver = await self._dialect.begin_write(connection)
        except BaseException:
            await whole(self._keep(connection))
            raise
        self._group = _Group(connection, driver)
        return self._group

    def _pass_on(self, group: _Group) -> None:
        """The turn goes to the next; behind those who wait by now, to the commit."""
        if not group.asked:
            group.asked = True
            task = asyncio.create_task(self._close(group))
            self._commits.add(task)
            task.add_done_callback(self._commits.discard)
            # The process may end, and the task with it.
            task.add_done_callback(lambda _: group.fail(CommitUnknown()))
        self._turn.release()

    async def _close(self, group: _Group) -> None:
        async with self._turn:
            if self._group is group:
                await self._end(group, commit(group.connection) if group.steps else None)

    async def _undo(self, group: _Group) -> None:
        """Undo one step, or end the group when its transaction is gone already."""
        try:
            if group.connection.invalidated:  # its thread may still be at work: run nothing beside
                raise sqlite3.InterfaceError
            group.sqlite.execute("ROLLBACK TO step")
            group.sqlite.execute("RELEASE step")
        except sqlite3.Error:
            await self._end(group, _lost())
        finally:
            self._pass_on(group)

    async def _end(self, group: _Group, work: Awaitable[None] | None) -> None:
        """Tell every caller of the group what came of `work`."""
        self._group = None
        try:
            if work is not None:
                await work
            group.outcome.set_result(None)
        except Exception as error:
            group.fail(error)
        finally:
            await self._keep(group.connection)

    async def _keep(self, connection: AsyncConnection) -> None:
        """For the next group, unless it broke."""
        if connection.in_transaction():
            await roll_back(connection)
        if connection.closed or connection.invalidated:
            await connection.close()
        else:
            self._connection = connection


async def _lost() -> None:
    raise ConnectionAbortedError("another step ended the transaction; nothing of it was written")
