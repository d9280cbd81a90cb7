"""Settings of a project, one by one: /projects/{p}/metadatas/."""

from typing import Annotated

from fastapi import APIRouter, Body
from starlette.responses import Response

from moorage.api.access import Api, Who, inside
from moorage.api.wire import Text, reply
from moorage.errors import NotFound
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["projectMetadata"])
Values = Annotated[dict[Text, Text], Body()]


@router.get("/projects/{project_name_or_id}/metadatas", response_model=dict[str, str])
async def list_project_metadatas(
    api: Api, ref: Annotated[ProjectRef, inside("metadata", "read")]
) -> Response:
    """Every setting."""
    return reply(await api.metadata.all(ref.id))


@router.post("/projects/{project_name_or_id}/metadatas")
async def add_project_metadatas(
    api: Api, who: Who, body: Values, ref: Annotated[ProjectRef, inside("metadata", "create")]
) -> Response:
    """Make one setting that is not there yet."""
    await api.metadata.add(who, ref.id, body)
    return Response(status_code=200)


@router.get("/projects/{project_name_or_id}/metadatas/{meta_name}", response_model=dict[str, str])
async def get_project_metadata(
    api: Api, meta_name: str, ref: Annotated[ProjectRef, inside("metadata", "read")]
) -> Response:
    """One setting."""
    values = await api.metadata.all(ref.id)
    if meta_name not in values:
        raise NotFound(f"metadata {meta_name[:64]} not found")
    return reply({meta_name: values[meta_name]})


@router.put("/projects/{project_name_or_id}/metadatas/{meta_name}")
async def update_project_metadata(
    api: Api,
    who: Who,
    meta_name: str,
    body: Values,
    ref: Annotated[ProjectRef, inside("metadata", "update")],
) -> Response:
    """Change one setting."""
    await api.metadata.change(who, ref.id, meta_name, body)
    return Response(status_code=200)


@router.delete("/projects/{project_name_or_id}/metadatas/{meta_name}")
async def delete_project_metadata(
    api: Api, who: Who, meta_name: str, ref: Annotated[ProjectRef, inside("metadata", "delete")]
) -> Response:
    """Forget one setting."""
    await api.metadata.remove(who, ref.id, meta_name)
    return Response(status_code=200)
