"""Quotas: /quotas."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, in_system
from moorage.api.lists import Sorted, listing, lists
from moorage.api.wire import Wire, reply
from moorage.db.queries import LARGEST, Exact
from moorage.errors import Invalid
from moorage.projects import records

router = APIRouter(tags=["quota"])


class QuotaResp(Wire):
    """What a project may store and does store, in bytes."""

    kept: ClassVar[frozenset[str]] = frozenset({"hard", "used"})
    id: int = 0
    ref: dict[str, Any] = Field(default_factory=dict)
    hard: dict[str, int] = Field(default_factory=dict)
    used: dict[str, int] = Field(default_factory=dict)
    creation_time: datetime | None = None
    update_time: datetime | None = None


class QuotaUpdateReq(Wire):
    """A new limit: `{"hard": {"storage": bytes}}`, -1 for none."""

    hard: dict[str, int] = Field(default_factory=dict)


def _quota(quota: records.Quota) -> QuotaResp:
    return QuotaResp(
        id=quota.id,
        ref={"id": quota.project_id, "name": quota.project_name, "owner_name": quota.owner_name},
        hard={"storage": quota.hard},
        used={"storage": quota.used},
        creation_time=quota.created_at,
        update_time=quota.updated_at,
    )


@router.get("/quotas", **lists(QuotaResp))
async def list_quotas(
    request: Request,
    api: Api,
    query: Sorted,
    who: Annotated[Principal, in_system("quota", "list")],
    reference: Annotated[str, Query(description="Only `project` exists.")] = "",
    reference_id: Annotated[str, Query(description="The project's id.")] = "",
) -> Response:
    """The quotas of all projects."""
    if reference and reference != "project":
        raise Invalid(f"unknown reference: {reference[:64]}")
    if reference_id:
        query = query.with_filter("reference_id", Exact(reference_id))
    page = await api.quotas.list(query)
    return listing(request, query, page, [_quota(quota) for quota in page.items])


@router.get("/quotas/{id}", response_model=QuotaResp)
async def get_quota(
    api: Api,
    quota_id: Annotated[int, Path(alias="id", ge=0, le=LARGEST)],
    who: Annotated[Principal, in_system("quota", "read")],
) -> Response:
    """One quota."""
    return reply(_quota(await api.quotas.get(quota_id)))


@router.put("/quotas/{id}")
async def update_quota(
    api: Api,
    body: QuotaUpdateReq,
    quota_id: Annotated[int, Path(alias="id", ge=0, le=LARGEST)],
    who: Annotated[Principal, in_system("quota", "update")],
) -> Response:
    """Set a limit."""
    if set(body.hard) != {"storage"}:
        raise Invalid("hard holds exactly the key storage")
    await api.quotas.set_hard(who, quota_id, body.hard["storage"])
    return Response(status_code=200)
