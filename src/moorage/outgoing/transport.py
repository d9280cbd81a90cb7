"""HTTP over the guard's connections, with answers that are bounded."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, suppress
from typing import Any, Protocol

import httpcore2
import httpx2

from moorage.errors import Unreachable

CONNECTIONS = 64
"""Of one client at once; more requests wait."""
KEEP_ALIVE = 15.0
"""Seconds that a connection without requests stays open: less than most servers allow."""
PIECE = 1 << 20
"""Bytes that are taken from a connection at once, if so many are there."""
LARGE = 32 << 20
"""Bytes of an answer from which on it is worth a connection of its own."""
REST, REST_SECONDS = 64 << 10, 1.0
"""Bytes of an answer nobody wants that are read so that its connection can be used again."""

_FAILURES: tuple[type[Exception], ...] = (
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


class Transport(httpx2.AsyncBaseTransport):
    """Sends requests; raises AddressRefused and Unreachable."""

    def __init__(
        self, guard: Addresses, tls: Any, seconds: float | None, limit: int | None
    ) -> None:
        """`seconds` and `limit` bound a whole answer; None: only pauses are bounded."""
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            network_backend=_Backend(guard),
            max_connections=CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE,
        )
        self._seconds = seconds
        self._limit = limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, its body still to be read."""
        host = request.url.host
        deadline = None
        if self._seconds is not None:
            deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._pool.handle_async_request(_core(request))
        except _FAILURES as error:
            raise Unreachable(f"{host}: {_reason(error)}") from error
        length = _length(request, answer)
        stream: httpx2.AsyncByteStream
        unbounded = self._limit is None and deadline is None
        if unbounded and length is not None and length >= LARGE:
            stream = _Large(answer, host, length, request.extensions.get("timeout", {}).get("read"))
        else:
            stream = _Bounded(answer.stream, host, deadline, self._limit, length)
        response = httpx2.Response(
            answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions
        )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise Unreachable(f"{host}: it answers compressed, which nobody asked for")
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(
        self, stream: Any, host: str, deadline: float | None, limit: int | None, length: int | None
    ) -> None:
        self._stream = stream
        self._host = host
        self._deadline = deadline
        self._left = limit
        self._rest = length  # bytes still to come; None: nobody knows, or it ended

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout_at(self._deadline):
                async for part in self._stream:
                    if self._rest is not None:
                        self._rest -= len(part)
                    if self._left is not None:
                        self._left -= len(part)
                        if self._left < 0:
                            raise Unreachable(f"{self._host}: its answer is too long")
                    yield part
            self._rest = None
        except _FAILURES as error:
            self._rest = None
            raise Unreachable(f"{self._host}: {_reason(error)}") from error

    async def aclose(self) -> None:
        """Closes the connection too, unless the answer is at its end or nearly so."""
        if self._rest is not None and 0 <= self._rest <= REST:
            with suppress(*_FAILURES):
                async with asyncio.timeout(REST_SECONDS):
                    async for _ in self._stream:
                        pass
        await self._stream.aclose()


class _Large(httpx2.AsyncByteStream):
    """An answer of a known length, read from its connection itself, which nobody uses after it.

    The library copies each piece three times on its way up. It gives the first one, with what
    came together with the headers; behind that there is nothing but the rest of the body.
    """

    def __init__(
        self, answer: httpcore2.Response, host: str, length: int, idle: float | None
    ) -> None:
        self._stream: Any = answer.stream
        self._wire: httpcore2.AsyncNetworkStream = answer.extensions["network_stream"]
        self._host = host
        self._left = length
        self._idle = idle

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async with aclosing(aiter(self._stream)) as parts:
                part = await anext(parts, b"")
                while part:
                    part = part[: self._left]
                    self._left -= len(part)
                    yield part
                    part = await self._wire.read(REST, self._idle) if self._left else b""
        except _FAILURES as error:
            raise Unreachable(f"{self._host}: {_reason(error)}") from error
        if self._left:
            raise Unreachable(f"{self._host}: it broke off")

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._stream.aclose()


class _Backend(httpcore2.AsyncNetworkBackend):
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


def _core(request: httpx2.Request) -> httpcore2.Request:
    url = request.url
    target = httpcore2.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )
    return httpcore2.Request(
        method=request.method,
        url=target,
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _length(request: httpx2.Request, answer: httpcore2.Response) -> int | None:
    """Bytes of the body of an answer, if it says so."""
    if request.method == "HEAD" or answer.status in (204, 304):
        return 0
    headers = {name.lower(): text for name, text in answer.headers}
    said = b"" if b"transfer-encoding" in headers else headers.get(b"content-length", b"")
    return int(said) if said.isdigit() and len(said) < 20 else None


def _reason(error: Exception) -> str:
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
