"""Repositories: /repositories and /projects/{p}/repositories."""

from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from moorage.api.access import Api, Repository, Signed, Who, inside_named
from moorage.api.lists import Listed, listing, lists
from moorage.api.wire import Text, Wire, reply
from moorage.artifacts import entries
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["repository"])


class RepositoryResp(Wire):
    """A repository."""

    kept: ClassVar[frozenset[str]] = frozenset({"artifact_count", "pull_count"})
    id: int = 0
    project_id: int = 0
    name: str = ""
    description: str = ""
    artifact_count: int = 0
    pull_count: int = 0
    creation_time: datetime | None = None
    update_time: datetime | None = None


class RepositoryReq(Wire):
    """What a client may change of a repository."""

    description: Annotated[Text, Field(max_length=65536)] = ""


def render_repository(repository: entries.Repository) -> RepositoryResp:
    """A repository as its clients read it."""
    return RepositoryResp(
        id=repository.id,
        project_id=repository.project_id,
        name=repository.name,
        description=repository.description,
        artifact_count=repository.artifact_count,
        pull_count=repository.pull_count,
        creation_time=repository.created_at,
        update_time=repository.updated_at,
    )


@router.get("/repositories", **lists(RepositoryResp))
async def list_all_repositories(request: Request, api: Api, who: Who, query: Listed) -> Response:
    """Repositories of every project that the caller may see."""
    page = await api.catalogue.repositories(query, caller=who)
    return listing(request, query, page, [render_repository(item) for item in page.items])


@router.get("/projects/{project_name}/repositories", **lists(RepositoryResp))
async def list_repositories(
    request: Request,
    api: Api,
    query: Listed,
    ref: Annotated[ProjectRef, inside_named("repository", "list")],
) -> Response:
    """Repositories of one project."""
    page = await api.catalogue.repositories(query, project_id=ref.id)
    return listing(request, query, page, [render_repository(item) for item in page.items])


PATH = "/projects/{project_name}/repositories/{repository_name}"


@router.get(PATH, response_model=RepositoryResp)
async def get_repository(
    api: Api, name: Repository, ref: Annotated[ProjectRef, inside_named("repository", "read")]
) -> Response:
    """One repository."""
    return reply(render_repository(await api.catalogue.repository(name)))


@router.put(PATH)
async def update_repository(
    api: Api,
    who: Signed,
    name: Repository,
    body: RepositoryReq,
    ref: Annotated[ProjectRef, inside_named("repository", "update")],
) -> Response:
    """Change the description."""
    await api.catalogue.describe(who, name, body.description)
    return Response(status_code=200)


@router.delete(PATH)
async def delete_repository(
    api: Api,
    who: Who,
    name: Repository,
    ref: Annotated[ProjectRef, inside_named("repository", "delete")],
) -> Response:
    """Delete a repository with everything in it."""
    found = await api.catalogue.repository(name)
    await api.manifests.delete_repository(who, found.name)
    return Response(status_code=200)
