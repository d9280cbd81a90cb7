"""Counts every request and its seconds, under a bounded set of names."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moorage.telemetry.metrics import Metrics

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
RESOURCES = frozenset(
    {
        *("health", "ping", "search", "statistics", "systeminfo", "version", "openapi.json"),
        *("users", "projects", "repositories", "robots", "quotas", "permissions", "usage"),
        *("audit-logs", "auditlog-exts", "configurations", "federation-rules", "icons"),
        *("internalconfig", "jobservice", "labels", "ldap", "retentions", "scanners"),
        *("registries", "replication", "schedules", "system", "usergroups"),
    }
)
_UNCOUNTED = frozenset({"/healthz", "/readyz", "/metrics"})
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
        if scope["type"] != "http" or scope["path"] in _UNCOUNTED:
            await self._app(scope, receive, send)
            return
        status = 500
        began = perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path, method = scope["path"], scope["method"]
        requests = self._registry if path.startswith("/v2") else self._core
        requests.in_flight += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            requests.in_flight -= 1
            if method not in _METHODS:
                method = "OTHER"
            requests.add(operation(path), method, status, perf_counter() - began)


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
    return "other"
