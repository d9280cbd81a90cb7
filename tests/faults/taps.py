"""Taps: proxies on the loopback interface that break what passes through them.

    with Taps() as taps:
        tap = taps.open(5432)            bytes, any protocol
        store = taps.store(8333)         HTTP: knows requests, so a rule can pick among them
        tap.fault = Fault(delay=0.1)     from any thread; `HEALTHY` again heals

    Fault(delay=S)         each piece of data waits
    Fault(bandwidth=N)     bytes of a second and direction
    Fault(reset=N)         RST to both sides after N bytes of a connection
    Fault(hole=True)       nothing passes, nothing closes; what was held goes on after the heal
    Fault(swallow=True)    what clients send arrives, no answer comes back
    Fault(refuse=True)     new connections are reset

All taps share one thread and its event loop.
"""

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

import uvloop
from tests.support.storeproxy import Fault as StoreFault
from tests.support.storeproxy import Hang, Length, Reply, Status, Swallow, Truncate

PIECE = 1 << 16


@dataclass(frozen=True)
class Fault:
    """What a tap does to the data; nothing at all by default."""

    delay: float = 0.0  # seconds
    bandwidth: int = 0  # bytes a second; 0: no limit
    reset: int = -1  # bytes; -1: never
    hole: bool = False
    swallow: bool = False
    refuse: bool = False


HEALTHY = Fault()


