"""The trash: deleted artifacts that can still come back. Ours, not Harbor's."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from moorage.api.access import Api, Repository, Who, inside_named
from moorage.api.lists import Listed, listing, lists
from moorage.api.repositories import PATH as REPOSITORY
from moorage.api.wire import Wire, reply
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["trash"])


class TrashedResp(Wire):
    """A deleted artifact."""

    id: int = 0
    repository_name: str = ""
    digest: str = ""
    manifest_media_type: str = ""
    tags: list[str] = Field(default_factory=list)
    deleted_by: str = ""
    deleted_at: datetime | None = None
    expires_at: datetime | None = None


class RestoredResp(Wire):
    """An artifact that came back, with those of its tags that were free."""

    digest: str = ""
    tags: list[str] = Field(default_factory=list)


@router.get("/projects/{project_name}/trash", **lists(TrashedResp))
async def list_trash(
    request: Request,
    api: Api,
    query: Listed,
    ref: Annotated[ProjectRef, inside_named("artifact", "delete")],
) -> Response:
    """Deleted artifacts of a project, the last deleted first."""
    page = await api.trash.list(ref.id, query)
    items = [
        TrashedResp(
            id=item.id,
            repository_name=item.repository_name,
            digest=item.digest,
            manifest_media_type=item.media_type,
            tags=list(item.tags),
            deleted_by=item.deleted_by,
            deleted_at=item.deleted_at,
            expires_at=item.expires_at,
        )
        for item in page.items
    ]
    return listing(request, query, page, items)


@router.post(REPOSITORY + "/trash/{digest}/restore", response_model=RestoredResp)
async def restore_artifact(
    api: Api,
    who: Who,
    name: Repository,
    digest: str,
    ref: Annotated[ProjectRef, inside_named("artifact", "delete")],
) -> Response:
    """Bring a deleted artifact back."""
    restored = await api.manifests.restore(who, name, digest)
    return reply(RestoredResp(digest=restored.digest, tags=list(restored.tags)))
