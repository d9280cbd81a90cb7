"""Loads that several readers wait for together.

A reader may share a load only if the load sees every write that was acknowledged before the reader
came. Two rules give that:

    Flights   the load is running already; the caller has made sure that nobody wrote since it began
    Turns     nothing is known about writers: a reader joins a load only if it has not begun

           running ──────────►│
    reader 2, 3, 4 wait ──────┤ begin one load for the three
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# How long a load waits for the one before it; then both run, so a stuck one holds nobody up.
PATIENCE = 0.1


def _start(work: Coroutine[Any, Any, T], tasks: set[asyncio.Task[Any]]) -> asyncio.Task[T]:
    task = asyncio.create_task(work)
    tasks.add(task)

    def ended(_: asyncio.Task[T]) -> None:
        tasks.discard(task)
        if not task.cancelled():
            task.exception()  # all waiters may have gone: nobody else would look at it

    task.add_done_callback(ended)
    return task


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Flights(Generic[T]):
    """Running loads by name, each in a task of its own: a waiter that goes away stops nobody."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._by_name: dict[str, asyncio.Task[T]] = {}

    def find(self, name: str) -> asyncio.Task[T] | None:
        """The load that runs under `name` and may be joined."""
        return self._by_name.get(name)

    def begin(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work`, which others may join under `name` until it ends or is forgotten."""
        task = _start(work, self._tasks)
        self._by_name[name] = task

        def ended(_: asyncio.Task[T]) -> None:
            if self._by_name.get(name) is task:
                del self._by_name[name]

        task.add_done_callback(ended)
        return task

    def forget(self, name: str) -> None:
        """Let nobody else join the load under `name`; who waits for it still gets it."""
        self._by_name.pop(name, None)

    async def close(self) -> None:
        """Cancel what still runs."""
        await _cancel(self._tasks)


class Turns(Generic[T]):
    """Loads by name, one after the other; readers join the one that has not begun."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._next: dict[str, asyncio.Task[T]] = {}
        self._running: dict[str, asyncio.Task[T]] = {}

    async def share(self, name: str, load: Callable[[], Awaitable[T]]) -> T:
        """What a load that begins after this call finds; its failure is the failure of all."""
        task = self._next.get(name)
        if task is None:
            task = self._next[name] = _start(self._run(name, load), self._tasks)
        return await asyncio.shield(task)

    async def _run(self, name: str, load: Callable[[], Awaitable[T]]) -> T:
        own = self._next[name]
        before = self._running.get(name)
        try:
            if before is not None:
                await asyncio.wait({before}, timeout=PATIENCE)
        finally:
            del self._next[name]
        self._running[name] = own
        try:
            return await load()
        finally:
            if self._running.get(name) is own:
                del self._running[name]

    async def close(self) -> None:
        """Cancel what still runs."""
        await _cancel(self._tasks)
