"""Messages for a syslog server (RFC 5424), and the way there.

    tcp, tls    one connection a batch, each message behind its length (RFC 6587, RFC 5425)
    udp         one datagram a message (RFC 5426); what is lost, nobody hears of

Syslog has no receipts. A batch over TCP counts as delivered when the server closed after the last
byte of ours, so what a dying server had not read is sent again: a message can come twice, and its
`message_id` tells.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from moorage.config.syslog import SyslogTarget, parse_target
from moorage.errors import AddressRefused, Invalid, Unavailable, Unreachable
from moorage.outgoing import Guard

SEND_SECONDS = 30.0
"""How long one batch may take."""
CLOSING_SECONDS = 2.0
"""How long a server may take to close; one that never does has got the batch, too."""

_AUDIT = 13  # facility "log audit"
_WARNING, _INFORMATIONAL = 4, 6


def message(number: int, entry: Mapping[str, Any], host: str) -> bytes:
    """One message: a header, and the row as JSON in ASCII, so that no name can forge a line."""
    severity = _INFORMATIONAL if entry["successful"] else _WARNING
    moment = datetime.fromisoformat(entry["occurred_at"])
    kind = f"{entry['operation']}_{entry['resource_type']}"[:32]
    text = json.dumps({"message_id": number, **entry}, separators=(",", ":"))
    header = f"<{_AUDIT * 8 + severity}>1 {moment.isoformat()} {host} moorage - {kind} -"
    return f"{header} {text}".encode("ascii")


@lru_cache(maxsize=1)
def host_name() -> str:
    """This host, as a header may name it."""
    name = "".join(char for char in socket.gethostname() if "!" <= char <= "~")
    return name[:255] or "-"


class Syslog:
    """Sends to servers that the guard lets through."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def reach(self, endpoint: str) -> None:
        """Try a server that somebody wants to set; raises Invalid.

        One that listens on UDP only has to have an address.
        """
        try:
            target = parse_target(endpoint)
            if target.transport == "udp":
                await self._guard.addresses(target.host, target.port, datagrams=True)
            else:
                _, writer = await self._connect(target)
                await _close(writer)
        except (ValueError, OSError) as error:
            raise Invalid(f"audit_log_forward_endpoint: {error}") from None
        except (AddressRefused, Unreachable) as error:
            raise Invalid(f"audit_log_forward_endpoint: {error.message}") from None

    async def send(self, target: SyslogTarget, messages: Sequence[bytes]) -> None:
        """Deliver messages in their order; raises Unavailable, and then any may have arrived."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                if target.transport == "udp":
                    await self._send_datagrams(target, messages)
                else:
                    await self._send_stream(target, messages)
        except AddressRefused as error:
            raise Unavailable(f"the syslog server {target}: {error.message}") from error
        except TimeoutError as error:
            raise Unavailable(f"the syslog server {target} is too slow") from error
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise Unavailable(f"the syslog server {target}: {why}") from error

    async def _send_stream(self, target: SyslogTarget, messages: Iterable[bytes]) -> None:
        reader, writer = await self._connect(target)
        try:
            for each in messages:
                writer.write(b"%d %b" % (len(each), each))
                await writer.drain()
            if writer.can_write_eof():  # not with TLS: there the closing handshake tells as much
                writer.write_eof()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSING_SECONDS):
                        while await reader.read(4096):
                            pass
        finally:
            await _close(writer)

    async def _send_datagrams(self, target: SyslogTarget, messages: Iterable[bytes]) -> None:
        found = await self._guard.addresses(target.host, target.port, datagrams=True)
        family, address = found[0]
        loop = asyncio.get_running_loop()
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect(address)
            for each in messages:
                # A port that nobody listens on answers the next one with an error.
                await loop.sock_sendall(sender, each)

    async def _connect(
        self, target: SyslogTarget
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self._guard.connect(target.host, target.port, tls=target.transport == "tls")


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(CLOSING_SECONDS):
            await writer.wait_closed()
    except TimeoutError:
        writer.transport.abort()
    except OSError:
        pass
