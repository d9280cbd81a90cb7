"""Connections that a test looks at: servers on the loopback, and lines in front of others."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(
    handler: Handler, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[int]:
    """Serve on a port, any unless given; at the end nothing of it goes on."""
    running: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await handler(reader, writer)
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.create_task(handle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@dataclass
class Tap:
    """A line to a server here, which keeps what is sent there."""

    to: int  # port
    sent: list[bytes] = field(default_factory=list)  # of each connection

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.sent)
        self.sent.append(b"")
        back, forth = await asyncio.open_connection("127.0.0.1", self.to)

        async def up() -> None:
            while data := await reader.read(1 << 16):
                self.sent[number] += data
                forth.write(data)
            forth.close()

        async def down() -> None:
            while data := await back.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.close()

        ways = [asyncio.create_task(each()) for each in (up, down)]
        try:
            await asyncio.gather(*ways)
        finally:
            for each in ways:
                each.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            forth.transport.abort()

    def open(
        self, tls: ssl.SSLContext | None = None, port: int = 0
    ) -> AbstractAsyncContextManager[int]:
        """Its port; with TLS, which ends here."""
        return listening(self._pass, tls, port)
