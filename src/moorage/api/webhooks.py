"""Webhooks: /projects/{p}/webhook. Whom a project tells of its events, and what became of it.

What a target's `auth_header` and `secret` hold is never shown again. Absent in an update, it stays
as long as the address does; empty, it goes.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, ClassVar

import orjson
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.api.access import Api, Signed, inside
from moorage.api.executions import Execution, Task, executions, tasks
from moorage.api.lists import Listed, created, listing, lists
from moorage.api.scheduling import TEXT, log_reply
from moorage.api.services import Services
from moorage.api.wire import Text, Wire, reply
from moorage.db.queries import LARGEST, AnyOf, Page
from moorage.db.queries import Query as ListQuery
from moorage.errors import Invalid
from moorage.jobs import records as jobs
from moorage.projects.records import ProjectRef
from moorage.webhooks.records import (
    DEFAULT,
    EVENT_TYPES,
    FORMATS,
    KINDS,
    SLACK,
    Target,
    WebhookPolicy,
)

router = APIRouter(tags=["webhook"])
of_jobs = APIRouter(tags=["webhookjob"])
PATH = "/projects/{project_name_or_id}/webhook"
POLICY = PATH + "/policies/{webhook_policy_id}"
RESOURCE = "notification-policy"
VENDORS = tuple(KINDS.values())

PolicyId = Annotated[
    int, Path(alias="webhook_policy_id", ge=0, le=LARGEST, description="The id of the policy.")
]
ExecutionId = Annotated[int, Path(ge=0, le=LARGEST, description="The id of the execution.")]
TaskId = Annotated[int, Path(ge=0, le=LARGEST, description="The id of the task.")]


class WebhookTargetObject(Wire):
    """A server that is told."""

    type: Text = ""
    address: Text = ""
    auth_header: Text | None = None
    skip_cert_verify: bool = False
    payload_format: Text = ""
    secret: Text | None = None  # signs what is sent


class WebhookPolicyBody(Wire):
    """Which events are told to which targets."""

    kept: ClassVar[frozenset[str]] = frozenset({"enabled"})
    id: int = 0
    name: Text = ""
    description: Text = ""
    project_id: int = 0
    targets: list[WebhookTargetObject] = Field(default_factory=list)
    event_types: list[Text] = Field(default_factory=list)
    creator: Text = ""
    creation_time: datetime | None = None
    update_time: datetime | None = None
    enabled: bool = False


class WebhookSwitch(Wire):
    """Whether a policy tells of anything."""

    enabled: bool


class WebhookLastTrigger(Wire):
    """When an event was last told."""

    policy_name: str = ""
    event_type: str = ""
    enabled: bool = False
    creation_time: datetime | None = None
    last_trigger_time: datetime | None = None


class PayloadFormat(Wire):
    """How a target of a type can be told."""

    notify_type: str = ""
    formats: list[str] = Field(default_factory=list)


class SupportedWebhookEventTypes(Wire):
    """What there is to choose from."""

    event_type: list[str] = Field(default_factory=list)
    notify_type: list[str] = Field(default_factory=list)
    payload_formats: list[PayloadFormat] = Field(default_factory=list)


class WebhookJob(Wire):
    """One telling."""

    id: int = 0
    policy_id: int = 0
    event_type: str = ""
    notify_type: str = ""
    status: str = ""
    job_detail: str = ""
    creation_time: datetime | None = None
    update_time: datetime | None = None


def _targets(sent: Iterable[WebhookTargetObject]) -> list[Target]:
    return [
        Target(
            kind=each.type,
            address=each.address,
            format=each.payload_format or DEFAULT,
            skip_cert_verify=each.skip_cert_verify,
            auth_header=each.auth_header,
            secret=each.secret,
        )
        for each in sent
    ]


def _values(body: WebhookPolicyBody) -> dict[str, Any]:
    return {
        "name": body.name,
        "description": body.description,
        "event_types": body.event_types,
        "enabled": body.enabled,
    }


def _policy(policy: WebhookPolicy) -> WebhookPolicyBody:
    return WebhookPolicyBody(
        id=policy.id,
        name=policy.name,
        description=policy.description,
        project_id=policy.project_id,
        targets=[
            WebhookTargetObject(
                type=target.kind,
                address=target.address,
                skip_cert_verify=target.skip_cert_verify,
                payload_format=target.format if target.kind != SLACK else "",
            )
            for target in policy.targets
        ],
        event_types=list(policy.event_types),
        creator=policy.creator,
        creation_time=policy.created_at,
        update_time=policy.updated_at,
        enabled=policy.enabled,
    )


# --- policies


@router.get(PATH + "/policies", **lists(WebhookPolicyBody))
async def list_webhook_policies_of_project(
    request: Request,
    api: Api,
    query: Listed,
    ref: Annotated[ProjectRef, inside(RESOURCE, "list")],
) -> Response:
    """Policies of a project, the newest first."""
    page = await api.webhooks.list(ref.id, query)
    return listing(request, query, page, [_policy(policy) for policy in page.items])


@router.post(PATH + "/policies", status_code=201)
async def create_webhook_policy_of_project(
    request: Request,
    api: Api,
    who: Signed,
    body: WebhookPolicyBody,
    ref: Annotated[ProjectRef, inside(RESOURCE, "create")],
) -> Response:
    """Tell somebody of events from now on."""
    made = await api.webhooks.create(who, ref.id, _values(body), _targets(body.targets))
    return created(request, made)


@router.get(POLICY, response_model=WebhookPolicyBody)
async def get_webhook_policy_of_project(
    api: Api, policy_id: PolicyId, ref: Annotated[ProjectRef, inside(RESOURCE, "read")]
) -> Response:
    """One policy."""
    return reply(_policy(await api.webhooks.get(ref.id, policy_id)))


@router.put(POLICY)
async def update_webhook_policy_of_project(
    api: Api,
    who: Signed,
    policy_id: PolicyId,
    body: WebhookPolicyBody,
    ref: Annotated[ProjectRef, inside(RESOURCE, "update")],
) -> Response:
    """Replace a policy."""
    targets = _targets(body.targets)
    await api.webhooks.update(who, ref.id, policy_id, _values(body), targets)
    return Response(status_code=200)


@router.patch(POLICY)
async def switch_webhook_policy_of_project(
    api: Api,
    who: Signed,
    policy_id: PolicyId,
    body: WebhookSwitch,
    ref: Annotated[ProjectRef, inside(RESOURCE, "update")],
) -> Response:
    """Switch a policy on or off, and change nothing else of it. Ours, not Harbor's."""
    await api.webhooks.switch(who, ref.id, policy_id, enabled=body.enabled)
    return Response(status_code=200)


