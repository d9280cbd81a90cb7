"""The application of `/api`. Give it every path below `/api/`, unchanged or through a Mount."""

from fastapi import Depends, FastAPI, Request
from starlette.middleware import Middleware

from moorage.api import (
    access_tokens,
    additions,
    artifact_labels,
    artifacts,
    audit,
    configurations,
    federation,
    gc,
    icons,
    immutable,
    jobservice,
    labels,
    ldap,
    members,
    metadatas,
    oidc,
    permissions,
    problems,
    projects,
    pulled,
    purge,
    quotas,
    registries,
    replications,
    repositories,
    repository_tags,
    retentions,
    robots,
    scanners,
    search,
    system,
    tag_history,
    tags,
    trash,
    usage,
    usergroups,
    users,
    webhooks,
)
from moorage.api.access import Api
from moorage.api.document import describe, operation_id
from moorage.api.lists import PREFIX
from moorage.api.paths import Paths
from moorage.api.services import Services
from moorage.web.readonly import check_writable

RESOURCES = (
    # A path is looked for in one after the other: first what pages of the portal ask for.
    system,
    permissions,  # before users: /users/current/permissions
    access_tokens,  # /users/current/tokens
    users,
    projects,
    repository_tags,
    artifacts,
    pulled,
    labels,
    retentions,
    repositories,
    artifact_labels,
    additions,
    tags,
    tag_history,
    search,
    configurations,
    usergroups,
    ldap,
    oidc,
    members,
    metadatas,
    icons,
    immutable,
    trash,
    robots,
    federation,
    quotas,
    usage,
    scanners,
    registries,
    replications,
    audit,
    gc,
    purge,
    jobservice,
    webhooks,
)


def create_api(services: Services) -> FastAPI:
    """An application that answers `/api/v2.0/…` and `/api/version` with these objects."""
    app = FastAPI(
        title="Moorage",
        version="2.0",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        middleware=[Middleware(Paths)],
        dependencies=[Depends(_writable)],
    )
    app.state.services = services
    for resource in RESOURCES:
        app.include_router(resource.router, prefix=PREFIX)
    app.include_router(audit.of_projects, prefix=PREFIX)
    app.include_router(scanners.of_projects, prefix=PREFIX)
    app.include_router(registries.of_replication, prefix=PREFIX)
    app.include_router(webhooks.of_jobs, prefix=PREFIX)
    app.include_router(system.version_router)
    problems.install(app)
    describe(app)
    return app


async def _writable(request: Request, api: Api) -> None:
    """Whoever switched changes off must be able to switch them on again."""
    if request.scope["path"] != f"{PREFIX}/configurations":
        await check_writable(request.method, api.configurations)
