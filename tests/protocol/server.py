"""A real server on a free port and a client that writes bytes by hand."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Serve `app` with uvicorn; yields the port, where connections queue until it is up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, http="httptools", lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        running = asyncio.ensure_future(server._serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            await running


@dataclass
class Reply:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Write bytes as they are."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def reply(self, head: bool = False) -> Reply:
        """Read one answer; raises IncompleteReadError where the connection ends within it."""
        async with asyncio.timeout(60):
            block = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = block.strip().split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
            status = int(first.split()[1])
            length = int(headers.get("content-length", 0))
            if head or status < 200 or status in (204, 304):
                length = 0
            return Reply(status, headers, await self.reader.readexactly(length))

    async def ended(self) -> bool:
        """Whether the server closes the connection, soon."""
        with suppress(ConnectionResetError):
            async with asyncio.timeout(60):
                while await self.reader.read(1 << 16):
                    pass
        return True

    async def close(self) -> None:
        """Close it from our side."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    """A connection to the server."""
    wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield wire
    finally:
        await wire.close()


def request(method: str, target: str, authorization: str | None, *headers: str) -> bytes:
    """The head of a request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: registry.test", *headers]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