@router.delete(POLICY)
async def delete_webhook_policy_of_project(
    api: Api,
    who: Signed,
    policy_id: PolicyId,
    ref: Annotated[ProjectRef, inside(RESOURCE, "delete")],
) -> Response:
    """Tell nobody any more, not even of what is on its way."""
    await api.webhooks.delete(who, ref.id, policy_id)
    return Response(status_code=200)


@router.post(POLICY + "/test", status_code=202)
async def test_webhook_policy_of_project(
    request: Request,
    api: Api,
    who: Signed,
    policy_id: PolicyId,
    ref: Annotated[ProjectRef, inside(RESOURCE, "update")],
) -> Response:
    """Tell the targets of an enabled policy of something that did not happen."""
    made = await api.webhook_tests.test(who.name, ref.id, policy_id)
    path = request.scope["path"].removesuffix("/test")
    return Response(status_code=202, headers={"Location": f"{path}/executions/{made}"})


# --- what became of it


@router.get(POLICY + "/executions", **lists(Execution))
async def list_executions_of_webhook_policy(
    request: Request,
    api: Api,
    policy_id: PolicyId,
    query: Listed,
    ref: Annotated[ProjectRef, inside(RESOURCE, "read")],
) -> Response:
    """Tellings of a policy, the newest first."""
    await api.webhooks.get(ref.id, policy_id)
    page = await api.history.list(VENDORS, query, vendor_id=policy_id)
    return listing(request, query, page, await executions(api, page.items))


