"""A server that is told of events, over a real socket: it accepts, refuses, is late, or worse."""

import asyncio
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

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        task = asyncio.create_task(self.answer(reader, writer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def close(self) -> None:
        """End every answer that is still under way: the loop goes on with other tests."""
        answering = list(self._answering)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    async def until(self, count: int, seconds: float = 20) -> list[Told]:
        """Wait for so many requests."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: len(self.told) >= count)
        return self.told

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            names = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in names}
            content = await reader.readexactly(int(headers.get("content-length", 0)))
            async with self._news:
                self.told.append(Told(head[0].split()[1], headers, content))
                self._news.notify_all()
            await self._say(writer, self.answers.pop(0) if self.answers else 200)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, how: int | str) -> None:
        if how == "never":
            await asyncio.Event().wait()
        elif how == "late":
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
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 5\r\n\r\nhello" % int(how))
        await writer.drain()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """One that accepts."""
    made = Receiver()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    try:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield made
    finally:
        server.close()
        await made.close()
