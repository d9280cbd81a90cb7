"""Purges of the audit log: /system/purgeaudit."""

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, in_system
from moorage.api.lists import Listed, address, lists
from moorage.api.scheduling import NEVER, TEXT, ExecHistory, ExecutionId, Recurring, Schedule
from moorage.audit.purge import KIND, Options

router = APIRouter(tags=["purge"])
PATH = "/system/purgeaudit"
RESOURCE = "purge-audit"
PURGE = Recurring(KIND)


@router.get(PATH, **lists(ExecHistory))
async def get_purge_history(
    request: Request,
    api: Api,
    query: Listed,
    who: Annotated[Principal, in_system(RESOURCE, "list")],
) -> Response:
    """Purges, the newest first."""
    return await PURGE.page(api, query, address(request), request.url.query)


@router.get(PATH + "/schedule", response_model=ExecHistory)
async def get_purge_schedule(
    api: Api, who: Annotated[Principal, in_system(RESOURCE, "read")]
) -> Response:
    """When purges come; an empty object when none does."""
    return await PURGE.schedule(api)


@router.post(PATH + "/schedule", status_code=201)
async def create_purge_schedule(
    api: Api, body: Schedule, who: Annotated[Principal, in_system(RESOURCE, "create")]
) -> Response:
    """Purge now, or set when."""
    return await _put(api, who, body, 201)


@router.put(PATH + "/schedule")
async def update_purge_schedule(
    api: Api, body: Schedule, who: Annotated[Principal, in_system(RESOURCE, "update")]
) -> Response:
    """Set when purges come, or that none does."""
    return await _put(api, who, body, 200)


async def _put(api: Api, who: Principal, body: Schedule, status: int) -> Response:
    ends = body.schedule.type == NEVER  # and says nothing of what to purge
    made = await PURGE.put(api, who, body, {} if ends else Options.read(body.parameters).dump())
    where = f"/api/v2.0{PATH}/{made or 'schedule'}"
    return Response(status_code=status, headers={"Location": where} if status == 201 else None)


@router.get(PATH + "/{purge_id}", response_model=ExecHistory)
async def get_purge_job(
    api: Api, purge_id: ExecutionId, who: Annotated[Principal, in_system(RESOURCE, "read")]
) -> Response:
    """One purge."""
    return await PURGE.get(api, purge_id)


@router.put(PATH + "/{purge_id}")
async def stop_purge(
    api: Api, purge_id: ExecutionId, who: Annotated[Principal, in_system(RESOURCE, "stop")]
) -> Response:
    """End a purge, between two of its transactions."""
    return await PURGE.stop(api, who, purge_id)


@router.get(PATH + "/{purge_id}/log", responses=TEXT, response_class=Response)
async def get_purge_job_log(
    api: Api, purge_id: ExecutionId, who: Annotated[Principal, in_system(RESOURCE, "read")]
) -> Response:
    """What a purge said so far."""
    return await PURGE.log(api, purge_id)
