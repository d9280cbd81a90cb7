"""Which connections of a pool are worth handing out, without asking the server each time.

A connection is replaced when it is taken from the pool if its socket is closed, or if it is older
than the last failure of a neighbour: a restart or a failover kills all of them at once, and the
driver tells the pool of none.
"""

import time
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncEngine

_OPENED = "moorage_opened"  # monotonic seconds, in the pool's record of a connection


class Freshness:
    """Of the connections of one PostgreSQL engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._doubted = float("-inf")
        event.listen(engine.sync_engine, "connect", self._connected)
        event.listen(engine.sync_engine, "checkout", self._taken)
        event.listen(engine.sync_engine, "close", self._closing)

    def doubt(self) -> None:
        """Hand out none of the connections that are open now."""
        self._doubted = time.monotonic()

    def _connected(self, _: Any, record: Any) -> None:
        record.info[_OPENED] = time.monotonic()

    def _taken(self, connection: Any, record: Any, _: object) -> None:
        if record.info[_OPENED] <= self._doubted or connection.driver_connection.is_closed():
            raise exc.DisconnectionError  # the pool opens another one in its place

    def _closing(self, connection: Any, record: Any) -> None:
        """Cut a doubtful one off: the pool would wait for a server that is gone to say goodbye."""
        if record.info.get(_OPENED, 0) <= self._doubted:
            connection.driver_connection.terminate()
