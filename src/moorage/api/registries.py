"""Other registries: /registries, and what kinds of them there are.

What is stored as `access_secret` is never shown again. Absent or all stars in an update, it stays
as long as the server and the account do.
"""

from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, in_system
from moorage.api.lists import Listed, created, listing, lists
from moorage.api.wire import Number, Text, Wire, reply
from moorage.db.queries import LARGEST, Fuzzy
from moorage.remotes import Registry, RegistrySettings
from moorage.remotes.adapters import ADAPTERS, Adapter

router = APIRouter(tags=["registry"])
of_replication = APIRouter(tags=["replication"])
RESOURCE = "registry"
HIDDEN = "*****"
"""What stands for a secret that is stored, as in Harbor."""

_STANDARD = "AccessSecretTypeStandard"

RegistryId = Annotated[int, Path(alias="id", ge=0, le=LARGEST, description="The registry's id.")]


class RegistryCredential(Wire):
    """As whom the registry is used."""

    type: Text = ""
    access_key: Text = ""
    access_secret: Text = ""


class RegistryBody(Wire):
    """Another registry."""

    kept: ClassVar[frozenset[str]] = frozenset({"id"})
    id: Number = 0
    url: Text = ""
    name: Text = ""
    credential: RegistryCredential | None = None
    type: Text = ""
    insecure: bool = False
    ca_certificate: Text | None = None
    description: Text = ""
    status: Text = ""
    creation_time: datetime | None = None
    update_time: datetime | None = None


class RegistryUpdate(Wire):
    """What changes."""

    name: Text | None = None
    description: Text | None = None
    url: Text | None = None
    credential_type: Text | None = None
    access_key: Text | None = None
    access_secret: Text | None = None
    insecure: bool | None = None
    ca_certificate: Text | None = None


class RegistryPing(Wire):
    """A registry that is tried: a stored one, as it is or with changes, or one that is none yet."""

    id: Number | None = None
    type: Text | None = None
    url: Text | None = None
    credential_type: Text | None = None
    access_key: Text | None = None
    access_secret: Text | None = None
    insecure: bool | None = None
    ca_certificate: Text | None = None


class FilterStyle(Wire):
    """A sort of filter, and how its values are written."""

    type: str = ""
    style: str = ""
    values: list[str] = Field(default_factory=list)


class RegistryInfo(Wire):
    """What can be done with a registry."""

    type: str = ""
    description: str = ""
    supported_resource_filters: list[FilterStyle] = Field(default_factory=list)
    supported_triggers: list[str] = Field(default_factory=list)
    supported_copy_by_chunk: bool | None = None


class RegistryEndpoint(Wire):
    """A place where registries of a kind are."""

    key: str = ""
    value: str = ""


class RegistryProviderEndpointPattern(Wire):
    """The places to choose from."""

    endpoint_type: str = ""
    endpoints: list[RegistryEndpoint] = Field(default_factory=list)


class RegistryProviderCredentialPattern(Wire):
    """How credentials are given."""

    access_key_type: str = ""
    access_key_data: str = ""
    access_secret_type: str = ""
    access_secret_data: str = ""


class RegistryProviderInfo(Wire):
    """A kind of registries."""

    endpoint_pattern: RegistryProviderEndpointPattern | None = None
    credential_pattern: RegistryProviderCredentialPattern | None = None


def print_registry(registry: Registry) -> RegistryBody:
    """A registry, without its secret."""
    credential = None
    if registry.username:
        credential = RegistryCredential(
            type=registry.credential_type,
            access_key=registry.username,
            access_secret=HIDDEN if registry.sealed else "",
        )
    return RegistryBody(
        id=registry.id,
        url=registry.url,
        name=registry.name,
        credential=credential,
        type=registry.kind,
        insecure=registry.insecure,
        ca_certificate=registry.ca_certificate or None,
        description=registry.description,
        status=registry.status,
        creation_time=registry.created_at,
        update_time=registry.updated_at,
    )


def _secret(sent: str | None) -> str | None:
    """None when what was sent stands for the stored one."""
    return None if sent is None or (sent and set(sent) == {"*"}) else sent


@router.post("/registries", status_code=201)
async def create_registry(
    request: Request,
    api: Api,
    who: Annotated[Principal, in_system(RESOURCE, "create")],
    body: RegistryBody,
) -> Response:
    """Register a registry that answers."""
    credential = body.credential or RegistryCredential()
    said = RegistrySettings(
        name=body.name,
        description=body.description,
        kind=body.type,
        url=body.url,
        credential_type=credential.type,
        username=credential.access_key,
        password=credential.access_secret,
        insecure=body.insecure,
        ca_certificate=body.ca_certificate or "",
    )
    return created(request, await api.registries.create(who, said))


