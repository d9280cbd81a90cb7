"""A span around each request, where traces are on."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moorage.telemetry.logs import REQUEST_ID
from moorage.telemetry.tracing import Tracing
from moorage.web.measured import METHODS, UNCOUNTED, operation

log = logging.getLogger(__name__)

_LONGEST = 1024  # characters of a path


class Traced:
    """The layer that makes spans; it never sees a query, which may hold credentials."""

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        parents = [value for name, value in scope["headers"] if name == b"traceparent"]
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        attributes = {
            "http.request.method": method,
            "url.path": scope["path"][:_LONGEST],
            "url.scheme": scope["scheme"],
            "moorage.request_id": REQUEST_ID.get(),
        }
        name = f"{method} {operation(scope['path'])}"
        parent = parents[0].decode("latin-1") if len(parents) == 1 else ""
        with self._tracing.span(name, attributes, traceparent=parent, server=True) as span:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, watched)
            finally:
                log.debug("%s %s is answered", method, scope["path"])
