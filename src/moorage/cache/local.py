"""The cache of a single process, and none at all.

Everything is in memory, and every writer passes through this object, so it knows all there is:

    (nothing) ── reader misses ──► loading, with a live ticket ── fill ──► value ── expires ─┐
        ▲                              │ before_commit                       │ before_commit  │
        │                              ▼ the ticket dies                     ▼                │
        │                          marked: readers ask the database, nothing is kept          │
        │                              │ the last writer's after_commit                       │
        └──────────────────────────────┴──────────────────────────────────────────────────────┘
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from moorage.cache.base import Kind
from moorage.cache.flights import Flights, Turns
from moorage.cache.lru import LRU
from moorage.clock import Clock

T = TypeVar("T")

# A commit whose outcome nobody knows may still happen at the server for this long.
UNSETTLED = 30.0


class LocalCache:
    """Values in this process; right only while no other process writes to the database."""

    def __init__(self, clock: Clock, *, entries: int, size: int, expire_seconds: float) -> None:
        """Keep at most `entries` values of `size` bytes in all, each for `expire_seconds`."""
        self._now = clock.monotonic
        self._expire = expire_seconds
        self._values: LRU[tuple[Any, float]] = LRU(entries=entries, size=size)
        self._marks: dict[str, int] = {}
        self._flights: Flights[Any] = Flights()
        self._turns: Turns[Any] = Turns()
        self._timers: set[asyncio.TimerHandle] = set()
        self._hits = 0
        self._misses = 0

    def peek(self, kind: Kind[T], key: str) -> T | None:
        """The value, if it is here and has not expired."""
        entry = self._values.get(key)
        if entry is None:
            return None
        value: T = entry[0]
        if self._now() >= entry[1]:
            self._values.pop(key)
            return None
        self._hits += 1
        return value

    async def through(
        self, kind: Kind[T], key: str, load: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        """The value, or what `load` finds; readers of one key share one load."""
        value = self.peek(kind, key)
        if value is not None:
            return value
        self._misses += 1
        if key in self._marks:
            return await self._turns.share(key, load)  # type: ignore[no-any-return]
        flight = self._flights.find(key)
        if flight is None:
            flight = self._flights.begin(key, self._fly(kind, key, load))
        return await asyncio.shield(flight)

    async def _fly(
        self, kind: Kind[T], key: str, load: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        ticket = asyncio.current_task()
        if self._flights.find(key) is not ticket:  # marked before the task had its first turn
            return await load()
        value = await load()
        if value is not None and self._flights.find(key) is ticket:
            until = self._now() + self._expire
            self._values.put(key, (value, until), len(kind.dumps(value)))
        return value

    async def before_commit(self, keys: Iterable[str]) -> None:
        """Forget the values, kill the tickets, and mark the keys."""
        for key in keys:
            self._marks[key] = self._marks.get(key, 0) + 1
            self._values.pop(key)
            self._flights.forget(key)

    async def after_commit(self, keys: Iterable[str], *, settled: bool = True) -> None:
        """Lift this writer's marks; later if the commit may still happen (`settled` false)."""
        keys = list(keys)
        if settled:
            self._lift(keys)
            return
        loop = asyncio.get_running_loop()

        def lift() -> None:
            self._timers.discard(timer)
            self._lift(keys)

        timer = loop.call_later(UNSETTLED, lift)
        self._timers.add(timer)

    def _lift(self, keys: Iterable[str]) -> None:
        for key in keys:
            left = self._marks.get(key, 0) - 1
            if left > 0:
                self._marks[key] = left
            else:
                self._marks.pop(key, None)
            # A writer that failed before it marked must not leave what it might have changed.
            self._values.pop(key)
            self._flights.forget(key)

    def health(self) -> dict[str, Any]:
        """Always healthy: it has no part that can fail."""
        return {
            "status": "healthy",
            "tier": "memory",
            "entries": len(self._values),
            "bytes": self._values.used,
            "hits": self._hits,
            "misses": self._misses,
        }

    async def close(self) -> None:
        """Cancel running loads and forget everything."""
        for timer in self._timers:
            timer.cancel()
        await self._flights.close()
        await self._turns.close()
        self._values.clear()


class NoCache:
    """Nothing is kept: for replicas without Redis, which cannot tell each other of writes.

    Readers of one key that come together still share a load that begins after they came.
    """

    def __init__(self, reason: str = "off") -> None:
        self._reason = reason
        self._turns: Turns[Any] = Turns()

    def peek(self, kind: Kind[T], key: str) -> T | None:
        """Nothing is known without the database."""
        return None

    async def through(
        self, kind: Kind[T], key: str, load: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        """What `load` finds."""
        return await self._turns.share(key, load)  # type: ignore[no-any-return]

    async def before_commit(self, keys: Iterable[str]) -> None:
        """Nothing to mark."""

    async def after_commit(self, keys: Iterable[str], *, settled: bool = True) -> None:
        """Nothing to lift."""

    def health(self) -> dict[str, Any]:
        """Healthy: this is what was asked for."""
        return {"status": "healthy", "tier": "none", "reason": self._reason}

    async def close(self) -> None:
        """Cancel running loads."""
        await self._turns.close()
