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
import ssl
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from moorage.config.syslog import SyslogTarget, parse_target
from moorage.errors import Invalid, Unavailable

SEND_SECONDS = 30.0
"""How long one batch may take."""
CONNECT_SECONDS = 5.0
CLOSING_SECONDS = 2.0
"""How long a server may take to close; one that never does has got the batch, too."""

_AUDIT = 13  # facility "log audit"
_WARNING, _INFORMATIONAL = 4, 6
_METADATA = frozenset(
    map(ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))
)
"""Addresses of clouds' metadata services that are not link-local."""


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


async def reach(endpoint: str) -> None:
    """Try a server that somebody wants to set; raises Invalid.

    One that listens on UDP only has to have an address.
    """
    try:
        target = parse_target(endpoint)
        async with asyncio.timeout(CONNECT_SECONDS):
            if target.transport == "udp":
                await _addresses(target)
                return
            _, writer = await _connect(target)
            await _close(writer)
    except ValueError as error:
        raise Invalid(f"audit_log_forward_endpoint: {error}") from None
    except TimeoutError:
        raise Invalid(f"audit_log_forward_endpoint: {endpoint} does not answer") from None
    except OSError as error:
        raise Invalid(f"audit_log_forward_endpoint: {endpoint}: {_reason(error)}") from None


async def send(target: SyslogTarget, messages: Sequence[bytes]) -> None:
    """Deliver messages in their order; raises Unavailable, and then any may have arrived."""
    try:
        async with asyncio.timeout(SEND_SECONDS):
            if target.transport == "udp":
                await _send_datagrams(target, messages)
            else:
                await _send_stream(target, messages)
    except TimeoutError as error:
        raise Unavailable(f"the syslog server {target} is too slow") from error
    except OSError as error:
        raise Unavailable(f"the syslog server {target}: {_reason(error)}") from error


async def _send_stream(target: SyslogTarget, messages: Iterable[bytes]) -> None:
    reader, writer = await _connect(target)
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


async def _send_datagrams(target: SyslogTarget, messages: Iterable[bytes]) -> None:
    family, address = (await _addresses(target))[0]
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(address)
        for each in messages:
            # A port that nobody listens on answers the next one with an error.
            await loop.sock_sendall(sender, each)


async def _connect(target: SyslogTarget) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that answers; to an address, so that no other look-up counts."""
    tls: dict[str, Any] = {}
    if target.transport == "tls":
        tls = {
            "ssl": _tls(),
            "server_hostname": target.host,
            "ssl_shutdown_timeout": CLOSING_SECONDS,
        }
    failure: OSError = OSError("no address")
    for _, address in await _addresses(target):
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(address[0], address[1], **tls)
        except OSError as error:  # TimeoutError is one
            failure = error
    raise failure


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Servers are verified against the system's authorities, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()


async def _addresses(target: SyslogTarget) -> list[tuple[int, Any]]:
    """(family, address) of the server; raises OSError when it may not be one."""
    kind = socket.SOCK_DGRAM if target.transport == "udp" else socket.SOCK_STREAM
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=kind)
    for _, _, _, _, address in found:
        if not permitted(ip_address(str(address[0]).partition("%")[0])):
            raise PermissionError(f"{address[0]} is no address for a syslog server")
    return [(family, address) for family, _, _, _, address in found]


def permitted(address: IPv4Address | IPv6Address) -> bool:
    """Whether something may be sent there: not to neighbours of the link, nor to a cloud's own."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    special = address.is_link_local or address.is_multicast or address.is_unspecified
    return not special and address not in _METADATA


def _reason(error: OSError) -> str:
    """Why in a few words, without what a server sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "it speaks no TLS that is secure"
    if isinstance(error, PermissionError) and error.errno is None:
        return str(error)
    return error.strerror or type(error).__name__
