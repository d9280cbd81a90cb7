"""Finds the addresses of names, on threads of its own.

The system's look-up cannot be stopped: while a name server is silent, it keeps its thread for up to
a minute, long after everybody who asked has left. On the event loop's few shared threads some such
names would hold up all others, so here a name in flight has one thread, however many ask for it.
"""

import socket
from asyncio import wrap_future
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any

from moorage.errors import Unreachable

Found = list[tuple[Any, Any, int, str, Any]]
"""As `socket.getaddrinfo` returns it."""
_Asked = tuple[str, int, int]
"""Host, port, type of socket."""


class Lookups:
    """Look-ups in flight, at most `limit` at once."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._running: dict[_Asked, Future[Found]] = {}
        self._lock = Lock()

    async def addresses(self, host: str, port: int, kind: int) -> Found:
        """Raises what `socket.getaddrinfo` does; Unreachable when too many names are asked for.

        Whoever stops waiting leaves the look-up to the others, and to its end.
        """
        return await wrap_future(self._joined((host, port, kind)))

    def _joined(self, asked: _Asked) -> Future[Found]:
        with self._lock:
            if asked in self._running:
                return self._running[asked]
            if len(self._running) >= self._limit:
                raise Unreachable(
                    f"{asked[0]} cannot be looked up: {self._limit} other names wait for an answer "
                    "of the name server"
                )
            future: Future[Found] = Future()
            future.set_running_or_notify_cancel()
            Thread(target=self._run, args=(asked, future), name="lookup", daemon=True).start()
            self._running[asked] = future
        return future

    def _run(self, asked: _Asked, future: Future[Found]) -> None:
        host, port, kind = asked
        try:
            found = socket.getaddrinfo(host, port, type=kind)
        except Exception as error:  # whoever asked judges it
            self._end(asked)
            future.set_exception(error)
        else:
            self._end(asked)
            future.set_result(found)

    def _end(self, asked: _Asked) -> None:
        with self._lock:
            del self._running[asked]
