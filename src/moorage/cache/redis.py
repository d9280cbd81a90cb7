"""The cache that replicas share in Redis; what is kept there is drawn in `scripts.py`.

    through(key)
      may we use Redis? (`guard.py`) ── no ──────────────────────────────► database
      GET ─┬─ value ──────────────────────────────────────────────────────► answer
           ├─ nothing: SET a ticket if there is still nothing, then as below
           ├─ our ticket: one load for all of this process who see it ──► fill if it still stands
           ├─ another's ticket, a mark, an error ─────────────────────────► database
           └─ no reply in time: the wire breaks ──────────────────────────► database

Readers who go to the database come in turns (`flights.py`), so that one key costs one query at a
time, also while Redis is away. Readers join a load under our ticket only after Redis has shown them
that ticket: nobody has marked the key since the load began.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from moorage.cache import scripts
from moorage.cache.base import Kind
from moorage.cache.fence import Fence
from moorage.cache.flights import Flights, Turns
from moorage.cache.guard import Guard, Pace
from moorage.cache.lru import LRU
from moorage.cache.wire import ErrorReply, Wire, WireBroken, encode
from moorage.clock import Clock
from moorage.config.redis import CacheSettings, RedisSettings
from moorage.errors import MoorageError

T = TypeVar("T")
log = logging.getLogger(__name__)

TICKET_MS = 10_000  # a load that takes longer is not kept
UNSETTLED = 20.0  # seconds that a commit of unknown outcome may still take; less than a mark lives
_VALUE = ord("V")


class RedisCache:
    """Values in Redis, decoded ones remembered here; `start` before use."""

    def __init__(
        self,
        settings: CacheSettings,
        redis: RedisSettings,
        fence: Fence,
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        self._guard = Guard(redis, fence, clock, pace or Pace())
        self._link = self._guard.link
        self._now = clock.monotonic
        self._expire_ms = int(settings.expire_hours * 3_600_000)
        # What raw bytes decoded to: a hot value is compared, not decoded.
        self._memo: LRU[tuple[bytes, Any]] = LRU(
            entries=settings.local_entries, size=settings.local_bytes
        )
        self._own = b"T" + self._guard.me.encode() + b"."
        self._tickets = itertools.count(1)
        self._flights: Flights[Any] = Flights()
        self._turns: Turns[Any] = Turns()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hits = 0
        self._misses = 0

    def start(self) -> None:
        """Begin to connect; until then every answer comes from the database."""
        self._guard.start()

    @property
    def wire(self) -> Wire | None:
        """The connection, while there is one."""
        return self._link.wire

    # --- readers

    def peek(self, kind: Kind[T], key: str) -> T | None:
        """Nothing: another replica may have written."""
        return None

    async def through(
        self, kind: Kind[T], key: str, load: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        """The value in Redis, or what `load` finds."""
        wire = self._link.wire
        if wire is None or self._now() >= self._guard.usable_until:
            self._misses += 1
            return await self._turns.share(key, load)  # type: ignore[no-any-return]
        name = self._guard.prefix + key.encode()
        try:
            raw = await wire.send(b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(name), name))
            if raw.__class__ is not bytes or raw[0] != _VALUE:
                self._misses += 1
                return await self._missed(kind, key, name, raw, load)
        except WireBroken:
            return await self._turns.share(key, load)  # type: ignore[no-any-return]
        memo = self._memo.get(key)
        if memo is not None and memo[0] == raw:
            self._hits += 1
            value: T = memo[1]
            return value
        return await self._decoded(kind, key, name, raw, load)

    async def _decoded(
        self,
        kind: Kind[T],
        key: str,
        name: bytes,
        raw: bytes,
        load: Callable[[], Awaitable[T | None]],
    ) -> T | None:
        try:
            value = kind.loads(raw[1:])
        except Exception:  # written by another version: ours is as good
            log.warning("redis: cannot read what is kept under %s", key)
            self._post(encode("EVALSHA", scripts.FORGET.sha, 1, name, raw))
            return await self._turns.share(key, load)  # type: ignore[no-any-return]
        self._hits += 1
        self._memo.put(key, (raw, value), 2 * len(raw))
        return value

    async def _missed(
        self,
        kind: Kind[T],
        key: str,
        name: bytes,
        raw: object,
        load: Callable[[], Awaitable[T | None]],
    ) -> T | None:
        """Load under a ticket if we can have one. Raises WireBroken only before the load."""
        wire = self._link.wire
        if raw is None and wire is not None:
            ticket = self._own + str(next(self._tickets)).encode()
            raw = await wire.send(encode("SET", name, ticket, "NX", "PX", TICKET_MS))
            if raw == b"OK":
                raw = ticket
            elif raw is None:  # somebody was quicker
                raw = await wire.send(encode("GET", name))
                if isinstance(raw, bytes) and raw[0] == _VALUE:
                    return await self._decoded(kind, key, name, raw, load)
        if isinstance(raw, bytes) and raw.startswith(self._own):
            flight = self._flights.find(raw.decode())
            if flight is None:
                work = self._fly(kind, name, raw, load)
                flight = self._flights.begin(raw.decode(), work)
            return await asyncio.shield(flight)
        if isinstance(raw, ErrorReply):
            self._link.refused(raw)
        return await self._turns.share(key, load)  # type: ignore[no-any-return]

    async def _fly(
        self, kind: Kind[T], name: bytes, ticket: bytes, load: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        value = await load()
        if value is not None:
            data = b"V" + kind.dumps(value)
            opening = scripts.opening(name)
            self._post(
                encode("EVALSHA", scripts.FILL.sha, 2, name, opening, ticket, data, self._expire_ms)
            )
        return value

    def _post(self, command: bytes) -> None:
        """Send a command whose loss does not matter."""
        if self._link.wire is not None:
            self._link.wire.send(command).add_done_callback(self._posted)

    def _posted(self, reply: asyncio.Future[Any]) -> None:
        if reply.cancelled() or reply.exception() is not None:
            return
        if isinstance(reply.result(), ErrorReply):
            self._link.refused(reply.result())

    # --- writers

    async def before_commit(self, keys: Iterable[str]) -> None:
        """Mark the keys, or stop the use of Redis everywhere."""
        guard = self._guard
        marked = await guard.tell(scripts.MARK, list(keys), guard.me, int(guard.pace.mark * 1000))
        await (guard.noticed() if marked else guard.leave())

    async def after_commit(self, keys: Iterable[str], *, settled: bool = True) -> None:
        """Delete the keys, or stop the use of Redis everywhere; done also if the caller goes."""
        if settled:
            await asyncio.shield(self._spawn(self._lift(list(keys))))
        else:
            self._spawn(self._repay(list(keys), UNSETTLED))

    async def _lift(self, keys: list[str]) -> None:
        guard = self._guard
        if await guard.tell(scripts.LIFT, keys, guard.me):
            return
        try:
            await guard.leave()
        except MoorageError:
            self._spawn(self._repay(keys, 1.0))
            raise

    async def _repay(self, keys: list[str], delay: float) -> None:
        """Lift later, as often as it takes."""
        while True:
            await asyncio.sleep(delay)
            try:
                await self._lift(keys)
            except MoorageError:
                return  # it has left another one to do it
            return

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                task.exception()

        task.add_done_callback(ended)
        return task

    # --- the rest

    def health(self) -> dict[str, Any]:
        """Degraded, with the reason, while answers come from the database."""
        reason = self._guard.reason()
        told = {"reason": reason} if reason else {}
        return {
            "status": "degraded" if reason else "healthy",
            "tier": "redis",
            **told,
            "hits": self._hits,
            "misses": self._misses,
            "connections": self._link.connections,
        }

    async def close(self) -> None:
        """Cancel what runs and disconnect; marks that are left vanish by themselves."""
        await self._flights.close()
        await self._turns.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._guard.close()
