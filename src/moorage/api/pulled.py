"""What was pulled, day by day and name by name; what was held. Ours, not Harbor's.

Figures are open to whoever may list what they are about. Who pulled is told to those alone who may
read the project's log, which says the same.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, ClassVar

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.api.access import Api, Repository, inside, inside_named
from moorage.api.lists import Paged, listing, lists
from moorage.api.repositories import PATH as REPOSITORY
from moorage.api.wire import Wire, reply
from moorage.artifacts.pulldays import ARTIFACT, CALLER, TAG
from moorage.artifacts.pulldays import REPOSITORY as REPOSITORIES
from moorage.artifacts.pullreports import Day, Named
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["usage"])

PROJECT = "/projects/{project_name_or_id}"
MAX_DAYS = 1000

Days = Annotated[
    int, Query(ge=1, le=MAX_DAYS, description="So many days until today, which counts, in UTC.")
]
OfProject = Annotated[ProjectRef, inside("repository", "list")]
OfRepository = Annotated[ProjectRef, inside_named("artifact", "list")]
ReadsLog = Annotated[ProjectRef, inside("log", "list")]
ReadsLogOf = Annotated[ProjectRef, inside_named("log", "list")]


class PullDayResp(Wire):
    """What was pulled on one day."""

    kept: ClassVar[frozenset[str]] = frozenset({"pulls", "bytes"})
    day: date
    pulls: int = 0
    bytes: int = Field(
        default=0,
        description="What the pulled manifests and their layers weigh, whether the client had some "
        "of it already; of an index itself alone, as its platforms are pulls of their own.",
    )


class PulledResp(Wire):
    """What was pulled under one name."""

    kept: ClassVar[frozenset[str]] = frozenset({"name", "pulls", "bytes"})
    name: str = Field(default="", description="Empty: callers who were not signed in.")
    pulls: int = 0
    bytes: int = 0


class StorageDayResp(Wire):
    """Bytes of a project as they were noted on one day."""

    kept: ClassVar[frozenset[str]] = frozenset({"logical", "unique", "physical", "shared"})
    day: date
    logical: int = Field(default=0, description="As often as an artifact refers to it.")
    unique: int = Field(default=0, description="Each digest once: what the quota counts.")
    physical: int = Field(default=0, description="Objects that no other project holds.")
    shared: int = Field(default=0, description="Objects that other projects hold as well.")


class RepositoryDayResp(Wire):
    """Bytes of a repository as they were noted on one day."""

    kept: ClassVar[frozenset[str]] = frozenset({"physical", "shared"})
    day: date
    physical: int = Field(default=0, description="Objects that no other repository holds.")
    shared: int = Field(default=0, description="Objects that other repositories hold as well.")


class RepositoryStorageResp(Wire):
    """Bytes of a repository as they were noted last."""

    kept: ClassVar[frozenset[str]] = frozenset({"physical", "shared"})
    name: str = ""
    physical: int = Field(default=0, description="Objects that no other repository holds.")
    shared: int = Field(default=0, description="Objects that other repositories hold as well.")


def _days(found: Sequence[Day]) -> Response:
    return _figures([{"day": each.day, "pulls": each.pulls, "bytes": each.size} for each in found])


def _figures(days: Sequence[Mapping[str, date | int]]) -> Response:
    """Days by the hundred: no figure is left out for being zero, so each is printed as it is."""
    return reply(orjson.Fragment(orjson.dumps(days)))


def _named(found: Sequence[Named]) -> list[PulledResp]:
    return [PulledResp(name=each.name, pulls=each.pulls, bytes=each.size) for each in found]


# --- a project


@router.get(PROJECT + "/usage/pulls", response_model=list[PullDayResp])
async def get_project_pulls(api: Api, ref: OfProject, days: Days = 30) -> Response:
    """Pulls of each day, the first day first."""
    return _days(await api.pull_reports.of_project(ref.id, days))


@router.get(PROJECT + "/usage/pulls/repositories", **lists(PulledResp))
async def list_pulled_repositories(
    request: Request, api: Api, query: Paged, ref: OfProject, days: Days = 30
) -> Response:
    """Repositories of the project, those that were pulled most first."""
    page = await api.pull_reports.within_project(ref.id, REPOSITORIES, days, query)
    return listing(request, query, page, _named(page.items))


@router.get(PROJECT + "/usage/pulls/callers", **lists(PulledResp))
async def list_project_callers(
    request: Request, api: Api, query: Paged, ref: ReadsLog, days: Days = 30
) -> Response:
    """Who pulled from the project, whoever pulled most first."""
    page = await api.pull_reports.within_project(ref.id, CALLER, days, query)
    return listing(request, query, page, _named(page.items))


@router.get(PROJECT + "/usage/storage", response_model=list[StorageDayResp])
async def get_project_storage(
    api: Api, ref: Annotated[ProjectRef, inside("quota", "read")], days: Days = 30
) -> Response:
    """Bytes of the project on each day on which they were noted, the first day first."""
    found = await api.storage_days.of_project(ref.id, days)
    return _figures(
        [
            {
                "day": each.day,
                "logical": each.usage.logical,
                "unique": each.usage.unique,
                "physical": each.usage.physical,
                "shared": each.usage.shared,
            }
            for each in found
        ]
    )


@router.get(PROJECT + "/usage/storage/repositories", **lists(RepositoryStorageResp))
async def list_repository_storage(
    request: Request, api: Api, query: Paged, ref: Annotated[ProjectRef, inside("quota", "read")]
) -> Response:
    """Repositories of the project as their bytes were noted last, the largest first."""
    page = await api.storage_days.repositories(ref.id, query)
    items = [
        RepositoryStorageResp(
            name=each.repository, physical=each.held.physical, shared=each.held.shared
        )
        for each in page.items
    ]
    return listing(request, query, page, items)


# --- a repository


@router.get(REPOSITORY + "/usage/pulls", response_model=list[PullDayResp])
async def get_repository_pulls(
    api: Api,
    name: Repository,
    ref: OfRepository,
    days: Days = 30,
    digest: Annotated[str, Query(max_length=135, description="Of this artifact alone.")] = "",
    tag: Annotated[str, Query(max_length=128, description="By this tag alone.")] = "",
) -> Response:
    """Pulls of each day, the first day first."""
    found = await api.pull_reports.of_repository(name, days, digest=digest, tag=tag)
    return _days(found)


@router.get(REPOSITORY + "/usage/pulls/artifacts", **lists(PulledResp))
async def list_pulled_artifacts(
    request: Request, api: Api, query: Paged, name: Repository, ref: OfRepository, days: Days = 30
) -> Response:
    """Digests of the repository, those that were pulled most first."""
    page = await api.pull_reports.within_repository(name, ARTIFACT, days, query)
    return listing(request, query, page, _named(page.items))


@router.get(REPOSITORY + "/usage/pulls/tags", **lists(PulledResp))
async def list_pulled_tags(
    request: Request, api: Api, query: Paged, name: Repository, ref: OfRepository, days: Days = 30
) -> Response:
    """Tags of the repository, those by which was pulled most first."""
    page = await api.pull_reports.within_repository(name, TAG, days, query)
    return listing(request, query, page, _named(page.items))


@router.get(REPOSITORY + "/usage/pulls/callers", **lists(PulledResp))
async def list_repository_callers(
    request: Request, api: Api, query: Paged, name: Repository, ref: ReadsLogOf, days: Days = 30
) -> Response:
    """Who pulled from the repository, whoever pulled most first."""
    page = await api.pull_reports.within_repository(name, CALLER, days, query)
    return listing(request, query, page, _named(page.items))


@router.get(REPOSITORY + "/usage/storage", response_model=list[RepositoryDayResp])
async def get_repository_storage(
    api: Api,
    name: Repository,
    ref: Annotated[ProjectRef, inside_named("quota", "read")],
    days: Days = 30,
) -> Response:
    """Bytes of the repository on each day on which they were noted, the first day first."""
    found = await api.storage_days.of_repository(name, days)
    return _figures(
        [
            {"day": each.day, "physical": each.held.physical, "shared": each.held.shared}
            for each in found
        ]
    )
