"""Garbage collection: /system/gc."""

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, in_system
from moorage.api.lists import Listed, address, lists
from moorage.api.scheduling import TEXT, ExecHistory, ExecutionId, Recurring, Schedule
from moorage.gc.job import KIND, Options

router = APIRouter(tags=["gc"])
PATH = "/system/gc"
RESOURCE = "garbage-collection"
GC = Recurring(KIND)


class GCHistory(ExecHistory):
    """One collection, or the schedule of collections."""


@router.get(PATH, **lists(GCHistory))
async def get_gc_history(
    request: Request,
    api: Api,
    query: Listed,
    who: Annotated[Principal, in_system(RESOURCE, "list")],
) -> Response:
    """Collections, the newest first."""
    return await GC.page(api, query, address(request), request.url.query)


@router.get(PATH + "/schedule", response_model=GCHistory)
async def get_gc_schedule(
    api: Api, who: Annotated[Principal, in_system(RESOURCE, "read")]
) -> Response:
    """When collections come; an empty object when none does."""
    return await GC.schedule(api)


@router.post(PATH + "/schedule", status_code=201)
async def create_gc_schedule(
    api: Api, body: Schedule, who: Annotated[Principal, in_system(RESOURCE, "create")]
) -> Response:
    """Collect now, or set when."""
    return await _put(api, who, body, 201)


@router.put(PATH + "/schedule")
async def update_gc_schedule(
    api: Api, body: Schedule, who: Annotated[Principal, in_system(RESOURCE, "update")]
) -> Response:
    """Set when collections come, or that none does."""
    return await _put(api, who, body, 200)


async def _put(api: Api, who: Principal, body: Schedule, status: int) -> Response:
    made = await GC.put(api, who, body, Options.read(body.parameters).dump())
    where = f"/api/v2.0{PATH}/{made or 'schedule'}"
    return Response(status_code=status, headers={"Location": where} if status == 201 else None)


@router.get(PATH + "/{gc_id}", response_model=GCHistory)
async def get_gc(
    api: Api, gc_id: ExecutionId, who: Annotated[Principal, in_system(RESOURCE, "read")]
) -> Response:
    """One collection."""
    return await GC.get(api, gc_id)


@router.put(PATH + "/{gc_id}")
async def stop_gc(
    api: Api, gc_id: ExecutionId, who: Annotated[Principal, in_system(RESOURCE, "stop")]
) -> Response:
    """End a collection, between two of its transactions."""
    return await GC.stop(api, who, gc_id)


@router.get(PATH + "/{gc_id}/log", responses=TEXT, response_class=Response)
async def get_gc_log(
    api: Api, gc_id: ExecutionId, who: Annotated[Principal, in_system(RESOURCE, "read")]
) -> Response:
    """What a collection said so far."""
    return await GC.log(api, gc_id)
