"""Scanners: /scanners, and the one of a project."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Path, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, Signed, in_system, inside
from moorage.api.lists import Listed, created, listing, lists
from moorage.api.services import Services
from moorage.api.wire import Text, Wire, reply
from moorage.errors import AddressRefused, Invalid, Unreachable
from moorage.projects.records import ProjectRef
from moorage.scanning import Metadata, Registration, Settings
from moorage.scanning.registrations import check_url

router = APIRouter(tags=["scanner"])
of_projects = APIRouter(tags=["project"])
PATH = "/scanners/{registration_id}"
OF_PROJECT = "/projects/{project_name_or_id}/scanner"
ScannerId = Annotated[
    str, Path(alias="registration_id", max_length=64, description="The id of the registration.")
]


class ScannerRegistration(Wire):
    """A scanner that is registered, and how it is."""

    kept: ClassVar[frozenset[str]] = frozenset(
        {
            "description",
            "disabled",
            "is_default",
            "auth",
            "access_credential",
            "skip_certVerify",
            "use_internal_addr",
        }
    )
    uuid: str = ""
    name: str = ""
    description: str = ""
    url: str = ""
    disabled: bool = False
    is_default: bool = False
    auth: str = ""
    access_credential: str = Field("", description="Never told.")
    skip_certVerify: bool = False
    use_internal_addr: bool = False
    create_time: datetime | None = None
    update_time: datetime | None = None
    adapter: str = ""
    vendor: str = ""
    version: str = ""
    health: str = ""
    capabilities: dict[str, Any] = Field(default_factory=dict)


class ScannerRegistrationReq(Wire):
    """What an operator says of a scanner."""

    name: Text
    url: Text
    description: Text = ""
    auth: Text = ""
    access_credential: Text = ""
    skip_certVerify: bool = False
    use_internal_addr: bool = False
    disabled: bool = False

    def settings(self) -> Settings:
        """The same for the domain."""
        return Settings(
            name=self.name,
            url=self.url,
            description=self.description,
            auth=self.auth,
            credential=self.access_credential,
            skip_cert_verify=self.skip_certVerify,
            use_internal_addr=self.use_internal_addr,
            disabled=self.disabled,
        )


class ScannerRegistrationSettings(Wire):
    """A scanner to try."""

    name: Text
    url: Text
    auth: Text = ""
    access_credential: Text = ""
    skip_certVerify: bool = False


class Scanner(Wire):
    """The scanner behind an adapter."""

    name: str = ""
    vendor: str = ""
    version: str = ""


class ScannerCapability(Wire):
    """What a scanner reads and writes."""

    kept: ClassVar[frozenset[str]] = frozenset({"type"})
    type: str = ""
    consumes_mime_types: list[str] = Field(default_factory=list)
    produces_mime_types: list[str] = Field(default_factory=list)


class ScannerAdapterMetadata(Wire):
    """What an adapter says of itself."""

    scanner: Scanner | None = None
    capabilities: list[ScannerCapability] = Field(default_factory=list)
    properties: dict[str, str] = Field(default_factory=dict)


class IsDefault(Wire):
    """Whether a scanner is that of projects without a choice of their own."""

    is_default: bool = False


class ProjectScanner(Wire):
    """The scanner that a project chooses."""

    uuid: Text


def _print(scanner: Registration, said: Metadata | None) -> ScannerRegistration:
    printed = ScannerRegistration(
        uuid=scanner.uuid,
        name=scanner.name,
        description=scanner.description,
        url=scanner.url,
        disabled=scanner.disabled,
        is_default=scanner.is_default,
        auth=scanner.auth,
        skip_certVerify=scanner.skip_cert_verify,
        use_internal_addr=scanner.use_internal_addr,
        create_time=scanner.created_at,
        update_time=scanner.updated_at,
        health="unhealthy" if said is None else "healthy",
    )
    if said is not None:
        printed.adapter, printed.vendor, printed.version = said.name, said.vendor, said.version
        printed.capabilities = {
            f"support_{kind}": said.supports(kind) for kind in ("vulnerability", "sbom")
        }
    return printed


async def _printed(api: Services, *scanners: Registration) -> list[ScannerRegistration]:
    said = await api.adapter.known(scanners)
    return [_print(scanner, each) for scanner, each in zip(scanners, said, strict=True)]


@router.get("/scanners", **lists(ScannerRegistration))
async def list_scanners(
    request: Request,
    api: Api,
    query: Listed,
    who: Annotated[Principal, in_system("scanner", "list")],
) -> Response:
    """Every scanner, with how it is now."""
    page = await api.scanners.list(query)
    return listing(request, query, page, await _printed(api, *page.items))


@router.post("/scanners", status_code=201)
async def create_scanner(
    request: Request,
    api: Api,
    body: ScannerRegistrationReq,
    who: Annotated[Principal, in_system("scanner", "create")],
) -> Response:
    """Register a scanner; the first one is that of every project."""
    return created(request, await api.scanners.create(who, body.settings()))


@router.post("/scanners/ping")
async def ping_scanner(
    api: Api,
    body: ScannerRegistrationSettings,
    who: Annotated[Principal, in_system("scanner", "create")],
) -> Response:
    """Whether an adapter is there; 400 says why not."""
    verify = not body.skip_certVerify
    try:
        await api.adapter.ask(check_url(body.url), body.auth, body.access_credential, verify=verify)
    except (Unreachable, AddressRefused) as error:
        raise Invalid(error.message) from error
    return Response(status_code=200)


@router.get(PATH, response_model=ScannerRegistration)
async def get_scanner(
    api: Api, scanner_id: ScannerId, who: Annotated[Principal, in_system("scanner", "read")]
) -> Response:
    """One scanner."""
    (printed,) = await _printed(api, await api.scanners.get(scanner_id))
    return reply(printed)


@router.put(PATH)
async def update_scanner(
    api: Api,
    scanner_id: ScannerId,
    body: ScannerRegistrationReq,
    who: Annotated[Principal, in_system("scanner", "update")],
) -> Response:
    """Replace what is said of a scanner; without a credential the stored one stays."""
    await api.scanners.update(who, scanner_id, body.settings())
    return Response(status_code=200)


@router.delete(PATH, response_model=ScannerRegistration)
async def delete_scanner(
    api: Api, scanner_id: ScannerId, who: Annotated[Principal, in_system("scanner", "delete")]
) -> Response:
    """Forget a scanner; projects that chose it use the default."""
    return reply(_print(await api.scanners.delete(who, scanner_id), None))


@router.patch(PATH)
async def set_scanner_as_default(
    api: Api,
    scanner_id: ScannerId,
    body: IsDefault,
    who: Annotated[Principal, in_system("scanner", "update")],
) -> Response:
    """Make it the scanner of projects without a choice of their own."""
    if not body.is_default:
        raise Invalid("make another scanner the default instead")
    await api.scanners.set_default(who, scanner_id)
    return Response(status_code=200)


@router.get(PATH + "/metadata", response_model=ScannerAdapterMetadata)
async def get_scanner_metadata(
    api: Api, scanner_id: ScannerId, who: Annotated[Principal, in_system("scanner", "read")]
) -> Response:
    """What the adapter says of itself now."""
    said = await api.adapter.metadata(await api.scanners.get(scanner_id))
    return reply(
        ScannerAdapterMetadata(
            scanner=Scanner(name=said.name, vendor=said.vendor, version=said.version),
            capabilities=[
                ScannerCapability(
                    type=each.type,
                    consumes_mime_types=list(each.consumes),
                    produces_mime_types=list(each.produces),
                )
                for each in said.capabilities
            ],
            properties=dict(said.properties),
        )
    )


@of_projects.get(OF_PROJECT, response_model=ScannerRegistration)
async def get_scanner_of_project(
    api: Api, ref: Annotated[ProjectRef, inside("scanner", "read")]
) -> Response:
    """The scanner that a project uses; an empty object without any."""
    scanner = await api.scanners.of_project(ref.id)
    if scanner is None:
        return reply({})
    (printed,) = await _printed(api, scanner)
    return reply(printed)


@of_projects.put(OF_PROJECT)
async def set_scanner_of_project(
    api: Api,
    who: Signed,
    body: ProjectScanner,
    ref: Annotated[ProjectRef, inside("scanner", "create")],
) -> Response:
    """Choose the scanner of a project."""
    await api.scanners.choose(who, ref.id, body.uuid)
    return Response(status_code=200)


@of_projects.get(OF_PROJECT + "/candidates", **lists(ScannerRegistration))
async def list_scanner_candidates_of_project(
    request: Request,
    api: Api,
    query: Listed,
    ref: Annotated[ProjectRef, inside("scanner", "create")],
) -> Response:
    """The scanners that a project may choose."""
    page = await api.scanners.list(query, enabled=True)
    return listing(request, query, page, await _printed(api, *page.items))
