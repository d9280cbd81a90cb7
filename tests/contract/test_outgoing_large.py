"""Large answers of other servers, which are read from their connection. Real sockets."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import httpx2
import pytest
from tests.support.certificates import Authority

from moorage.errors import Unreachable
from moorage.outgoing import Guard, transport

pytestmark = pytest.mark.anyio

DATA = os.urandom(3 << 20)
GUARD = Guard((ip_network("127.0.0.0/8"),))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large here is soon sent."""
    monkeypatch.setattr(transport, "LARGE", 1 << 20)


@dataclass
class Server:
    """Answers with DATA, and what else it is told to do."""

    end: int = len(DATA)  # bytes of it that are sent
    more: bytes = b""  # behind it
    stays: bool = True  # does not end the connection
    together: bool = False  # headers and the beginning of the body in one piece
    chunked: bool = False
    made: int = 0  # connections
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # by the client

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await self._send(writer)
                if not self.stays:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            self.ended.set()
        finally:
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        says = b"transfer-encoding: chunked" if self.chunked else b"content-length: %d" % len(DATA)
        head = b"HTTP/1.1 200 OK\r\n" + says + b"\r\n\r\n"
        body = DATA[: self.end] + self.more
        if self.chunked:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        begun = 70_000 if self.together else 0
        writer.write(head + body[:begun])
        await writer.drain()
        writer.write(body[begun:])
        await writer.drain()

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Its address."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=tls)
        async with server:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def read(client: httpx2.AsyncClient, url: str, arrived: list[bytes] | None = None) -> bytes:
    """The body of an answer; its pieces go into `arrived` one by one."""
    parts = [] if arrived is None else arrived
    async with client.stream("GET", url) as answer:
        async for part in answer.aiter_raw():
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("secured", [False, True])
async def test_every_byte_arrives_once(tmp_path: Path, together: bool, secured: bool) -> None:
    """Also what came with the headers; the next answer has another connection."""
    authority = Authority(tmp_path)
    tls = authority.server_context("127.0.0.1") if secured else None
    server = Server(together=together)
    trusted = authority.path.read_text() if secured else ""
    async with server.serving(tls) as url, GUARD.streaming(ca=trusted) as client:
        for turn in (1, 2):
            assert await read(client, url) == DATA
            await asyncio.wait_for(server.ended.wait(), 60)
            assert server.made == turn
            server.ended.clear()


async def test_no_more_is_read_than_was_announced() -> None:
    """What stands behind it belongs to nobody."""
    server = Server(more=b"HTTP/1.1 200 OK\r\n\r\n" * 1000)
    async with server.serving() as url, GUARD.streaming() as client:
        assert await read(client, url) == DATA


@pytest.mark.parametrize("end", [0, 1000, len(DATA) - 1])
async def test_one_that_breaks_off_says_so(end: int) -> None:
    """Whoever asked goes on from what has arrived."""
    server = Server(end=end, stays=False)
    async with server.serving() as url, GUARD.streaming() as client:
        arrived: list[bytes] = []
        with pytest.raises(Unreachable, match="broke off"):
            await read(client, url, arrived)
        assert b"".join(arrived) == DATA[:end]


async def test_a_pause_ends_it() -> None:
    """No answer holds its reader for ever."""
    server = Server(end=2 << 20)
    async with server.serving() as url, GUARD.streaming(idle=0.2) as client:
        with pytest.raises(Unreachable, match="in time"):
            await read(client, url)
        await asyncio.wait_for(server.ended.wait(), 60)


async def test_who_leaves_early_ends_the_connection() -> None:
    """Before the first byte, or in the middle."""
    for pieces in (0, 1):
        server = Server(end=2 << 20)
        async with server.serving() as url, GUARD.streaming() as client:
            async with client.stream("GET", url) as answer:
                if pieces:
                    await anext(answer.aiter_raw())
            await asyncio.wait_for(server.ended.wait(), 60)


async def test_one_without_a_length_is_left_to_the_library() -> None:
    """It comes in chunks, which are not the body."""
    server = Server(chunked=True)
    async with server.serving() as url, GUARD.streaming() as client:
        for _ in range(2):
            assert await read(client, url) == DATA
    assert server.made == 1
