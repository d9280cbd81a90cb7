"""How a syslog server is written: `tcp://host:port`, `udp://host:port`, `tls://host:port`.

`host:port` alone is TCP, as in Harbor.
"""

from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

Transport = Literal["tcp", "udp", "tls"]


@dataclass(frozen=True, slots=True)
class SyslogTarget:
    """A syslog server."""

    transport: Transport
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"


def parse_target(text: str) -> SyslogTarget:
    """The server that `text` names; raises ValueError."""
    refused = ValueError("give tcp://host:port, udp://host:port, tls://host:port or host:port")
    try:
        parts = urlsplit(text if "://" in text else f"tcp://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise refused from None
    if parts.scheme not in ("tcp", "udp", "tls") or not host or not port:
        raise refused
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        raise refused
    if not host.isascii() or not host.isprintable() or " " in host:
        raise refused
    return SyslogTarget(cast(Transport, parts.scheme), host, port)
