"""How the tags of a repository moved. Ours, not Harbor's."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from moorage.api.access import Api, Repository, Who, inside_named, pairs_of
from moorage.api.lists import Listed, listing, lists
from moorage.api.repositories import PATH as REPOSITORY
from moorage.api.wire import Wire
from moorage.artifacts.tagmoves import Moved
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["tag"])


class TagMoveResp(Wire):
    """A tag that began to point elsewhere."""

    id: int = 0
    tag: str = ""
    kind: str = Field(default="", description="created, moved, deleted or restored.")
    digest: str = Field(default="", description="Where it pointed from then on.")
    previous: str = Field(default="", description="Where it pointed until then.")
    operator: str = Field(
        default="", description="Who moved it; told to those who may list the members."
    )
    time: datetime | None = None


@router.get(REPOSITORY + "/tag-history", **lists(TagMoveResp))
async def list_tag_history(
    request: Request,
    api: Api,
    who: Who,
    name: Repository,
    query: Listed,
    ref: Annotated[ProjectRef, inside_named("tag", "list")],
) -> Response:
    """Moves of the tags of a repository, the last first; q=tag=v1 for those of one."""
    page = await api.tag_moves.list(name, query)
    named = ("member", "list") in await pairs_of(api, who, ref)
    return listing(request, query, page, [_move(each, named=named) for each in page.items])


def _move(found: Moved, *, named: bool) -> TagMoveResp:
    return TagMoveResp(
        id=found.id,
        tag=found.tag,
        kind=found.kind,
        digest=found.digest,
        previous=found.previous,
        operator=found.operator if named else "",
        time=found.moved_at,
    )
