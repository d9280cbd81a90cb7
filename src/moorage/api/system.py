"""The installation itself: /health, /ping, /systeminfo, /api/version."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import PlainTextResponse, Response

from moorage.access.principals import Principal
from moorage.api.access import Api, Who, in_system
from moorage.api.services import COMPONENTS, VITAL
from moorage.api.wire import Wire, reply
from moorage.errors import NotFound

router = APIRouter()
version_router = APIRouter()


class ComponentHealthStatus(Wire):
    """How one part is."""

    name: str = ""
    status: str = ""
    error: str = ""


class OverallHealthStatus(Wire):
    """How all parts are."""

    status: str = ""
    components: list[ComponentHealthStatus] = Field(default_factory=list)


class AuthproxySetting(Wire):
    """The authentication proxy."""

    endpoint: str = ""
    tokenreivew_endpoint: str = ""  # so spelled in the contract
    skip_search: bool = False
    verify_cert: bool = False
    server_certificate: str = ""


class GeneralInfo(Wire):
    """What the installation tells of itself; to nobody less than to somebody."""

    banner_message: str | None = None
    current_time: datetime | None = None
    registry_url: str | None = None
    external_url: str | None = None
    auth_mode: str | None = None
    primary_auth_mode: bool | None = None
    project_creation_restriction: str | None = None
    self_registration: bool | None = None
    has_ca_root: bool | None = None
    harbor_version: str | None = None
    registry_storage_provider_name: str | None = None
    read_only: bool | None = None
    notification_enable: bool | None = None
    authproxy_settings: AuthproxySetting | None = None
    oidc_provider_name: str | None = None


class Storage(Wire):
    """A volume, in bytes."""

    total: int = 0
    free: int = 0


class SystemInfo(Wire):
    """The volumes."""

    storage: list[Storage] = Field(default_factory=list)


class Version(Wire):
    """The version of the API."""

    version: str = ""


@router.get("/health", tags=["health"], response_model=OverallHealthStatus)
async def get_health(api: Api) -> Response:
    """How the parts are; always 200."""
    found = await api.health.check()
    components = [
        ComponentHealthStatus(
            name=name, status="unhealthy" if found[name] else "healthy", error=found[name]
        )
        for name in COMPONENTS
        if name in found
    ]
    wrong = {name for name, why in found.items() if why}
    status = "unhealthy" if wrong & VITAL else "degraded" if wrong else "healthy"
    return reply(OverallHealthStatus(status=status, components=components))


@router.get("/ping", tags=["ping"], response_class=PlainTextResponse)
async def get_ping() -> Response:
    """`Pong`, without asking any other part."""
    return PlainTextResponse("Pong")


@router.get("/systeminfo", tags=["systeminfo"], response_model=GeneralInfo)
async def get_system_info(api: Api, who: Who) -> Response:
    """What a client needs before and after it signed in."""
    system = api.system
    settings = await api.configurations.current()
    values: dict[str, Any] = {
        "auth_mode": settings.auth_mode,
        "primary_auth_mode": settings.primary_auth_mode,
        "self_registration": settings.self_registration,
        "banner_message": settings.banner_message,
    }
    if settings.auth_mode == "oidc_auth":
        values["oidc_provider_name"] = settings.oidc_name
    if who.kind != "anonymous":
        values |= {
            "current_time": api.clock.now(),
            "registry_url": system.registry_url,
            "external_url": system.external_url,
            "project_creation_restriction": settings.project_creation_restriction,
            "has_ca_root": system.ca_certificate is not None,
            "harbor_version": system.version,
            "registry_storage_provider_name": system.storage,
            "read_only": settings.read_only,
            "notification_enable": settings.notification_enable,
        }
    info = GeneralInfo(**values)
    return reply(info)


@router.get("/systeminfo/volumes", tags=["systeminfo"], response_model=SystemInfo)
async def get_volumes(
    api: Api, who: Annotated[Principal, in_system("system-volumes", "read")]
) -> Response:
    """The room on the volume of the blobs; zeros for an object store."""
    total, free = await api.system.volume() if api.system.volume else (0, 0)
    return reply(SystemInfo(storage=[Storage(total=total, free=free)]))


@router.get("/systeminfo/getcert", tags=["systeminfo"], response_class=Response)
async def get_cert(api: Api) -> Response:
    """The certificate of the authority that signed this server's, when there is one."""
    if api.system.ca_certificate is None:
        raise NotFound("no certificate found")
    return Response(
        api.system.ca_certificate,
        media_type="application/octet-stream",
        headers={"Content-Disposition": "attachment; filename=ca.crt"},
    )


@version_router.get("/api/version", tags=["version"], response_model=Version)
async def get_version() -> Response:
    """The version of the API."""
    return reply(Version(version="v2.0"))
