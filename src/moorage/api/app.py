"""The application of `/api`. Give it every path below `/api/`, unchanged or through a Mount."""

from fastapi import FastAPI
from starlette.middleware import Middleware

from moorage.api import (
    artifacts,
    configurations,
    members,
    metadatas,
    permissions,
    problems,
    projects,
    quotas,
    repositories,
    robots,
    search,
    system,
    tags,
    trash,
    users,
)
from moorage.api.paths import Paths
from moorage.api.services import Services

PREFIX = "/api/v2.0"

RESOURCES = (
    system,
    configurations,
    search,
    permissions,  # before users: /users/current/permissions
    users,
    projects,
    members,
    metadatas,
    repositories,
    artifacts,
    tags,
    trash,
    robots,
    quotas,
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
        middleware=[Middleware(Paths)],
    )
    app.state.services = services
    for resource in RESOURCES:
        app.include_router(resource.router, prefix=PREFIX)
    app.include_router(system.version_router)
    problems.install(app)
    return app
