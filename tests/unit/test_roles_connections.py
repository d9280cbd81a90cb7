"""What one connection may cost: heads that do not come, do not end, or are no heads at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from tests.protocol.server import Wire, connected, request

from moorage.roles.connections import BoundedConnection

pytestmark = pytest.mark.anyio


class Impatient(BoundedConnection):
    """The bounds of a test."""

    HEAD_SECONDS = 1.0
    HEAD_BYTES = 16 << 10
    HEADERS = 50
    STALL_SECONDS = 1.5
    made: ClassVar[asyncio.Event]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.made.set()
        super().connection_made(transport)


async def face(scope: Scope, receive: Receive, send: Send) -> None:
    """`/read` reads its body, `/refuse` does not, `/slow` takes its time, `/much` never ends."""
    path = scope["path"]
    if path == "/read":
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message["more_body"]
    if path == "/slow":
        await asyncio.sleep(1)
    headers = [] if path == "/much" else [(b"content-length", b"4")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path == "/much":
        while True:
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
            if await _gone(receive):
                return
    await send({"type": "http.response.body", "body": b"done"})


async def _gone(receive: Receive) -> bool:
    try:
        async with asyncio.timeout(0.001):
            return str((await receive())["type"]) == "http.disconnect"
    except TimeoutError:
        return False


class Serving:
    """A server whose connections a test can count."""

    def __init__(self, port: int, server: uvicorn.Server) -> None:
        self.port = port
        self._server = server

    def connections(self) -> int:
        """How many are open."""
        return len(self._server.server_state.connections)

    async def alone(self, seconds: float = 60) -> None:
        """Wait until the server has closed every connection."""
        async with asyncio.timeout(seconds):
            while self.connections():  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(keep_alive: int = 30) -> AsyncIterator[Serving]:
    """Serve `face` on a free port."""
    config = uvicorn.Config(
        face,
        host="127.0.0.1",
        port=0,
        http=Impatient,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=keep_alive,
    )
    server = uvicorn.Server(config)
    Impatient.made = asyncio.Event()
    running = asyncio.ensure_future(server._serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield Serving(server.servers[0].sockets[0].getsockname()[1], server)
    finally:
        server.should_exit = server.force_exit = True
        await running


@pytest.fixture
async def server() -> AsyncIterator[Serving]:
    """The running server."""
    async with serving() as found:
        yield found


async def read(wire: Wire) -> bytes:
    """Everything until the server closes."""
    found = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(60):
            while piece := await wire.reader.read(1 << 16):
                found += piece
    return found


async def drip(wire: Wire, data: bytes) -> None:
    """Send a byte now and then."""
    with suppress(ConnectionError):
        for i in range(len(data)):
            await wire.send(data[i : i + 1])
            await asyncio.sleep(0.1)


async def test_a_connection_that_says_nothing(server: Serving) -> None:
    """It is closed without a word: there is no request to answer."""
    async with connected(server.port) as wire:
        assert await read(wire) == b""


async def test_a_head_that_drips(server: Serving) -> None:
    """Each byte brings no more time: the whole head has to come."""
    async with connected(server.port) as wire:
        dripping = asyncio.ensure_future(drip(wire, request("GET", "/", None)))
        assert (await read(wire)).startswith(b"HTTP/1.1 408 ")
        dripping.cancel()


async def test_a_second_head_that_drips(server: Serving) -> None:
    """A first request, answered, buys nothing either."""
    async with connected(server.port) as wire:
        await wire.send(request("GET", "/", None))
        assert (await read_reply(wire)).startswith(b"HTTP/1.1 200")
        dripping = asyncio.ensure_future(drip(wire, request("GET", "/", None)))
        assert b"HTTP/1.1 408 " in await read(wire)
        dripping.cancel()


async def read_reply(wire: Wire) -> bytes:
    """One answer of `face`."""
    async with asyncio.timeout(60):
        return await wire.reader.readuntil(b"done")


@pytest.mark.parametrize("lines", [b"\r\n", b"\n"])
async def test_empty_lines_between_requests(server: Serving, lines: bytes) -> None:
    """They end the keep-alive's timer and begin no request: that is not for ever."""
    async with connected(server.port) as wire:
        await wire.send(request("GET", "/", None))
        await read_reply(wire)
        await wire.send(lines)
        await read(wire)
    await server.alone()


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /" + b"a" * 200_000,
        b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 30_000,
    ],
)
async def test_a_head_without_end(server: Serving, endless: bytes) -> None:
    """It is refused long before it fills the memory."""
    async with connected(server.port) as wire:
        with suppress(ConnectionError):
            for i in range(0, len(endless), 1000):
                await wire.send(endless[i : i + 1000])
                await asyncio.sleep(0)
        answer = await read(wire)
        assert answer == b"" or b" 431 " in answer or b" 400 " in answer
    await server.alone()


