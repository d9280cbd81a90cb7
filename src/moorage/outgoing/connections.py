"""Connections for the HTTP library: to a server, to a proxy, and through a proxy to a server."""

import asyncio
import base64
import ssl
from collections.abc import Iterable
from typing import Any, Protocol

import httpcore2

from moorage.config.outgoing import ProxyAddress
from moorage.errors import Unreachable

PIECE = 1 << 20
"""Bytes that are taken from a connection at once, if so many are there."""
TUNNEL_SECONDS = 15.0
"""For a proxy to look a name up, connect there and say so."""
GREETING_SECONDS = 5.0
NOWHERE = "moorage.invalid"
"""A name that no network has (RFC 6761)."""
_UNWELCOME = (401, 407)
"""The first is tinyproxy's answer to a wrong password."""

FAILURES: tuple[type[Exception], ...] = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
    TimeoutError,
    OSError,
)


class Addresses(Protocol):
    """What finds the addresses that a connection may go to."""

    async def addresses(self, host: str, port: int) -> list[tuple[int, Any]]: ...


class Judge(Protocol):
    """What knows whether a proxy may be asked for a server."""

    async def admit(self, host: str, port: int) -> None: ...


class Operators(Addresses, Protocol):
    """The same for what the operator names, with the authorities that he trusts."""

    def tls(self) -> ssl.SSLContext: ...


class Direct(httpcore2.AsyncNetworkBackend):
    """Connects to an address that was checked; TLS follows, under the name in the URL."""

    def __init__(self, guard: Addresses) -> None:
        self._guard = guard
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception = httpcore2.ConnectError("no address")
        for _, address in await self._guard.addresses(host, port):
            try:
                return _Stream(
                    await self._inner.connect_tcp(
                        address[0], address[1], timeout, local_address, socket_options
                    )
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class ToProxy(httpcore2.AsyncNetworkBackend):
    """Connects to the proxy for `scheme`; its errors are Unreachable, and name it."""

    def __init__(self, operators: Operators, proxy: ProxyAddress, scheme: str) -> None:
        self._operators = operators
        self._direct = Direct(operators)
        self._proxy = proxy
        self._setting = f"outgoing.{scheme}_proxy"

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        proxy = self._proxy
        try:
            stream = await self._direct.connect_tcp(
                proxy.host, proxy.port, timeout, local_address, socket_options
            )
            if proxy.tls:
                stream = await _secured(stream, self._operators.tls(), proxy.host, timeout)
        except Unreachable as error:  # no address of the proxy
            raise self._unreachable(error.message) from error
        except FAILURES as error:
            raise self._unreachable(reason(error)) from error
        return stream

    def _unreachable(self, why: str) -> Unreachable:
        look = f"an operator may look at the setting {self._setting}"
        return Unreachable(f"the proxy {self._proxy}: {why}; {look}")


class Tunnel(httpcore2.AsyncNetworkBackend):
    """Connects through a proxy by CONNECT; TLS follows inside, under the name in the URL.

    The library has tunnels too. One whose TLS fails there stays among the connections in use until
    none is left, and it asks for IPv6 addresses without brackets; so only its HTTP is taken.
    """

    def __init__(self, judge: Judge, operators: Operators, proxy: ProxyAddress) -> None:
        self._judge = judge
        self._to_proxy = ToProxy(operators, proxy, "https")
        self._proxy = proxy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        await self._judge.admit(host, port)
        stream = await self._to_proxy.connect_tcp(
            host, port, timeout, local_address, socket_options
        )
        try:
            answer = await _asked(stream, self._proxy, host, port)
            if not 200 <= answer.status < 300:
                raise Unreachable(f"{host}: {_refusal(self._proxy, answer.status, port)}")
        except BaseException:
            await stream.aclose()
            raise
        through: httpcore2.AsyncNetworkStream = answer.extensions["network_stream"]
        return through


async def greeted(operators: Operators, proxy: ProxyAddress, scheme: str) -> None:
    """Returns when a proxy speaks HTTP and knows us; raises Unreachable.

    It is asked for a server that nobody has. Whatever it answers, it looks at the account first.
    """
    stream = await ToProxy(operators, proxy, scheme).connect_tcp(NOWHERE, 443, GREETING_SECONDS)
    try:
        answer = await _asked(stream, proxy, NOWHERE, 443)
    finally:
        await stream.aclose()
    if answer.status in _UNWELCOME:
        raise Unreachable(unwelcome(proxy, scheme))


async def _asked(
    stream: httpcore2.AsyncNetworkStream, proxy: ProxyAddress, host: str, port: int
) -> httpcore2.Response:
    """The answer to CONNECT. Here alone, and where it forwards, a proxy is told the account."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url = httpcore2.URL(scheme="http", host=proxy.host, port=proxy.port, target=target)
    headers = [(b"Host", target.encode("ascii")), *credentials(proxy)]
    asked = httpcore2.Request("CONNECT", url, headers=headers)
    connection = httpcore2.AsyncHTTP11Connection(url.origin, stream)
    try:
        async with asyncio.timeout(TUNNEL_SECONDS):  # of all, or one that trickles had no end
            return await connection.handle_async_request(asked)
    except FAILURES as error:
        raise Unreachable(f"the proxy {proxy}: {reason(error)}") from error


async def _secured(
    stream: httpcore2.AsyncNetworkStream,
    context: ssl.SSLContext,
    name: str,
    timeout: float | None,  # noqa: ASYNC109 - the library's
) -> httpcore2.AsyncNetworkStream:
    try:
        return await stream.start_tls(context, name, timeout)
    except BaseException:
        await stream.aclose()
        raise


def credentials(proxy: ProxyAddress) -> list[tuple[bytes, bytes]]:
    """Headers for the proxy alone."""
    if proxy.account is None:
        return []
    pair = base64.b64encode(":".join(proxy.account).encode())
    return [(b"Proxy-Authorization", b"Basic " + pair)]


def unwelcome(proxy: ProxyAddress, scheme: str) -> str:
    """What to say where a proxy wants credentials, or others."""
    setting = f"outgoing.{scheme}_proxy"
    if proxy.account is None:
        return f"the proxy {proxy} asks for a user name and password: give them in {setting}"
    return f"the proxy {proxy} does not take the user name and password of {setting}"


def _refusal(proxy: ProxyAddress, status: int, port: int) -> str:
    if status in _UNWELCOME:
        return unwelcome(proxy, "https")
    if status == 403:
        return f"the proxy {proxy} refuses it with status 403: its rules have to allow port {port}"
    if status >= 500:
        return f"the proxy {proxy} cannot reach it, and says so with status {status}"
    return f"the proxy {proxy} opens no tunnel and answers with status {status}"


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection that is read in larger pieces than the library asks for.

    What arrived together is then not cut up and put together again. Records of TLS are small, and
    so are the pieces above it.
    """

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._inner.read(max(max_bytes, PIECE), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
    ) -> httpcore2.AsyncNetworkStream:
        return await self._inner.start_tls(ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def reason(error: Exception) -> str:
    """Why a request failed in a few words, without what the other server sent."""
    if isinstance(error, httpcore2.TimeoutException | TimeoutError):
        return "it does not answer in time"
    if isinstance(error, httpcore2.UnsupportedProtocol):
        return "its URL has to begin with https:// or http://"
    if isinstance(error, httpcore2.RemoteProtocolError) and "closed" in str(error).lower():
        return "it broke off"
    if isinstance(error, httpcore2.ProtocolError):
        return "it does not speak HTTP"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate is not trusted"
    return "it cannot be reached"