@router.get(POLICY + "/executions/{execution_id}/tasks", **lists(Task))
async def list_tasks_of_webhook_execution(
    request: Request,
    api: Api,
    policy_id: PolicyId,
    execution_id: ExecutionId,
    query: Listed,
    ref: Annotated[ProjectRef, inside(RESOURCE, "read")],
) -> Response:
    """Tasks of one telling."""
    await _execution(api, ref, policy_id, execution_id)
    page = await api.history.tasks_of(execution_id, query)
    return listing(request, query, page, tasks(page.items))


@router.get(
    POLICY + "/executions/{execution_id}/tasks/{task_id}/log",
    responses=TEXT,
    response_class=Response,
)
async def get_logs_of_webhook_task(
    api: Api,
    policy_id: PolicyId,
    execution_id: ExecutionId,
    task_id: TaskId,
    ref: Annotated[ProjectRef, inside(RESOURCE, "read")],
) -> Response:
    """What was sent, and answered."""
    await _execution(api, ref, policy_id, execution_id)
    await api.history.task(task_id, execution_id)
    return log_reply(await api.history.log(task_id))


async def _execution(
    api: Services, ref: ProjectRef, policy_id: int, execution_id: int
) -> jobs.Execution:
    """One of the policy, of this project; raises NotFound."""
    await api.webhooks.get(ref.id, policy_id)
    return await api.history.get(VENDORS, execution_id, vendor_id=policy_id)


@router.get(PATH + "/lasttrigger", response_model=list[WebhookLastTrigger])
async def last_trigger(api: Api, ref: Annotated[ProjectRef, inside(RESOURCE, "read")]) -> Response:
    """When each policy told of each of its events last."""
    page = await api.webhooks.list(ref.id, ListQuery(size=100))
    last = await api.webhooks.last_triggers([policy.id for policy in page.items])
    return reply(
        [
            WebhookLastTrigger(
                policy_name=policy.name,
                event_type=event_type,
                enabled=policy.enabled,
                creation_time=policy.created_at,
                last_trigger_time=last.get((policy.id, event_type)),
            )
            for policy in page.items
            for event_type in policy.event_types
        ]
    )


@router.get(PATH + "/events", response_model=SupportedWebhookEventTypes)
async def get_supported_event_types(
    api: Api, ref: Annotated[ProjectRef, inside(RESOURCE, "read")]
) -> Response:
    """Types of events and of targets."""
    formats = [
        PayloadFormat(notify_type=kind, formats=list(known)) for kind, known in FORMATS.items()
    ]
    return reply(
        SupportedWebhookEventTypes(
            event_type=list(EVENT_TYPES), notify_type=list(KINDS), payload_formats=formats
        )
    )


@of_jobs.get(PATH + "/jobs", **lists(WebhookJob))
async def list_webhook_jobs(
    request: Request,
    api: Api,
    query: Listed,
    ref: Annotated[ProjectRef, inside(RESOURCE, "list")],
    policy_id: Annotated[int, Query(ge=0, le=LARGEST, description="The id of the policy.")],
    status: Annotated[list[Text] | None, Query(description="Only those in these states.")] = None,
) -> Response:
    """The same as executions, in an older form."""
    await api.webhooks.get(ref.id, policy_id)
    if status:
        if len(status) > 10:
            raise Invalid("status names at most 10 states")
        query = query.with_filter("status", AnyOf(tuple(status)))
    page: Page[jobs.Execution] = await api.history.list(VENDORS, query, vendor_id=policy_id)
    return listing(request, query, page, [_job(run) for run in page.items])


def _job(run: jobs.Execution) -> WebhookJob:
    return WebhookJob(
        id=run.id,
        policy_id=run.vendor_id,
        event_type=str(run.extra.get("event_type", "")),
        notify_type=next(kind for kind, vendor in KINDS.items() if vendor == run.vendor_type),
        status=run.status,
        job_detail=orjson.dumps(run.extra.get("payload", {})).decode(),
        creation_time=run.created_at,
        update_time=run.updated_at,
    )
