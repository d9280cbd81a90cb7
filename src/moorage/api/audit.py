"""The audit log: /audit-logs and /auditlog-exts, and those of one project.

    caller                                     sees
    audit-log:list in the system scope         everything
    anybody else who is signed in              the projects in which the caller holds log:list

Harbor keeps two logs, of before and after its version 2.13. Here there is one: the older paths show
it without descriptions and, as they cannot tell them apart, without what failed.
"""

from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, Signed, in_system, inside_named
from moorage.api.lists import Listed, listing, lists
from moorage.api.services import Services
from moorage.api.wire import Wire, reply
from moorage.audit.entries import Logged
from moorage.config.configuration import AUDIT_EVENTS, audit_events
from moorage.db.queries import Exact, Page, Query
from moorage.projects.records import ProjectRef

router = APIRouter(tags=["auditlog"])
of_projects = APIRouter(tags=["project"])


class AuditLog(Wire):
    """Who did what, as before Harbor 2.13."""

    id: int = 0
    username: str = ""
    resource: str = ""
    resource_type: str = ""
    operation: str = ""
    op_time: datetime | None = None


class AuditLogExt(Wire):
    """Who did what."""

    kept: ClassVar[frozenset[str]] = frozenset({"operation_result"})
    id: int = 0
    username: str = ""
    resource: str = ""
    resource_type: str = ""
    operation: str = ""
    operation_description: str = ""
    operation_result: bool = False
    op_time: datetime | None = None


class AuditLogEventType(Wire):
    """A type of events, and whether the log tells of it."""

    kept: ClassVar[frozenset[str]] = frozenset({"enabled"})
    event_type: str = ""
    enabled: bool = False


def _old(row: Logged) -> AuditLog:
    return AuditLog(
        id=row.id,
        username=row.username,
        resource=row.resource,
        resource_type=row.resource_type,
        operation=row.operation,
        op_time=row.occurred_at,
    )


def _new(row: Logged) -> AuditLogExt:
    return AuditLogExt(
        id=row.id,
        username=row.username,
        resource=row.resource,
        resource_type=row.resource_type,
        operation=row.operation,
        operation_description=row.description,
        operation_result=row.successful,
        op_time=row.occurred_at,
    )


def _successful(query: Query) -> Query:
    return query.with_filter("operation_result", Exact("true"))


async def _readable(api: Services, who: Principal, query: Query) -> Page[Logged]:
    everything = ("audit-log", "list") in await api.grants.system(who)
    return await api.audit_log.list(query, reader=None if everything else who)


@router.get("/audit-logs", **lists(AuditLog))
async def list_audit_logs(request: Request, api: Api, who: Signed, query: Listed) -> Response:
    """What the caller may know of, the newest first."""
    query = _successful(query)
    page = await _readable(api, who, query)
    return listing(request, query, page, [_old(row) for row in page.items])


@router.get("/auditlog-exts", **lists(AuditLogExt))
async def list_audit_log_exts(request: Request, api: Api, who: Signed, query: Listed) -> Response:
    """What the caller may know of, the newest first."""
    page = await _readable(api, who, query)
    return listing(request, query, page, [_new(row) for row in page.items])


@router.get("/auditlog-exts/events", response_model=list[AuditLogEventType])
async def list_audit_log_event_types(
    api: Api, who: Annotated[Principal, in_system("audit-log", "list")]
) -> Response:
    """The types that a setting can leave out."""
    settings = await api.configurations.current()
    silent = audit_events(settings.disabled_audit_log_event_types)
    return reply(
        [AuditLogEventType(event_type=name, enabled=name not in silent) for name in AUDIT_EVENTS]
    )


@of_projects.get("/projects/{project_name}/logs", **lists(AuditLog))
async def get_logs(
    request: Request,
    api: Api,
    query: Listed,
    ref: Annotated[ProjectRef, inside_named("log", "list")],
) -> Response:
    """What happened in a project, the newest first."""
    query = _successful(query)
    page = await api.audit_log.list(query, project_id=ref.id)
    return listing(request, query, page, [_old(row) for row in page.items])


@of_projects.get("/projects/{project_name}/auditlog-exts", **lists(AuditLogExt))
async def get_log_exts(
    request: Request,
    api: Api,
    query: Listed,
    ref: Annotated[ProjectRef, inside_named("log", "list")],
) -> Response:
    """What happened in a project, the newest first."""
    page = await api.audit_log.list(query, project_id=ref.id)
    return listing(request, query, page, [_new(row) for row in page.items])
