"""HTTP over the guard's connections, with answers that are bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any, Protocol

import httpcore2
import httpx2

from moorage.config.outgoing import PORTS, ProxyAddress
from moorage.errors import Unreachable
from moorage.outgoing.connections import (
    FAILURES,
    Addresses,
    Direct,
    Judge,
    Operators,
    ToProxy,
    Tunnel,
    credentials,
    reason,
    unwelcome,
)

CONNECTIONS = 64
"""Of one client at once; more requests wait."""
KEEP_ALIVE = 15.0
"""Seconds that a connection without requests stays open: less than most servers allow."""
LARGE = 32 << 20
"""Bytes of an answer from which on it is worth a connection of its own."""
REST, REST_SECONDS = 64 << 10, 1.0
"""Bytes of an answer nobody wants that are read so that its connection can be used again."""

_OF_PROXIES = (b"proxy-authorization", b"proxy-connection")


class Ways(Addresses, Judge, Protocol):
    """What judges where a request may go, and by which way."""

    @property
    def operators(self) -> Operators: ...
    def proxy(self, scheme: str, host: str, port: int) -> ProxyAddress | None: ...


class Transport(httpx2.AsyncBaseTransport):
    """Sends requests; raises AddressRefused and Unreachable."""

    def __init__(self, guard: Ways, tls: Any, seconds: float | None, limit: int | None) -> None:
        """`seconds` and `limit` bound a whole answer; None: only pauses are bounded."""
        self._guard = guard
        self._tls = tls
        self._direct = _pool(tls, network_backend=Direct(guard))
        self._proxied: dict[str, httpcore2.AsyncConnectionPool] = {}  # by scheme
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
                answer = await self._answer(request)
        except FAILURES as error:
            raise Unreachable(f"{host}: {reason(error)}") from error
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

    async def _answer(self, request: httpx2.Request) -> httpcore2.Response:
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        scheme, host = url.scheme.decode("ascii"), url.host.decode("ascii")
        port = url.port or PORTS.get(scheme, 0)
        proxy = self._guard.proxy(scheme, host, port)
        if proxy is None:
            return await self._direct.handle_async_request(_core(request, url))
        if scheme == "https":
            return await self._tunnels(proxy).handle_async_request(_core(request, url))
        await self._guard.admit(host, port)
        if b":" in url.host:  # the library writes it as it is
            url.host = b"[%b]" % url.host
        answer = await self._forwards(proxy).handle_async_request(_core(request, url))
        if answer.status == 407:
            await answer.aclose()
            raise Unreachable(f"{host}: {unwelcome(proxy, scheme)}")
        return answer

    def _tunnels(self, proxy: ProxyAddress) -> httpcore2.AsyncConnectionPool:
        """Connections to servers, through the proxy."""
        if "https" not in self._proxied:
            backend = Tunnel(self._guard, self._guard.operators, proxy)
            self._proxied["https"] = _pool(self._tls, network_backend=backend)
        return self._proxied["https"]

    def _forwards(self, proxy: ProxyAddress) -> httpcore2.AsyncConnectionPool:
        """Connections to the proxy, which reads the requests; TLS to it is the backend's.

        Each serves one request: some proxies end it after the answer without a word of that, and
        the next request would be lost on it.
        """
        if "http" not in self._proxied:
            url = httpcore2.URL(scheme="http", host=proxy.host, port=proxy.port)
            self._proxied["http"] = _pool(
                self._tls,
                proxy=httpcore2.Proxy(url, headers=credentials(proxy)),
                network_backend=ToProxy(self._guard.operators, proxy, "http"),
                max_keepalive_connections=0,
            )
        return self._proxied["http"]

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in (self._direct, *self._proxied.values()):
            await pool.aclose()


def _pool(tls: Any, **options: Any) -> httpcore2.AsyncConnectionPool:
    return httpcore2.AsyncConnectionPool(
        ssl_context=tls,
        max_connections=CONNECTIONS,
        keepalive_expiry=KEEP_ALIVE,
        **options,
    )


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
        except FAILURES as error:
            self._rest = None
            raise Unreachable(f"{self._host}: {reason(error)}") from error

    async def aclose(self) -> None:
        """Closes the connection too, unless the answer is at its end or nearly so."""
        if self._rest is not None and 0 <= self._rest <= REST:
            with suppress(*FAILURES):
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
        except FAILURES as error:
            raise Unreachable(f"{self._host}: {reason(error)}") from error
        if self._left:
            raise Unreachable(f"{self._host}: it broke off")

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._stream.aclose()


def _core(request: httpx2.Request, url: httpcore2.URL) -> httpcore2.Request:
    """The library's request, without what is for a proxy: that is the operator's to say."""
    return httpcore2.Request(
        method=request.method,
        url=url,
        headers=[each for each in request.headers.raw if each[0].lower() not in _OF_PROXIES],
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
