"""`/healthz` says that the process lives, `/readyz` that it can serve, `/metrics` how it does.

Ready means: the database answers and has this version's schema; of a portal, the API answers. The
blob store and Redis are told of as well, and make nobody unready: what is cached is still served,
and all replicas would leave at once.

Where people reach the same address, `/metrics` is for those who are near: it names every project.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from moorage.errors import MoorageError
from moorage.telemetry.metrics import Metrics
from moorage.web.requests import TOLD

log = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[str]]
"""Says what is wrong with a part, or nothing."""

NEEDED = ("database", "core")
"""Parts without which nothing can be served; a process has one of them."""
PATHS = ("/healthz", "/readyz", "/metrics")
_PATIENCE = 3.0
_OF_PROXIES = frozenset({b"x-forwarded-for", b"forwarded", b"x-real-ip"})


class Operations:
    """An ASGI application for those three paths."""

    def __init__(
        self, metrics: Metrics, allow: Sequence[IPv4Network | IPv6Network] | None = None
    ) -> None:
        """`allow` are the networks that are told metrics; None: everybody is."""
        self._metrics = metrics
        self._allow = allow
        self.probes: Mapping[str, Probe] = {}
        """Part to its probe; empty until the process has started."""
        self.leaving = False
        """Whether the process is shutting down."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if request.method not in ("GET", "HEAD"):
            response: Response = Response(status_code=405, headers={"Allow": "GET, HEAD"})
        elif request.url.path == "/healthz":
            response = JSONResponse({"status": "alive"})
        elif request.url.path == "/readyz":
            response = await self._ready()
        elif not self._is_near(scope):
            response = Response("not found\n", 404, media_type="text/plain")
        else:
            response = await self._figures(request.query_params.get("comp", ""))
        await response(scope, receive, send)

    def _is_near(self, scope: Scope) -> bool:
        if self._allow is None:
            return True
        if TOLD not in scope and any(name in _OF_PROXIES for name, _ in scope["headers"]):
            return False  # from somewhere behind a proxy that nobody said to believe
        try:
            address = ip_address((scope.get("client") or ("",))[0].partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._allow)

    async def _figures(self, component: str) -> Response:
        """`?comp=core|registry|jobservice|exporter` asks for one part, as Harbor has it."""
        try:
            self._metrics.check(component)
            await self._metrics.figures.refresh()
            body, content_type = self._metrics.expose(component)
        except ValueError as error:
            return Response(f"{error}\n", 400, media_type="text/plain")
        return Response(body, media_type=content_type)

    async def _ready(self) -> Response:
        if self.leaving or not self.probes:
            why = "shutting down" if self.leaving else "starting: waiting for the database"
            return JSONResponse({"status": "unready", "why": why}, 503)
        found = await self.check()
        ready = not any(found.get(name) for name in NEEDED)
        state = "ready" if ready else "unready"
        if ready and any(found.values()):
            state = "degraded"
        parts = {name: wrong or "healthy" for name, wrong in found.items()}
        return JSONResponse({"status": state, "parts": parts}, 200 if ready else 503)

    async def check(self) -> dict[str, str]:
        """Part to what is wrong with it, empty when healthy."""
        names = list(self.probes)
        results = await asyncio.gather(*(_ask(name, self.probes[name]) for name in names))
        return dict(zip(names, results, strict=True))


async def _ask(name: str, probe: Probe) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await probe()
    except TimeoutError:
        return f"no answer in {_PATIENCE:g} s"
    except MoorageError as error:
        return error.message
    except Exception:
        log.exception("the probe of %s failed", name)
        return "failed; the log says why"
