"""Search over projects, repositories and artifacts, and the statistics of the front page."""

from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.api.access import Api, Signed, Who
from moorage.api.lists import Paged, listing, lists
from moorage.api.projects import ProjectResp, render_project
from moorage.api.wire import Wire, reply
from moorage.artifacts.finding import Hit
from moorage.db.queries import Fuzzy
from moorage.db.queries import Query as ListQuery
from moorage.web.paging import MAX_PAGE_SIZE

router = APIRouter()


class SearchRepository(Wire):
    """A repository that was found."""

    project_id: int = 0
    project_name: str = ""
    project_public: bool = False
    repository_name: str = ""
    pull_count: int = 0
    artifact_count: int = 0


class Search(Wire):
    """What was found."""

    project: list[ProjectResp] = Field(default_factory=list)
    repository: list[SearchRepository] = Field(default_factory=list)


class FoundArtifact(Wire):
    """An artifact that was found, by one of its tags or by its digest. Ours, not Harbor's."""

    kept: ClassVar[frozenset[str]] = frozenset({"project_public", "size"})
    project_id: int = 0
    project_public: bool = False
    repository_name: str = ""
    tag: str = ""
    digest: str = ""
    type: str = ""
    size: int = 0
    push_time: datetime | None = None
    pull_time: datetime | None = None


class Statistic(Wire):
    """How much there is that the caller may see."""

    kept: ClassVar[frozenset[str]] = frozenset(
        {
            "private_project_count",
            "private_repo_count",
            "public_project_count",
            "public_repo_count",
            "total_project_count",
            "total_repo_count",
            "total_storage_consumption",
        }
    )
    private_project_count: int = 0
    private_repo_count: int = 0
    public_project_count: int = 0
    public_repo_count: int = 0
    total_project_count: int = 0
    total_repo_count: int = 0
    total_storage_consumption: int = 0


@router.get("/search", tags=["search"], response_model=Search)
async def search(
    api: Api, who: Who, q: Annotated[str, Query(description="Part of a name.", max_length=255)]
) -> Response:
    """Projects and repositories whose name holds the text; at most 100 of each."""
    query = ListQuery({"name": Fuzzy(q)}, size=MAX_PAGE_SIZE)
    found = await api.projects.list(who, query)
    repositories = await api.catalogue.repositories(query, caller=who)
    return reply(
        Search(
            project=[render_project(project) for project in found.items],
            repository=[
                SearchRepository(
                    project_id=item.project_id,
                    project_name=item.name.partition("/")[0],
                    project_public=item.project_public,
                    repository_name=item.name,
                    pull_count=item.pull_count,
                    artifact_count=item.artifact_count,
                )
                for item in repositories.items
            ],
        )
    )


@router.get("/search/artifacts", tags=["search"], **lists(FoundArtifact))
async def search_artifacts(
    request: Request,
    api: Api,
    who: Who,
    query: Paged,
    q: Annotated[
        str,
        Query(
            description="Part of a tag or digest; part of a repository's name before : or @.",
            max_length=255,
        ),
    ],
) -> Response:
    """Artifacts by a part of a tag or digest, in all projects that the caller may look into.

    What fits exactly comes first, then what begins with the text; 1000 are counted at most.
    """
    found = await api.finding.artifacts(who, q, query)
    return listing(request, query, found, [_artifact(hit) for hit in found.items])


def _artifact(hit: Hit) -> FoundArtifact:
    return FoundArtifact(
        project_id=hit.project_id,
        project_public=hit.project_public,
        repository_name=hit.repository_name,
        tag=hit.tag,
        digest=hit.digest,
        type=hit.type,
        size=hit.size,
        push_time=hit.pushed_at,
        pull_time=hit.pulled_at,
    )


@router.get("/statistics", tags=["statistic"], response_model=Statistic)
async def get_statistic(api: Api, who: Signed) -> Response:
    """Counts of projects and repositories; the bytes are for administrators."""
    counts = await api.projects.counts(who)
    return reply(
        Statistic(
            private_project_count=counts["private_project"],
            private_repo_count=counts["private_repo"],
            public_project_count=counts["public_project"],
            public_repo_count=counts["public_repo"],
            total_project_count=counts["private_project"] + counts["public_project"],
            total_repo_count=counts["private_repo"] + counts["public_repo"],
            total_storage_consumption=await api.quotas.total_used() if who.sysadmin else 0,
        )
    )
