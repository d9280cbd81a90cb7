"""Who calls, and whether he may: dependencies that a handler names in its signature.

    inside("member", "list")        the project of {project_name_or_id}, when the caller may
    inside_named("tag", "list")     the project of {project_name}
    in_system("quota", "list")      the caller, when he may in the system scope
    Signed                          the caller, when he is somebody
    InPerson                        the same, unless the account was lent to him

A project that is not there answers as one without rights: 401 to nobody, 403 to somebody, and
404 only to a system administrator, so that names cannot be guessed.
"""

from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request
from starlette.exceptions import HTTPException

from moorage.access.principals import Principal
from moorage.access.roles import Pairs
from moorage.api.paths import repository_name
from moorage.api.services import Services
from moorage.errors import Denied, MoorageError, ProjectUnknown, Unauthenticated
from moorage.projects.records import ProjectRef
from moorage.web.callers import Caller
from moorage.web.csrf import SESSION_COOKIE, cookies


async def services(request: Request) -> Services:
    """The objects that the role gave to `create_api`.

    Like every dependency it is `async`: FastAPI lends others a thread, for each request.
    """
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


Api = Annotated[Services, Depends(services)]


async def _identify(request: Request, api: Api) -> Caller:
    header = next((v for k, v in request.scope["headers"] if k == b"authorization"), None)
    session = cookies(request.scope).get(SESSION_COOKIE)
    if header is None and session:
        polls = "x-harbor-no-session-renewal" in request.headers
        return await api.callers.resume(session, renew=not polls)
    address = request.client.host if request.client else ""
    caller = await api.callers.identify(header, address)
    if caller.access is not None:
        raise Unauthenticated("a token of the registry does not open this API")
    return caller


async def _principal(caller: Annotated[Caller, Depends(_identify)]) -> Principal:
    return caller.principal


Who = Annotated[Principal, Depends(_principal)]
"""Whoever calls, also nobody."""


async def _signed(who: Who) -> Principal:
    if who.kind == "anonymous":
        raise Unauthenticated("authentication is required")
    return who


Signed = Annotated[Principal, Depends(_signed)]
"""The caller; 401 for nobody."""


async def _in_person(who: Signed) -> Principal:
    if who.via:
        raise Denied("a token or CLI secret cannot do this; sign in with a name and a password")
    return who


InPerson = Annotated[Principal, Depends(_in_person)]
"""The caller, by the account's own secret: what was lent makes and changes no credentials."""


async def _admin(who: Signed) -> Principal:
    if not who.sysadmin:
        raise refusal(who)
    return who


Admin = Annotated[Principal, Depends(_admin)]
"""A system administrator; 401 or 403 for all others."""

IsName = Annotated[
    bool, Header(alias="X-Is-Resource-Name", description="The path names the project, not its id.")
]
ProjectName = Annotated[str, Path(description="The name of the project.")]
NameOrId = Annotated[str, Path(description="The name or the id of the project.")]


def refusal(who: Principal) -> MoorageError:
    """Why nothing happens: 401 for nobody, 403 for somebody."""
    if who.kind == "anonymous":
        return Unauthenticated("authentication is required")
    return Denied("the caller has no permission for this")


def not_cached(ref: ProjectRef) -> None:
    """Raises 405 for a project that is a cache: only the registry behind adds anything to it."""
    if ref.registry_id:
        raise HTTPException(405, "the operation is not supported in a proxy project")


async def allowed(api: Services, who: Principal, ref: ProjectRef | None, *pair: str) -> ProjectRef:
    """Return `ref` when the caller holds the pair in it; raises what the client shall see."""
    if ref is None:
        raise ProjectUnknown("project not found") if who.sysadmin else refusal(who)
    if pair not in await api.grants.within(who, ref):
        raise refusal(who)
    return ref


async def pairs_of(api: Services, who: Principal, ref: ProjectRef) -> Pairs:
    """Everything that the caller may do in the project."""
    return await api.grants.within(who, ref)


async def find(api: Services, name_or_id: str, is_name: bool) -> ProjectRef | None:
    """A project by what the path says; digits are an id unless the header says otherwise."""
    if not is_name and name_or_id.isascii() and name_or_id.isdigit():
        number = int(name_or_id) if len(name_or_id) < 19 else 0
        return await api.grants.project_by_id(number) if number else None
    return await api.grants.project(name_or_id)


def inside(resource: str, action: str) -> Any:
    """Dependency: the project of `{project_name_or_id}`."""

    async def check(
        api: Api, who: Who, project_name_or_id: NameOrId, is_name: IsName = False
    ) -> ProjectRef:
        ref = await find(api, repository_name(project_name_or_id), is_name)
        return await allowed(api, who, ref, resource, action)

    return Depends(check)


def inside_named(resource: str, action: str) -> Any:
    """Dependency: the project of `{project_name}`."""

    async def check(api: Api, who: Who, project_name: ProjectName) -> ProjectRef:
        ref = await api.grants.project(repository_name(project_name))
        return await allowed(api, who, ref, resource, action)

    return Depends(check)


def in_system(resource: str, action: str) -> Any:
    """Dependency: the caller, who holds the pair in the system scope."""

    async def check(api: Api, who: Who) -> Principal:
        if (resource, action) not in await api.grants.system(who):
            raise refusal(who)
        return who

    return Depends(check)


async def _repository(
    project_name: ProjectName,
    repository_name_: Annotated[
        str,
        Path(
            alias="repository_name",
            description="The name within the project; a slash in it is escaped twice: a%252Fb.",
        ),
    ],
) -> str:
    return f"{repository_name(project_name)}/{repository_name(repository_name_)}"


Repository = Annotated[str, Depends(_repository)]
"""The full name of the repository that the path names."""
