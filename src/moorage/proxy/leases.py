"""Which replica downloads a blob, so that the others need not.

    take ─► ours ─► download, renewing ─► free
         └► another replica's ─► wait until the blob is here, the lease free, or it takes too long

A lease spares traffic and decides nothing: whoever has none may download too, and what is stored
twice is stored once. So Redis may be away, flushed or wrong at any time.
"""

import asyncio
import contextlib
import secrets
from typing import Protocol

from moorage.cache.link import Line
from moorage.cache.wire import ErrorReply
from moorage.config.redis import RedisSettings

LEASE = 10.0
"""Seconds after which the lease of a replica that died is free."""
RENEWED = 3.0
"""Seconds between two signs of life."""


class Leases(Protocol):
    """Of blobs, by repository and digest."""

    async def take(self, key: str) -> bool:
        """Whether the blob is ours to download; true as well when nobody can tell."""

    async def keep(self, key: str) -> None:
        """Renew it until cancelled."""

    async def free(self, key: str) -> None:
        """Let another one have it; never raises."""

    async def close(self) -> None:
        """Let go of connections."""


class Alone:
    """For one replica, or several without Redis: each downloads for itself."""

    async def take(self, key: str) -> bool:
        return True

    async def keep(self, key: str) -> None:
        return

    async def free(self, key: str) -> None:
        return

    async def close(self) -> None:
        return


class RedisLeases:
    """For replicas that share a Redis."""

    def __init__(self, settings: RedisSettings) -> None:
        self._line = Line(settings, "proxy leases")
        self._me = secrets.token_hex(8)

    @property
    def connected(self) -> bool:
        """Whether Redis can be asked."""
        return self._line.connected

    async def take(self, key: str) -> bool:
        try:
            taken = await self._line.call("SET", _name(key), self._me, "NX", "PX", _MILLISECONDS)
        except (OSError, ErrorReply):
            return True
        return taken is not None

    async def keep(self, key: str) -> None:
        while True:
            await asyncio.sleep(RENEWED)
            with contextlib.suppress(OSError, ErrorReply):
                await self._line.call("SET", _name(key), self._me, "XX", "PX", _MILLISECONDS)

    async def free(self, key: str) -> None:
        with contextlib.suppress(OSError, ErrorReply):
            # Two steps: a lease that changed hands in between costs a download, and no more.
            if await self._line.call("GET", _name(key)) == self._me.encode():
                await self._line.call("DEL", _name(key))

    async def close(self) -> None:
        await self._line.close()


_MILLISECONDS = str(int(LEASE * 1000))


def _name(key: str) -> str:
    return f"{{moorage:proxy}}:{key}"  # in a cluster all of them are on one node
