"""Counts every request and its seconds, under a bounded set of names."""

from collections.abc import Iterable
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moorage.telemetry.metrics import Metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
RESOURCES = frozenset(
    {
        *("health", "ping", "search", "statistics", "systeminfo", "version", "openapi.json"),
        *("users", "projects", "repositories", "robots", "quotas", "permissions", "usage"),
        *("audit-logs", "auditlog-exts", "configurations", "federation-rules", "icons"),
        *("internalconfig", "jobservice", "labels", "ldap", "retentions", "scanners"),
        *("registries", "replication", "schedules", "system", "usergroups"),
    }
)
_BODIES = frozenset({"POST", "PUT", "PATCH"})
_PAGES = ("/harbor", "/account/", "/static/", "/oidc-onboard")
UNCOUNTED = frozenset({"/healthz", "/readyz", "/metrics"})
HANDLERS = (
    ("/manifests/", "manifest"),
    ("/blobs/uploads", "blob_upload"),
    ("/blobs/", "blob"),
    ("/referrers/", "referrers"),
    ("/tags/", "tags"),
    ("/_catalog", "catalog"),
)
"""What a path of `/v2` holds, and distribution's name of its handler."""


class Measured:
    """The layer that counts. Paths and methods are the client's to choose: names are not.

    Probes and scrapes are left out: they come without end and would make every figure look good.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._registry = metrics.registry_requests
        self._core = metrics.core_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if method not in METHODS:
            method = "OTHER"
        count = self._of_registry if path.startswith("/v2") else self._of_core
        await count(scope, receive, send, operation(path), method)

    async def _of_core(
        self, scope: Scope, receive: Receive, send: Send, name: str, method: str
    ) -> None:
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = perf_counter()
        self._core.in_flight += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            self._core.in_flight -= 1
            self._core.add(name, method, status, perf_counter() - began)

    async def _of_registry(
        self, scope: Scope, receive: Receive, send: Send, name: str, method: str
    ) -> None:
        status, sent = 500, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                if method != "HEAD":  # its length is of what is not sent
                    sent = _length(message["headers"])
            await send(message)

        received, told = 0, _length(scope["headers"])

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        began = perf_counter()
        self._registry.running[name] += 1
        # A stream without a length has to be counted as it comes.
        chunked = not told and method in _BODIES
        try:
            await self._app(scope, counted if chunked else receive, watched)
        finally:
            self._registry.running[name] -= 1
            seconds = perf_counter() - began
            self._registry.add(name, method, status, seconds, told or received, sent)


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def operation(path: str) -> str:
    """A bounded name for a path."""
    if path.startswith("/v2"):
        return next((name for part, name in HANDLERS if part in path), "base")
    if path.startswith("/service/"):
        return "token"
    if path.startswith("/api/"):
        parts = path.split("/", 4)
        resource = parts[3] if len(parts) > 3 else parts[2]
        return resource if resource in RESOURCES else "other"
    return "portal" if path.startswith(_PAGES) or path == "/" else "other"
