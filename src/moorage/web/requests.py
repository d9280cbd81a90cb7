"""The outermost layers of every request: its id, the caller's address, its figures."""

import re
import secrets
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from moorage.telemetry.metrics import Metrics

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")

Network = IPv4Network | IPv6Network


class RequestIds:
    """Echoes a well-formed `X-Request-Id` or makes one, and puts it on every log line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((v for k, v in scope["headers"] if k == b"x-request-id"), b"")
        known = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8).encode()

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                # A new message: faces may send one that they keep for the next request.
                headers = [*message["headers"], (b"x-request-id", known)]
                message = {**message, "headers": headers}
            await send(message)

        with bound_contextvars(request_id=known.decode()):
            await self._app(scope, receive, tagged)


class Forwarded:
    """Believes `X-Forwarded-For` and `X-Forwarded-Proto` of trusted proxies, and of nobody else."""

    def __init__(self, app: ASGIApp, *, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if self._trusted and scope["type"] == "http" and client and self._trusts(client[0]):
            headers = dict(scope["headers"])
            scope = dict(scope)
            proto = headers.get(b"x-forwarded-proto", b"").split(b",")[-1].strip().lower()
            if proto in (b"http", b"https"):
                scope["scheme"] = proto.decode()
            chain = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
            scope["client"] = (self._origin([c.strip() for c in chain], client[0]), 0)
        await self._app(scope, receive, send)

    def _origin(self, chain: list[str], peer: str) -> str:
        """The nearest address that is none of our proxies; nothing further left can be believed."""
        for address in reversed(chain):
            try:
                ip_address(address)
            except ValueError:
                return peer
            if not self._trusts(address):
                return address
            peer = address
        return peer

    def _trusts(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)


class Measured:
    """Counts requests and their seconds."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"]
        registry = path.startswith("/v2")
        if registry:
            self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, watched)
        finally:
            if registry:
                self._metrics.in_flight.dec()
            self._count(registry, path, scope["method"], status, perf_counter() - began)

    def _count(self, registry: bool, path: str, method: str, status: int, seconds: float) -> None:
        operation = _operation(path)
        # Methods are the client's to choose: only the known ones become labels.
        method = method if method in _METHODS else "OTHER"
        metrics = self._metrics
        if registry:
            metrics.requests.labels(operation, method, str(status)).inc()
            metrics.request_seconds.labels(operation, method).observe(seconds)
        else:
            metrics.core_requests.labels(method, str(status), operation).inc()
            metrics.core_seconds.labels(method, operation).observe(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_RESOURCES = frozenset(
    {
        *("health", "ping", "search", "statistics", "systeminfo", "version", "openapi.json"),
        *("users", "projects", "repositories", "robots", "quotas", "permissions", "trash"),
    }
)


def _operation(path: str) -> str:
    """A bounded name for a path."""
    if path.startswith("/v2"):
        for part, name in (
            ("/manifests/", "manifest"),
            ("/blobs/uploads", "blob-upload"),
            ("/blobs/", "blob"),
            ("/referrers/", "referrers"),
            ("/tags/", "tags"),
            ("/_catalog", "catalog"),
        ):
            if part in path:
                return name
        return "base"
    if path.startswith("/service/"):
        return "token"
    if path.startswith("/api/"):
        parts = path.split("/", 4)
        resource = parts[3] if len(parts) > 3 else parts[2]
        return resource if resource in _RESOURCES else "other"
    return "other"
