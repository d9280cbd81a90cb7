"""The end of a server, as those who keep a connection to it see it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from tests.protocol.server import connected, request

from moorage.ops import Operations
from moorage.roles.connections import BoundedConnection
from moorage.roles.ending import Server
from moorage.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio


class Patient(Server):
    """Lingers longer than any test."""

    LINGER = 60.0


class Face:
    """Answers; `/held` only when it may."""

    def __init__(self) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/held":
            self.asked.set()
            await self.go_on.wait()
        headers = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"done"})


@asynccontextmanager
async def serving(face: Face) -> AsyncIterator[tuple[Server, asyncio.Future[None], int]]:
    """A server, its run and its port."""
    config = uvicorn.Config(face, host="127.0.0.1", port=0, http=BoundedConnection, ws="none",
                            lifespan="off", log_config=None)  # fmt: skip
    server = Patient(config, Operations(Metrics("0")))
    running = asyncio.ensure_future(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)
    try:
        yield server, running, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await running


async def parting(server: Server) -> None:
    """Tell it to end, and wait until its answers close their connections."""
    server.should_exit = True
    async with asyncio.timeout(60):
        while (b"connection", b"close") not in server.server_state.default_headers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_kept_connection_brings_one_more_request() -> None:
    """It is answered and told to close; so are new ones; without any the server ends at once."""
    ask = request("GET", "/", None)
    async with serving(Face()) as (server, running, port), AsyncExitStack() as stack:
        kept = [await stack.enter_async_context(connected(port)) for _ in range(2)]
        for wire in kept:
            await wire.send(ask)
            assert "connection" not in (await wire.reply()).headers
        await parting(server)
        kept.append(await stack.enter_async_context(connected(port)))
        for wire in kept:
            assert not running.done()
            await wire.send(ask)
            answer = await wire.reply()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await wire.ended()
        async with asyncio.timeout(60):
            await asyncio.shield(running)


async def test_a_request_that_runs_is_the_last_of_its_connection() -> None:
    """It came before the signal, and its answer says that no other may follow."""
    face = Face()
    async with serving(face) as (server, _, port), connected(port) as wire:
        await wire.send(request("GET", "/held", None))
        await face.asked.wait()
        await parting(server)
        face.go_on.set()
        assert (await wire.reply()).headers["connection"] == "close"
        assert await wire.ended()
