"""How a server stops to listen without failing a request that is on its way.

SIGTERM ─► /readyz says 503 ─► each answer closes its connection, new ones are still let in
        ─► no connection is open, or LINGER is over ─► uvicorn's own end
"""

import asyncio
import logging
import signal
import socket

import uvicorn

from moorage.ops import Operations

log = logging.getLogger(__name__)

_CLEANING = 3.0


class Server(uvicorn.Server):
    """Says that it is leaving before it stops to listen; a second signal ends it at once."""

    LINGER = 1.0
    """Seconds for which connections that are kept may bring one more request."""

    def __init__(self, config: uvicorn.Config, operations: Operations) -> None:
        super().__init__(config)
        self._operations = operations

    def handle_exit(self, sig: int, frame: object) -> None:
        if self.should_exit:
            self.force_exit = True
        self._operations.leaving = True
        self.should_exit = True
        log.info("%s: ending", signal.Signals(sig).name)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let proxies give up their connections, then end as uvicorn does."""
        await self._part()
        await super().shutdown(sockets)

    async def _part(self) -> None:
        """Answer for a while more, and let each answer be the last one of its connection.

        A proxy that sends a body on a kept connection while that is being closed has to answer
        502: it cannot know whether the request was acted on. So nearly all kept connections are
        ended by an answer that says so, and a new one that comes too late is refused, which every
        proxy repeats elsewhere.
        """
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        for connection in list(state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_started:
                cycle.keep_alive = False
        loop = asyncio.get_running_loop()
        until = loop.time() + self.LINGER
        while state.connections and not self.force_exit and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def settle(self) -> None:
        """Let requests that were cut off clean up before what they use is closed."""
        tasks = self.server_state.tasks
        if tasks and not self.force_exit:
            await asyncio.wait(list(tasks), timeout=_CLEANING)
