"""Labels of an artifact: put on and taken off."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from moorage.api.access import Api, Repository, Signed, inside_named
from moorage.api.artifacts import PATH as ARTIFACT
from moorage.api.labels import LabelId
from moorage.api.wire import Wire
from moorage.db.queries import LARGEST
from moorage.errors import Invalid
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["artifact"])
PATH = ARTIFACT + "/labels"


class LabelRef(Wire):
    """The label to put on; clients send the whole of it, and its id counts."""

    id: Annotated[int, Field(ge=0, le=LARGEST)] = 0


@router.post(PATH)
async def add_label(
    api: Api,
    who: Signed,
    name: Repository,
    reference: str,
    body: LabelRef,
    ref: Annotated[ProjectRef, inside_named("artifact-label", "create")],
) -> Response:
    """Put a label on an artifact: a global one, or one of its project."""
    if not body.id:
        raise Invalid('the body names the label: {"id": 1}')
    artifact = await api.catalogue.artifact(name, reference)
    await api.manifests.add_label(who, name, artifact.digest, body.id)
    return Response(status_code=200)


@router.delete(PATH + "/{label_id}")
async def remove_label(
    api: Api,
    who: Signed,
    name: Repository,
    reference: str,
    label_id: LabelId,
    ref: Annotated[ProjectRef, inside_named("artifact-label", "delete")],
) -> Response:
    """Take a label off an artifact."""
    artifact = await api.catalogue.artifact(name, reference)
    await api.manifests.remove_label(who, name, artifact.digest, label_id)
    return Response(status_code=200)
