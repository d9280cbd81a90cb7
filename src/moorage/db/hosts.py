"""Several hosts of one database: a primary and its standbys, which may change places.

    db-1 ── refused, silent or a standby ──► db-2 ── the primary ──► connected

Each connection looks for the primary anew, and first where the last one found it. While a host
says nothing, the next one is asked as well.

A machine that is gone says no goodbye: its connections would look open, and each of them would
keep a request until the statement's time is over. So the kernel asks, and ends them.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

Host = tuple[str, int]
"""Name and port."""

SILENT_SECONDS = 6
"""How long a machine may acknowledge nothing, or take nothing of what is left to send.

A server that is only busy acknowledges what fits into its buffers; no row is waited for so long.
"""

HEAD_START = 0.5
"""Seconds until the next host is asked too."""

_HOST = re.compile(r"(\[[^\]]+\]|[^:\[\]]+)(?::(\d{1,5}))?")


def parse(text: str, port: int) -> list[Host]:
    """Hosts separated by commas, each with a port of its own or `port`; raises ValueError."""
    found = []
    for part in map(str.strip, text.split(",")):
        match = _HOST.fullmatch(part)
        if match is None and part.count(":") < 2:
            raise ValueError(f"{part} is no host of a database")
        name, own = (match[1], match[2]) if match else (part, None)  # else a bare IPv6 address
        found.append((name.strip("[]"), int(own or port)))
    return found


async def connect(*, session: str = "", **options: Any) -> Any:
    """A connection of the driver that ends when the server's machine falls silent.

    `session` is SQL to begin with.
    """
    found = await asyncpg.connect(**options)
    own = found._transport.get_extra_info("socket")  # the driver has no other way to it
    with contextlib.suppress(AttributeError, OSError):  # not Linux; or a socket of this machine
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, SILENT_SECONDS)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)
    if session:
        await _begun(found, session, options["timeout"])
    return found


async def _begun(connection: Any, session: str, seconds: float) -> None:
    try:
        await connection.execute(session, timeout=seconds)
    except BaseException:
        connection.terminate()
        raise


class Hosts:
    """Finds the one that takes writes."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = list(hosts)

    async def connect(self, **options: Any) -> Any:
        """A connection of the driver; raises what the hosts said, OSError if none takes writes."""
        share = options["timeout"] / len(self._hosts)  # of the time, for those that say nothing
        left, asked, why = list(self._hosts), dict[asyncio.Task[Any], Host](), list[Exception]()
        try:
            while left or asked:
                if left:
                    host = left.pop(0)
                    options |= {"host": host[0], "port": host[1]}
                    primary = connect(**options, target_session_attrs="primary")
                    asked[asyncio.create_task(primary)] = host
                done, _ = await asyncio.wait(
                    asked,
                    timeout=HEAD_START if left else share if why else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done and not left:
                    break  # a standby that refused may take writes by now: begin again
                for task in done:
                    try:
                        found = task.result()
                    except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError) as error:
                        why.append(error)
                        del asked[task]
                    else:
                        self._prefer(asked.pop(task))
                        return found
        finally:
            await _let_go(asked)
        # A server that speaks, and refuses us, says more than one that is away.
        spoken = [error for error in why if isinstance(error, asyncpg.PostgresError)]
        names = ", ".join(f"{name}:{port}" for name, port in self._hosts)
        raise (spoken or [ConnectionError(f"none of {names} takes writes")])[0] from why[-1]

    def _prefer(self, host: Host) -> None:
        if self._hosts[0] != host:
            self._hosts.remove(host)
            self._hosts.insert(0, host)


async def _let_go(asked: Iterable["asyncio.Task[Any]"]) -> None:
    """Nobody needs these any more; one may have connected all the same."""
    for task in asked:
        task.cancel()
    for found in await asyncio.gather(*asked, return_exceptions=True):
        if not isinstance(found, BaseException):
            found.terminate()
