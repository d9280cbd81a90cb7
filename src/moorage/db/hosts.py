"""Several hosts of one database: a primary and its standbys, which may change places.

    db-1 ── refused, silent or a standby ──► db-2 ── the primary ──► connected

Each connection looks for the primary anew, and first where the last one found it. A host that
says nothing takes its share of the time and not all of it.
"""

import re
from collections.abc import Sequence
from typing import Any

import asyncpg

Host = tuple[str, int]
"""Name and port."""

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


class Hosts:
    """Finds the one that takes writes."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = list(hosts)

    async def connect(self, **options: Any) -> Any:
        """A connection of the driver; raises what the hosts said, OSError if none takes writes."""
        share = options.pop("timeout") / len(self._hosts)
        del options["host"], options["port"]
        why: list[Exception] = []
        for host in list(self._hosts):
            try:
                found = await asyncpg.connect(
                    host=host[0],
                    port=host[1],
                    timeout=share,
                    target_session_attrs="primary",
                    **options,
                )
            except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError) as error:
                why.append(error)
            else:
                if self._hosts[0] != host:
                    self._hosts.remove(host)
                    self._hosts.insert(0, host)
                return found
        # A server that speaks, and refuses us, says more than one that is away.
        spoken = [error for error in why if isinstance(error, asyncpg.PostgresError)]
        names = ", ".join(f"{name}:{port}" for name, port in self._hosts)
        raise (spoken or [ConnectionError(f"none of {names} takes writes")])[0] from why[-1]