async def test_too_many_headers(server: Serving) -> None:
    """In one packet, too."""
    async with connected(server.port) as wire:
        await wire.send(request("GET", "/slow", None, *(f"x-{i}: y" for i in range(100))))
        await read(wire)
    await server.alone()


async def test_trailers_without_end(server: Serving) -> None:
    """What follows the last chunk is no way around the bounds."""
    async with connected(server.port) as wire:
        await wire.send(request("POST", "/read", None, "Transfer-Encoding: chunked"))
        await wire.send(b"5\r\nhello\r\n0\r\nx: ")
        with suppress(ConnectionError):
            for _ in range(200):
                await wire.send(b"a" * 1000)
                await asyncio.sleep(0.001)
        await read(wire)
    await server.alone()


async def test_small_chunks_are_fine(server: Serving) -> None:
    """A long body in many pieces, each read by itself, is what chunks are for."""
    async with connected(server.port) as wire:
        await wire.send(request("POST", "/read", None, "Transfer-Encoding: chunked"))
        for _ in range(3000):
            await wire.send(b"000000000005\r\n")
            await wire.send(b"hello\r\n")
        await wire.send(b"0\r\n\r\n")
        assert (await read_reply(wire)).startswith(b"HTTP/1.1 200")


async def test_a_slow_answer_is_waited_for(server: Serving) -> None:
    """Also when the beginning of the next request is here already."""
    async with connected(server.port) as wire:
        await wire.send(request("GET", "/slow", None) + b"GET / HT")
        assert (await read_reply(wire)).startswith(b"HTTP/1.1 200")
        await wire.send(b"TP/1.1\r\nhost: x\r\n\r\n")
        assert b"HTTP/1.1 200" in await read_reply(wire)


async def test_a_body_that_nobody_wants(server: Serving) -> None:
    """After the answer, what is still sent is dropped, and not for ever."""
    async with connected(server.port) as wire:
        await wire.send(request("POST", "/refuse", None, f"Content-Length: {1 << 40}"))
        await read_reply(wire)
        dripping = asyncio.ensure_future(drip(wire, bytes(200)))
        await read(wire)
        dripping.cancel()
    await server.alone()


async def test_an_answer_that_nobody_reads(server: Serving) -> None:
    """The connection is closed, and with it the memory and the file of the answer."""
    async with connected(server.port) as wire:
        await wire.send(request("GET", "/much", None))
        await asyncio.wait_for(Impatient.made.wait(), 60)
        await server.alone()


async def test_requests_after_one_another(server: Serving) -> None:
    """Nothing of this stands in the way of a connection that is used well."""
    async with connected(server.port) as wire:
        for i in range(30):
            await wire.send(request("POST", "/read", None, "Content-Length: 5") + b"hello")
            assert (await read_reply(wire)).startswith(b"HTTP/1.1 200")
            if i % 10 == 0:
                await asyncio.sleep(1.3)  # more than a head may take
