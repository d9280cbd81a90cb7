"""Bytes, counted three ways, of a project and of everything. Ours, not Harbor's."""

from typing import Annotated, ClassVar

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, in_system, inside
from moorage.api.wire import Wire, reply
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["usage"])


class UsageResp(Wire):
    """Bytes of a project."""

    kept: ClassVar[frozenset[str]] = frozenset({"logical", "unique", "physical", "shared"})
    logical: int = Field(default=0, description="As often as an artifact refers to it.")
    unique: int = Field(default=0, description="Each digest once: what the quota counts.")
    physical: int = Field(default=0, description="Objects that no other project holds.")
    shared: int = Field(default=0, description="Objects that other projects hold as well.")


class TotalUsageResp(Wire):
    """Bytes of the installation."""

    kept: ClassVar[frozenset[str]] = frozenset({"logical", "unique", "physical", "trash"})
    logical: int = Field(default=0, description="As often as an artifact refers to it.")
    unique: int = Field(default=0, description="Each digest once in a project.")
    physical: int = Field(default=0, description="Objects in the store, without the trash.")
    trash: int = Field(default=0, description="Objects that can still be restored.")


@router.get("/projects/{project_name_or_id}/usage", response_model=UsageResp)
async def get_project_usage(
    api: Api, ref: Annotated[ProjectRef, inside("quota", "read")]
) -> Response:
    """What the project takes up."""
    usage = await api.usage.of_project(ref.id)
    return reply(
        UsageResp(
            logical=usage.logical,
            unique=usage.unique,
            physical=usage.physical,
            shared=usage.shared,
        )
    )


@router.get("/usage", response_model=TotalUsageResp)
async def get_usage(
    api: Api,
    _: Annotated[Principal, in_system("quota", "list")],
    logical: Annotated[
        bool, Query(description="Whether to count that, which takes a look at every artifact.")
    ] = True,
) -> Response:
    """What everything takes up."""
    usage = await api.usage.total(logical=logical)
    return reply(
        TotalUsageResp(
            logical=usage.logical,
            unique=usage.unique,
            physical=usage.physical,
            trash=usage.trash,
        )
    )