class Taps:
    """The thread in which taps live."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: list[Tap] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for tap in self._open:
            self.run(tap.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def open(self, port: int) -> "Tap":
        """A tap on the way to a port."""
        return self._listening(Tap(self, port))

    def store(self, port: int) -> "StoreTap":
        """A tap on the way to an object store."""
        tap = StoreTap(self, port)
        self._listening(tap)
        return tap

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the loop, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _listening(self, tap: "Tap") -> "Tap":
        self.run(tap.listen())
        self._open.append(tap)
        return tap


class Tap:
    """One listener; `upstream` may be changed while it runs, as an address of a service can."""

    def __init__(self, taps: Taps, upstream: int) -> None:
        self.upstream = upstream
        self.fault = HEALTHY
        self.port = 0
        self._taps = taps
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Open the port, in the loop."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=PIECE)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop, in the loop."""
        if self._server is not None:
            self._server.close()
        await self._cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection with a reset."""
        self._taps.run(self._cut())

    def lead(self, upstream: int) -> None:
        """Lead to another port from now on; connections to the old one are reset."""
        self.upstream = upstream
        self.cut()

    @property
    def connections(self) -> int:
        """How many connections of clients are open."""
        return len(self._tasks)

    async def _cut(self) -> None:
        for writer in list(self._writers):
            reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        watch(writer)
        try:
            await self._connected(reader, writer)
        except* (OSError, EOFError, RuntimeError, asyncio.LimitOverrunError, ValueError):
            reset(writer)
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault.refuse:
            raise ConnectionRefusedError
        await self._passable()
        there, back = await asyncio.open_connection("127.0.0.1", self.upstream, limit=PIECE)
        self._writers.add(back)
        try:
            await self._serve(reader, writer, there, back)
        finally:
            self._writers.discard(back)
            back.transport.abort()

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        count = Count()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, back, count, answers=False))
            group.create_task(self._pump(there, writer, count, answers=True))

    async def _pump(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        count: "Count",
        *,
        answers: bool,
    ) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for a closed socket
            while data := await source.read(PIECE):
                await self._pass(data, target, count, answers=answers)
            if target.can_write_eof():
                target.write_eof()
            return
        reset(target)

    async def _pass(
        self, data: bytes, target: asyncio.StreamWriter, count: "Count", *, answers: bool
    ) -> None:
        """Hand a piece on, as far as the fault lets it."""
        await self._passable()
        fault = self.fault
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.bandwidth:
            await asyncio.sleep(len(data) / fault.bandwidth)
        if fault.swallow and answers:
            return
        count.bytes += len(data)
        if 0 <= fault.reset < count.bytes:
            reset(target)
            raise ConnectionResetError
        target.write(data)
        await target.drain()

    async def _passable(self) -> None:
        while self.fault.hole:  # set by other threads  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@dataclass
class Count:
    """Bytes of one connection."""

    bytes: int = 0


@dataclass
class Rule:
    """What happens to requests whose method and path match, so many times, so often of 100."""

    method: re.Pattern[str]
    path: re.Pattern[str]
    fault: StoreFault
    times: int
    percent: int


@dataclass
class _Head:
    first: str
    fields: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""

    @property
    def length(self) -> int | None:
        """Bytes of the body; None: it comes in chunks."""
        if "chunked" in self.fields.get("transfer-encoding", ""):
            return None
        return int(self.fields.get("content-length", "0"))


class StoreTap(Tap):
    """A tap that reads HTTP/1.1 and applies rules to single requests."""

    def __init__(self, taps: Taps, upstream: int) -> None:
        super().__init__(taps, upstream)
        self.rules: list[Rule] = []
        self._rng = random.Random(upstream)

    def rule(
        self, method: str, path: str, fault: StoreFault, *, times: int = 1 << 30, percent: int = 100
    ) -> None:
        """Break requests; regular expressions, searched in path and query."""
        self.rules.append(Rule(re.compile(method), re.compile(path), fault, times, percent))

    def heal(self) -> None:
        """Forget the rules and the fault."""
        self.rules = []
        self.fault = HEALTHY

    def _match(self, first: str) -> StoreFault | None:
        method, path, _ = first.split(" ", 2)
        for rule in self.rules:
            if not (rule.times and rule.method.fullmatch(method) and rule.path.search(path)):
                continue
            if self._rng.randrange(100) < rule.percent:
                rule.times -= 1
                return rule.fault
        return None

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        count = Count()
        while True:
            try:
                request = await _head(reader)
            except asyncio.IncompleteReadError:
                return
            fault = self._match(request.first)
            if isinstance(fault, Status):
                await self._body(reader, None, request.length, count)
                text = b"<Error><Code>SlowDown</Code><Message>injected</Message></Error>"
                line = f"HTTP/1.1 {fault.code} Injected\r\nContent-Type: application/xml\r\n"
                if request.first.startswith("HEAD"):
                    text = b""
                writer.write(f"{line}Content-Length: {len(text)}\r\n\r\n".encode() + text)
                await writer.drain()
                continue
            if isinstance(fault, Hang):
                await asyncio.sleep(fault.seconds)
                raise ConnectionResetError
            await self._pass(request.raw, back, count, answers=False)
            await self._body(reader, back, request.length, count)
            answer = await _head(there)
            await self._answer(fault, request, answer, there, writer, count)

    async def _answer(
        self,
        fault: StoreFault | None,
        request: _Head,
        answer: _Head,
        there: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        count: Count,
    ) -> None:
        status = answer.first.split(" ")[1]
        length = answer.length
        if request.first.startswith("HEAD") or status in ("204", "304"):
            length = 0
        if isinstance(fault, Swallow):
            await self._body(there, None, length, count)
            raise ConnectionResetError
        if isinstance(fault, Reply):
            await self._body(there, None, length, count)
            head = f"{answer.first}\r\nContent-Length: {len(fault.body)}\r\n\r\n"
            writer.write(head.encode() + fault.body)
            await writer.drain()
            return
        assert not isinstance(fault, Length)
        await self._pass(answer.raw, writer, count, answers=True)
        if isinstance(fault, Truncate) and length is not None and length > fault.length:
            await self._body(there, writer, fault.length, count, answers=True)
            raise ConnectionResetError
        await self._body(there, writer, length, count, answers=True)

    async def _body(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter | None,
        length: int | None,
        count: Count,
        *,
        answers: bool = False,
    ) -> None:
        """Hand a body on, or read it away when there is no target."""
        if length is None:
            while True:
                line = await source.readuntil(b"\n")
                size = int(line.split(b";")[0], 16)
                if target is not None:
                    await self._pass(line, target, count, answers=answers)
                await self._body(source, target, size + 2, count, answers=answers)
                if size == 0:
                    return
        left = length
        while left:
            data = await source.read(min(left, PIECE))
            if not data:
                raise EOFError
            left -= len(data)
            if target is not None:
                await self._pass(data, target, count, answers=answers)


async def _head(reader: asyncio.StreamReader) -> _Head:
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")
    head = _Head(first, raw=raw)
    for line in lines:
        name, _, text = line.partition(":")
        head.fields[name.strip().lower()] = text.strip()
    return head


def watch(writer: asyncio.StreamWriter) -> None:
    """Notice a client that is gone although its goodbye was lost, as servers do."""
    found = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, ValueError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, as a dead host's successor or a firewall does."""
    found = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
