"""What the role portal answers: the pages. It needs no database, only the API.

one process   ─► the API's own application, without a socket
--role portal ─► `portal.core_url`, over HTTP
"""

import ssl
from collections.abc import Callable, Mapping

import httpx2
from starlette.types import ASGIApp, Receive, Scope, Send

from moorage.config.settings import Settings
from moorage.ops.endpoints import Probe
from moorage.portal import Portal, PortalApi
from moorage.portal.core import InProcess, OverHttp

CONNECTIONS = 100


def portal_face(api: ASGIApp, pages: ASGIApp, leaving: Callable[[], bool]) -> ASGIApp:
    """The pages over the API and the sign-in of this process."""

    async def core(scope: Scope, receive: Receive, send: Send) -> None:
        face = pages if scope["path"].startswith("/c/") else api
        await face(scope, receive, send)

    return Portal(PortalApi(InProcess(core)), leaving)


def remote_portal(
    settings: Settings, leaving: Callable[[], bool]
) -> tuple[ASGIApp, Mapping[str, Probe]]:
    """The pages over the API at `portal.core_url`, and whether that answers.

    The address is the operator's own, as those of the database and of Redis are: the guard for
    addresses that users name has no say here.
    """
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    trust = ssl.create_default_context(cafile=settings.portal.ca_file)
    transport = httpx2.AsyncHTTPTransport(verify=trust, limits=limits, trust_env=False, retries=1)
    probing = httpx2.AsyncClient(transport=transport, base_url=settings.portal.core_url, timeout=3)

    async def core() -> str:
        try:
            answer = await probing.get("/api/v2.0/ping")
        except httpx2.TransportError:
            return "the API does not answer"
        return "" if answer.status_code == 200 else f"the API answers {answer.status_code}"

    api = PortalApi(OverHttp(transport, settings.portal.core_url))
    return Portal(api, leaving), {"core": core}