@router.get("/registries", **lists(RegistryBody))
async def list_registries(
    request: Request,
    api: Api,
    who: Annotated[Principal, in_system(RESOURCE, "list")],
    query: Listed,
    name: Annotated[str, Query(description="Part of the name.")] = "",
) -> Response:
    """Registries, by name."""
    if name:
        query = query.with_filter("name", Fuzzy(name))
    page = await api.registries.list(query)
    return listing(request, query, page, [print_registry(each) for each in page.items])


@router.post("/registries/ping")
async def ping_registry(
    api: Api, who: Annotated[Principal, in_system(RESOURCE, "read")], body: RegistryPing
) -> Response:
    """Whether a registry answers; 400 when it does not."""
    said = RegistrySettings(
        kind=body.type or None,
        url=body.url or None,
        username=body.access_key,
        password=_secret(body.access_secret),
        insecure=body.insecure,
        ca_certificate=body.ca_certificate,
    )
    await api.registries.ping(said, body.id or None)
    return Response(status_code=200)


@router.get("/registries/{id}", response_model=RegistryBody)
async def get_registry(
    api: Api, registry_id: RegistryId, who: Annotated[Principal, in_system(RESOURCE, "read")]
) -> Response:
    """One registry."""
    return reply(print_registry(await api.registries.get(registry_id)))


@router.put("/registries/{id}")
async def update_registry(
    api: Api,
    registry_id: RegistryId,
    who: Annotated[Principal, in_system(RESOURCE, "update")],
    body: RegistryUpdate,
) -> Response:
    """Change a registry; it has to answer."""
    said = RegistrySettings(
        name=body.name,
        description=body.description,
        url=body.url,
        credential_type=body.credential_type,
        username=body.access_key,
        password=_secret(body.access_secret),
        insecure=body.insecure,
        ca_certificate=body.ca_certificate,
    )
    await api.registries.update(who, registry_id, said)
    return Response(status_code=200)


@router.delete("/registries/{id}")
async def delete_registry(
    api: Api, registry_id: RegistryId, who: Annotated[Principal, in_system(RESOURCE, "delete")]
) -> Response:
    """Forget a registry that nothing refers to."""
    await api.registries.delete(who, registry_id)
    return Response(status_code=200)


@router.get("/registries/{id}/info", response_model=RegistryInfo)
async def get_registry_info(
    api: Api, registry_id: RegistryId, who: Annotated[Principal, in_system(RESOURCE, "read")]
) -> Response:
    """What policies can ask of a registry; 0 is this one."""
    kind = "harbor" if registry_id == 0 else (await api.registries.get(registry_id)).kind
    adapter = ADAPTERS[kind]
    styles = [
        FilterStyle(type="name", style="input"),
        FilterStyle(type="tag", style="input"),
        FilterStyle(type="resource", style="radio", values=["image", "artifact", "chart"]),
    ]
    if registry_id == 0 or adapter.labels:
        styles.append(FilterStyle(type="label", style="list"))
    return reply(
        RegistryInfo(
            type=kind,
            description=adapter.title,
            supported_resource_filters=styles,
            supported_triggers=["manual", "scheduled", "event_based"],
            supported_copy_by_chunk=True,
        )
    )


@of_replication.get("/replication/adapters", response_model=list[str])
async def list_registry_provider_types(
    who: Annotated[Principal, in_system("replication-adapter", "list")],
) -> Response:
    """The kinds of registries."""
    return reply(sorted(ADAPTERS))


@of_replication.get("/replication/adapterinfos", response_model=dict[str, RegistryProviderInfo])
async def list_registry_provider_infos(
    who: Annotated[Principal, in_system("replication-adapter", "list")],
) -> Response:
    """What a form for each kind shows."""
    return reply({kind: _info(adapter) for kind, adapter in sorted(ADAPTERS.items())})


def _info(adapter: Adapter) -> RegistryProviderInfo:
    endpoints = [
        RegistryEndpoint(key=name, value=url) for name, url in (adapter.endpoints or {}).items()
    ]
    pattern = "EndpointPatternTypeFix" if len(endpoints) == 1 else "EndpointPatternTypeList"
    return RegistryProviderInfo(
        endpoint_pattern=RegistryProviderEndpointPattern(
            endpoint_type=pattern if endpoints else "EndpointPatternTypeStandard",
            endpoints=endpoints,
        ),
        credential_pattern=RegistryProviderCredentialPattern(
            access_key_type="AccessKeyTypeStandard", access_secret_type=_STANDARD
        ),
    )
