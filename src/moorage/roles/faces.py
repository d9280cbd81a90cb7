"""Which paths each role answers, and through which layers a request comes in.

role        /v2  /service/token  …/exchange, /api, /c  operations  background work  pages
registry     x         x                                   x
core                   x                 x                 x
jobservice                                                 x             x
exporter                                                                 x
portal                                                     x                           x
all          x         x                 x                 x             x             x

Pages are whatever is left: `/`, `/harbor/…`, `/account/…`, `/static/…`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from enum import StrEnum

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from moorage.config.settings import Settings
from moorage.ops import Operations
from moorage.ops.endpoints import PATHS as OPERATIONS
from moorage.roles.resources import Resources
from moorage.signin.exchange import PATH as EXCHANGE
from moorage.signin.exchange import TokenExchange
from moorage.signin.token import PATH as TOKEN
from moorage.signin.token import TokenService
from moorage.telemetry.metrics import Metrics
from moorage.telemetry.tracing import Tracing
from moorage.web.bounds import Bounded
from moorage.web.measured import Measured
from moorage.web.requests import Forwarded, RequestIds
from moorage.web.traced import Traced


class Role(StrEnum):
    """What a process is."""

    ALL = "all"
    REGISTRY = "registry"
    CORE = "core"
    JOBSERVICE = "jobservice"
    EXPORTER = "exporter"
    PORTAL = "portal"

    @property
    def registry(self) -> bool:
        """Whether it answers `/v2`."""
        return self in (Role.ALL, Role.REGISTRY)

    @property
    def core(self) -> bool:
        """Whether it answers `/api`."""
        return self in (Role.ALL, Role.CORE)

    @property
    def jobservice(self) -> bool:
        """Whether it does background work."""
        return self in (Role.ALL, Role.JOBSERVICE)

    @property
    def exporter(self) -> bool:
        """Whether its metrics tell of the whole installation."""
        return self in (Role.ALL, Role.EXPORTER)


class Faces:
    """Sends a request to the face of its path; 503 when the process does not start in time.

    A process listens before it has started, or nobody could ask how it is. What comes meanwhile
    waits: a proxy repeats no push that it has sent, so 503 at once would fail one in every restart.
    """

    def __init__(self, operations: Operations, patience: float = 5.0) -> None:
        """`patience`: seconds that a request waits for the start."""
        self._operations = operations
        self._patience = patience
        self._opened = asyncio.Event()
        self._distribution: ASGIApp | None = None
        self._token: ASGIApp | None = None
        self._exchange: ASGIApp | None = None
        self._api: ASGIApp | None = None
        self._pages: ASGIApp | None = None
        self._portal: ASGIApp | None = None

    def open(self, resources: Resources, role: Role) -> None:
        """Make the faces of a role."""
        from moorage.roles.figures import install
        from moorage.roles.health import Health

        settings = resources.settings.health
        health = Health(self._operations, role, settings, resources.dashboard, resources.db)
        install(resources, health if role.exporter else None)
        if role.registry:
            from moorage.roles.registry import registry_face

            self._distribution = registry_face(resources)
        if role.core:
            from moorage.roles.core import core_faces

            self._exchange = TokenExchange(resources.exchange)
            self._api, self._pages = core_faces(resources, health)
            if role is Role.ALL and resources.settings.portal.enabled:
                from moorage.roles.portal import portal_face

                self._portal = portal_face(self._api, self._pages, self._leaving)
        if role.registry or role.core:
            service = resources.settings.auth.token_service
            self._token = TokenService(
                resources.callers,
                resources.tokens,
                service=service,
                settings=resources.configurations,
            )
        self._opened.set()

    def open_portal(self, settings: Settings) -> None:
        """Make the face of the role portal, which needs no resources."""
        from moorage.roles.portal import remote_portal

        self._portal, self._operations.probes = remote_portal(settings, self._leaving)
        self._opened.set()

    def _leaving(self) -> bool:
        return self._operations.leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"].startswith("//"):
            scope = _one_slash(scope)
        face = self._face(scope["path"])
        if face is None and not self._opened.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), self._patience)
            face = self._face(scope["path"])
        await (face or self._nothing())(scope, receive, send)

    def _face(self, path: str) -> ASGIApp | None:
        """What answers a path, if the role has it and has started."""
        if path.startswith("/v2"):
            return self._distribution
        if path in OPERATIONS:
            return self._operations
        if path == TOKEN:
            return self._token
        if path == EXCHANGE:
            return self._exchange
        if path.startswith("/api/"):
            return self._api
        if path.startswith("/c/"):
            return self._pages
        return None if path.startswith("/service/") else self._portal

    def _nothing(self) -> ASGIApp:
        if self._opened.is_set():
            return _problem(404, "NOT_FOUND", "not found")
        return _problem(503, "UNAVAILABLE", "starting: waiting for the database")


def _one_slash(scope: Scope) -> Scope:
    """The request as proxies merge it: clients join a host with a slash and `/api/v2.0`."""
    raw = (scope.get("raw_path") or scope["path"].encode()).lstrip(b"/")
    return {**scope, "path": "/" + scope["path"].lstrip("/"), "raw_path": b"/" + raw}


def _problem(status: int, code: str, message: str) -> ASGIApp:
    headers = {"Retry-After": "2"} if status == 503 else None
    return JSONResponse({"errors": [{"code": code, "message": message}]}, status, headers)


Layer = Callable[[ASGIApp, Settings, Metrics, Tracing | None], ASGIApp]

MIDDLEWARE: Sequence[Layer] = (
    lambda app, settings, *_: Forwarded(app, trusted=settings.http.trusted_proxies),
    lambda app, *_: RequestIds(app),
    lambda app, _, __, tracing: Traced(app, tracing=tracing) if tracing else app,
    lambda app, _, metrics, __: Measured(app, metrics=metrics),
    lambda app, *_: Bounded(app),
)
"""The layers of every request, the outermost first."""


def layered(
    faces: ASGIApp, settings: Settings, metrics: Metrics, tracing: Tracing | None = None
) -> ASGIApp:
    """`faces` within all layers."""
    app = faces
    for layer in reversed(MIDDLEWARE):
        app = layer(app, settings, metrics, tracing)
    return app
