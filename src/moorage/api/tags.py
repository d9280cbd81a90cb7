"""Tags of an artifact."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from moorage.api.access import Api, Repository, Who, inside_named, not_cached
from moorage.api.lists import Listed, created, listing, lists
from moorage.api.repositories import PATH as REPOSITORY
from moorage.api.wire import Text, Wire
from moorage.artifacts import entries
from moorage.oci.names import check_tag
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["artifact"])
PATH = REPOSITORY + "/artifacts/{reference}/tags"


class TagResp(Wire):
    """A tag."""

    kept: ClassVar[frozenset[str]] = frozenset({"immutable"})
    id: int = 0
    repository_id: int = 0
    artifact_id: int = 0
    name: str = ""
    push_time: datetime | None = None
    pull_time: datetime | None = None
    immutable: bool = False


class TagReq(Wire):
    """The name of a new tag; all else that a client sends is not its to set."""

    name: Text = ""


def render_tag(tag: entries.Tag) -> TagResp:
    """A tag as its clients read it."""
    return TagResp(**told(tag))


def told(tag: entries.Tag) -> dict[str, Any]:
    """What there is to say of a tag."""
    return {
        "id": tag.id,
        "repository_id": tag.repository_id,
        "artifact_id": tag.artifact_id,
        "name": tag.name,
        "push_time": tag.pushed_at,
        "pull_time": tag.pulled_at,
        "immutable": tag.immutable,
    }


@router.post(PATH, status_code=201)
async def create_tag(
    request: Request,
    api: Api,
    who: Who,
    name: Repository,
    reference: str,
    body: TagReq,
    ref: Annotated[ProjectRef, inside_named("tag", "create")],
) -> Response:
    """Point a new tag at an artifact; one that exists is a conflict, wherever it points."""
    not_cached(ref)
    tag = check_tag(body.name)
    artifact = await api.catalogue.artifact(name, reference)
    await api.manifests.add_tag(who, name, artifact.digest, tag)
    return created(request, tag)


@router.get(PATH, **lists(TagResp))
async def list_tags(
    request: Request,
    api: Api,
    name: Repository,
    reference: str,
    query: Listed,
    ref: Annotated[ProjectRef, inside_named("tag", "list")],
    with_immutable_status: bool = False,
) -> Response:
    """The tags of an artifact, the last pushed first."""
    page = await api.catalogue.tags(name, reference, query, immutable=with_immutable_status)
    return listing(request, query, page, [render_tag(tag) for tag in page.items])


@router.delete(PATH + "/{tag_name}")
async def delete_tag(
    api: Api,
    who: Who,
    name: Repository,
    reference: str,
    tag_name: str,
    ref: Annotated[ProjectRef, inside_named("tag", "delete")],
) -> Response:
    """Remove a tag; the artifact stays."""
    await api.catalogue.tag(name, reference, tag_name)
    await api.manifests.delete_tag(who, name, tag_name)
    return Response(status_code=200)
