"""Projects: /projects and what belongs to one project as a whole."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Header, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access import roles
from moorage.access.principals import Principal
from moorage.api.access import Api, Signed, Who, inside, refusal
from moorage.api.lists import Listed, created, listing, lists
from moorage.api.services import Services
from moorage.api.wire import Number, Text, Wire, reply
from moorage.db.queries import Exact, Fuzzy
from moorage.errors import Denied, Invalid, NotFound, PreconditionFailed
from moorage.projects.records import Project, ProjectRef
from moorage.projects.selectors import Selector
from moorage.remotes import adapters
from moorage.retention.records import Rule, TagSelector

router = APIRouter(tags=["project"])

PULLED_LATELY = Rule(
    "nDaysSinceLastPull",
    7,
    (Selector("doublestar", "repoMatches", "**"),),
    (TagSelector(Selector("doublestar", "matches", "**"), untagged=True),),
)
EVERY_DAY = "0 0 0 * * *"
"""What a proxy cache project keeps until its administrator says otherwise, as in Harbor."""


class ProjectMetadata(Wire):
    """Settings of a project, as strings."""

    public: Text | None = None
    enable_content_trust: Text | None = None
    enable_content_trust_cosign: Text | None = None
    prevent_vul: Text | None = None
    severity: Text | None = None
    auto_scan: Text | None = None
    auto_sbom_generation: Text | None = None
    reuse_sys_cve_allowlist: Text | None = None
    retention_id: Text | None = None
    proxy_speed_kb: Text | None = None
    max_upstream_conn: Text | None = None
    proxy_cache_local_on_not_found: Text | None = None
    proxy_referrer_api: Text | None = None
    proxy_cache_filter_pattern: Text | None = None
    proxy_cache_filter_kind: Text | None = None


class CVEAllowlistItem(Wire):
    """One vulnerability that is let through."""

    cve_id: str = ""


class CVEAllowlist(Wire):
    """Vulnerabilities that are let through."""

    id: int = 0
    project_id: int = 0
    expires_at: int | None = None
    items: list[CVEAllowlistItem] = Field(default_factory=list)
    creation_time: datetime | None = None
    update_time: datetime | None = None


class ProjectReq(Wire):
    """What a client may say of a project."""

    project_name: Annotated[Text, Field(max_length=255)] = ""
    public: bool | None = None
    metadata: ProjectMetadata | None = None
    storage_limit: int | None = Field(default=None, description="Bytes; -1 for no limit.")
    registry_id: Number | None = None


class ProjectResp(Wire):
    """A project."""

    kept: ClassVar[frozenset[str]] = frozenset({"repo_count"})
    project_id: int = 0
    owner_id: int = 0
    name: str = ""
    registry_id: int = 0
    creation_time: datetime | None = None
    update_time: datetime | None = None
    deleted: bool = False
    owner_name: str = ""
    togglable: bool = False
    current_user_role_id: int = 0
    current_user_role_ids: list[int] = Field(default_factory=list)
    repo_count: int = 0
    metadata: ProjectMetadata | None = None
    cve_allowlist: CVEAllowlist | None = None


class ProjectDeletable(Wire):
    """Whether a project can be deleted now."""

    deletable: bool = False
    message: str = ""


class SummaryQuota(Wire):
    """What is used of what, in bytes."""

    hard: dict[str, int] = Field(default_factory=dict)
    used: dict[str, int] = Field(default_factory=dict)


class SummaryRegistry(Wire):
    """The registry that a proxy project reads from."""

    id: int = 0
    name: str = ""


class ProjectSummary(Wire):
    """Counters of a project."""

    kept: ClassVar[frozenset[str]] = frozenset({"repo_count"})
    repo_count: int = 0
    project_admin_count: int = 0
    maintainer_count: int = 0
    developer_count: int = 0
    guest_count: int = 0
    limited_guest_count: int = 0
    quota: SummaryQuota | None = None
    registry: SummaryRegistry | None = None


def render_project(project: Project, *, with_detail: bool = True) -> ProjectResp:
    """A project as its clients read it."""
    public = "true" if project.public else "false"
    values = {**project.metadata, "public": public} if with_detail else {"public": public}
    return ProjectResp(
        project_id=project.id,
        owner_id=project.owner_id,
        name=project.name,
        creation_time=project.created_at,
        update_time=project.updated_at,
        owner_name=project.owner_name,
        registry_id=project.registry_id,
        current_user_role_id=next(iter(project.role_ids), 0),
        current_user_role_ids=list(project.role_ids),
        repo_count=project.repositories,
        metadata=ProjectMetadata(**values),
        cve_allowlist=CVEAllowlist(project_id=project.id) if with_detail else None,
    )


@router.get("/projects", **lists(ProjectResp))
async def list_projects(
    request: Request,
    api: Api,
    who: Who,
    query: Listed,
    name: Annotated[str, Query(description="Part of the name.")] = "",
    public: Annotated[bool | None, Query()] = None,
    owner: Annotated[str, Query(description="The owner's user name.")] = "",
    with_detail: Annotated[bool, Query()] = True,
) -> Response:
    """The projects that the caller may see."""
    if name:
        query = query.with_filter("name", Fuzzy(name))
    if public is not None:
        query = query.with_filter("public", Exact(str(public).lower()))
    if owner:
        query = query.with_filter("owner", Exact(owner))
    page = await api.projects.list(who, query)
    items = [render_project(project, with_detail=with_detail) for project in page.items]
    return listing(request, query, page, items)


@router.head("/projects")
async def head_project(api: Api, who: Signed, project_name: Annotated[str, Query()]) -> Response:
    """Whether a project of that name exists."""
    if await api.grants.project(project_name) is None:
        raise NotFound(f"project {project_name[:255]} not found")
    return Response(status_code=200)


@router.post("/projects", status_code=201)
async def create_project(
    request: Request,
    api: Api,
    who: Signed,
    body: ProjectReq,
    by_name: Annotated[bool, Header(alias="X-Resource-Name-In-Location")] = False,
) -> Response:
    """Make a project; the caller is its first administrator."""
    await _may_create(api, who)
    if body.registry_id:
        await _may_cache(api, who, body.registry_id)
    limit = body.storage_limit if who.sysadmin else None
    values = _values(body, default="false")
    project_id = await api.projects.create(
        who,
        body.project_name,
        values=values,
        limit=limit or None,
        registry_id=body.registry_id or None,
    )
    if body.registry_id:
        await api.retention.create(who, project_id, (PULLED_LATELY,), EVERY_DAY)
    return created(request, body.project_name if by_name else project_id)


async def _may_cache(api: Services, who: Principal, registry_id: int) -> None:
    """A cache reaches out with an account of the installation: administrators decide on it."""
    if not who.sysadmin:
        raise Denied("Only system admin can create proxy cache project")
    try:
        registry = await api.registries.get(registry_id)
    except NotFound as error:
        raise Invalid(error.message) from error
    if not adapters.of(registry.kind).proxied:
        raise Invalid(f"registries of the type {registry.kind} cannot be cached")


async def _may_create(api: Services, who: Principal) -> None:
    if who.sysadmin or ("project", "create") in await api.grants.system(who):
        return
    if who.kind != "user" or who.bounds is not None:
        raise refusal(who)
    if (await api.configurations.current()).project_creation_restriction != "everyone":
        raise Denied("Only system admin can create project")


@router.get("/projects/{project_name_or_id}", response_model=ProjectResp)
async def get_project(
    api: Api, who: Who, ref: Annotated[ProjectRef, inside("project", "read")]
) -> Response:
    """One project."""
    return reply(render_project(await api.projects.by_id(ref.id, who)))


@router.put("/projects/{project_name_or_id}")
async def update_project(
    api: Api, who: Who, body: ProjectReq, ref: Annotated[ProjectRef, inside("project", "update")]
) -> Response:
    """Change settings of a project; its name and its quota stay."""
    await api.projects.change(who, ref.id, _values(body))
    return Response(status_code=200)


@router.delete("/projects/{project_name_or_id}")
async def delete_project(
    api: Api, who: Who, ref: Annotated[ProjectRef, inside("project", "delete")]
) -> Response:
    """Delete a project without repositories."""
    await api.projects.delete(who, ref.id)
    return Response(status_code=200)


@router.get("/projects/{project_name_or_id}/_deletable", response_model=ProjectDeletable)
async def get_project_deletable(
    api: Api, ref: Annotated[ProjectRef, inside("project", "delete")]
) -> Response:
    """Whether the project can be deleted now."""
    try:
        await api.projects.check_deletable(ref.id)
    except PreconditionFailed as error:
        return reply(ProjectDeletable(message=error.message))
    return reply(ProjectDeletable(deletable=True))


@router.get("/projects/{project_name_or_id}/summary", response_model=ProjectSummary)
async def get_project_summary(
    api: Api, who: Who, ref: Annotated[ProjectRef, inside("project", "read")]
) -> Response:
    """Counters; members and quota only for those who may list and read them."""
    project = await api.projects.by_id(ref.id)
    summary = ProjectSummary(repo_count=project.repositories)
    if project.registry_id:
        registry = await api.registries.get(project.registry_id)
        summary.registry = SummaryRegistry(id=registry.id, name=registry.name)
    pairs = await api.grants.within(who, ref)
    if ("member", "list") in pairs:
        members = await api.members.roles(ref.id)
        summary.project_admin_count = members.get(roles.PROJECT_ADMIN, 0)
        summary.developer_count = members.get(roles.DEVELOPER, 0)
        summary.guest_count = members.get(roles.GUEST, 0)
        summary.maintainer_count = members.get(roles.MAINTAINER, 0)
        summary.limited_guest_count = members.get(roles.LIMITED_GUEST, 0)
    if ("quota", "read") in pairs:
        quota = await api.quotas.of_project(ref.id)
        summary.quota = SummaryQuota(hard={"storage": quota.hard}, used={"storage": quota.used})
    return reply(summary)


def _values(body: ProjectReq, *, default: str | None = None) -> dict[str, Any]:
    """The settings that the body names; `public` may be said in two places."""
    values = body.metadata.model_dump(exclude_none=True) if body.metadata else {}
    if "public" not in values:
        public = default if body.public is None else str(body.public).lower()
        if public is not None:
            values["public"] = public
    return values
