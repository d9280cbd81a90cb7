"""A server that is told of events, over a real socket: it accepts, refuses, is late, or worse."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Told:
    """One request."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """What it was told, and how it answers: a status, or the name of something worse."""

    told: list[Told] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)  # used up from the front; then 200
    url: str = ""
    sent: int = 0  # bytes of endless answers that were taken

    def __post_init__(self) -> None:
        self._news = asyncio.Condition()
        self._answering: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self, path: str = "/hook") -> AsyncIterator["Receiver"]:
        """Serve; at the end nothing of it goes on, whatever its clients still wait for."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
        try:
            yield self
        finally:
            server.close()
            answering = list(self._answering)
            for task in answering:
                task.cancel()
            for ended in await asyncio.gather(*answering, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """In a task of ours: one of the server's own would outlive the server."""
        self._answering.add(asyncio.create_task(self._answer(reader, writer)))

    async def until(self, count: int, seconds: float = 60) -> list[Told]:
        """Wait for so many requests."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: len(self.told) >= count)
        return self.told

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            names = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in names}
            content = await reader.readexactly(int(headers.get("content-length", 0)))
            async with self._news:
                self.told.append(Told(head[0].split()[1], headers, content))
                self._news.notify_all()
            how = self.answers.pop(0) if self.answers else 200
            if how == "never":
                await reader.read()  # until the client has had enough
            else:
                await self._say(writer, how)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, how: int | str) -> None:
        if how == "late":
            await asyncio.sleep(2)
            how = 200
        elif how == "reset":
            writer.transport.abort()
            return
        elif how == "redirect":
            writer.write(
                b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\n"
                b"content-length: 0\r\n\r\n"
            )
            await writer.drain()
            return
        elif how == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (1 << 30))
            piece = b"x" * (1 << 16)
            for _ in range((1 << 30) // len(piece)):
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
            return
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 13\r\n\r\ncanary-answer" % int(how))
        await writer.drain()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """One that accepts."""
    async with Receiver().listening() as made:
        yield made
