"""Replication: /replication/policies and /replication/executions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, in_system
from moorage.api.lists import Listed, Sorted, created, listing, lists
from moorage.api.registries import RegistryBody, print_registry
from moorage.api.scheduling import TEXT, log_reply
from moorage.api.services import Services
from moorage.api.wire import Anything, Number, Text, Wire, reply
from moorage.db.queries import LARGEST, AnyOf, Exact, Fuzzy
from moorage.jobs import ERROR, PENDING, RUNNING, STOPPED, SUCCESS, records
from moorage.remotes import Registry
from moorage.replication import KIND
from moorage.replication.records import Filter, Move, Policy, Settings

router = APIRouter(tags=["replication"])
POLICY = "/replication/policies/{id}"
EXECUTION = "/replication/executions/{id}"
POLICIES, RUNS = "replication-policy", "replication"

PolicyId = Annotated[int, Path(alias="id", ge=0, le=LARGEST, description="The policy's id.")]
RunId = Annotated[int, Path(alias="id", ge=0, le=LARGEST, description="The execution's id.")]
TaskId = Annotated[int, Path(ge=0, le=LARGEST, description="The task's id.")]

IN_PROGRESS, SUCCEED, FAILED = "InProgress", "Succeed", "Failed"
STATUSES: Mapping[str, tuple[str, ...]] = {
    IN_PROGRESS: (PENDING, RUNNING),
    SUCCEED: (SUCCESS,),
    FAILED: (ERROR,),
    STOPPED: (STOPPED,),
}
"""Harbor's words for the states of these executions and tasks."""


class ReplicationTriggerSettings(Wire):
    """When it comes."""

    cron: Text = ""


class ReplicationTrigger(Wire):
    """What makes a policy run."""

    type: Text = ""
    trigger_settings: ReplicationTriggerSettings | None = None


class ReplicationFilter(Wire):
    """A condition on what is replicated."""

    type: Text = ""
    value: Anything = None
    decoration: Text = ""
    kind: Text = Field(default="", description="Of the pattern: doublestar, regex or semver.")


class ReplicationPolicy(Wire):
    """What is replicated, where to, and when."""

    id: int = 0
    name: Text = ""
    description: Text = ""
    src_registry: RegistryBody | None = None
    dest_registry: RegistryBody | None = None
    dest_namespace: Text = ""
    dest_namespace_replace_count: int | None = None
    trigger: ReplicationTrigger | None = None
    filters: list[ReplicationFilter] = Field(default_factory=list)
    replicate_deletion: bool = False
    deletion: bool = False
    override: bool = False
    enabled: bool = False
    creation_time: datetime | None = None
    update_time: datetime | None = None
    speed: int | None = None
    copy_by_chunk: bool | None = None
    single_active_replication: bool | None = None


class StartReplicationExecution(Wire):
    """Which policy shall run."""

    policy_id: Number = 0


class ReplicationExecution(Wire):
    """One run."""

    kept: ClassVar[frozenset[str]] = frozenset(
        {"status_text", "total", "failed", "succeed", "in_progress", "stopped"}
    )
    id: int = 0
    policy_id: int = 0
    status: str = ""
    trigger: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    status_text: str = ""
    total: int = 0
    failed: int = 0
    succeed: int = 0
    in_progress: int = 0
    stopped: int = 0


class ReplicationTask(Wire):
    """One artifact of a run."""

    id: int = 0
    execution_id: int = 0
    status: str = ""
    job_id: str = ""
    operation: str = ""
    resource_type: str = ""
    src_resource: str = ""
    dst_resource: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    progress: str = Field(default="", description="Bytes so far, while it runs.")
    message: str = Field(default="", description="Why it failed.")
    moved_bytes: int = Field(default=0, description="What went over the wire.")


class ReplicationPreviewItem(Wire):
    """An artifact that a policy would look at."""

    src_resource: str = ""
    dst_resource: str = ""
    digest: str = ""
    type: str = ""
    size: int = 0
    outcome: str = Field(
        default="",
        description="new, same (nothing moves), override, or kept (a tag names another artifact).",
    )


# --- policies


def _read(body: ReplicationPolicy) -> Settings:
    """What a body says; raises Invalid."""
    trigger = body.trigger or ReplicationTrigger()
    times = trigger.trigger_settings or ReplicationTriggerSettings()
    count = body.dest_namespace_replace_count
    return Settings(
        name=body.name,
        description=body.description,
        source_id=_registry(body.src_registry),
        target_id=_registry(body.dest_registry),
        filters=[_filter(each) for each in body.filters],
        namespace=body.dest_namespace.strip("/"),
        replaced=-1 if count is None else count,
        trigger=trigger.type or "manual",
        cron=times.cron,
        deletion=body.replicate_deletion or body.deletion,
        override=body.override,
        enabled=body.enabled,
        speed=body.speed or 0,
        chunked=bool(body.copy_by_chunk),
        single_active=bool(body.single_active_replication),
    )


def _registry(body: RegistryBody | None) -> int | None:
    """None: this registry, which Harbor names by 0."""
    return body.id if body is not None and body.id else None


def _filter(body: ReplicationFilter) -> Filter:
    value = body.value if body.value is not None else ""
    return Filter(body.type, value, body.decoration or "matches", body.kind or "doublestar")


async def _prints(api: Services, policies: Sequence[Policy]) -> list[ReplicationPolicy]:
    others = await api.registries.some({_other(policy) for policy in policies})
    return [_print(api, policy, others[_other(policy)]) for policy in policies]


def _other(policy: Policy) -> int:
    """The registry that is not this one."""
    said = policy.settings
    return (said.target_id if said.source_id is None else said.source_id) or 0


def _print(api: Services, policy: Policy, registry: Registry) -> ReplicationPolicy:
    said, other = policy.settings, print_registry(registry)
    local = RegistryBody(name="Local", type="harbor", url=api.system.external_url, status="healthy")
    source, target = (local, other) if said.source_id is None else (other, local)
    return ReplicationPolicy(
        id=policy.id,
        name=said.name,
        description=said.description,
        src_registry=source,
        dest_registry=target,
        dest_namespace=said.namespace,
        dest_namespace_replace_count=said.replaced,
        trigger=ReplicationTrigger(
            type=said.trigger,
            trigger_settings=ReplicationTriggerSettings(cron=said.cron) if said.cron else None,
        ),
        filters=[
            ReplicationFilter(
                type=each.type,
                value=each.value,
                decoration=each.decoration,
                kind="" if each.kind == "doublestar" else each.kind,
            )
            for each in said.filters
        ],
        replicate_deletion=said.deletion,
        deletion=said.deletion,
        override=said.override,
        enabled=said.enabled,
        creation_time=policy.created_at,
        update_time=policy.updated_at,
        speed=said.speed,
        copy_by_chunk=said.chunked,
        single_active_replication=said.single_active,
    )


@router.get("/replication/policies", **lists(ReplicationPolicy))
async def list_replication_policies(
    request: Request,
    api: Api,
    who: Annotated[Principal, in_system(POLICIES, "list")],
    query: Listed,
    name: Annotated[str, Query(description="Part of the name.")] = "",
) -> Response:
    """Policies, the newest first."""
    if name:
        query = query.with_filter("name", Fuzzy(name))
    page = await api.replications.list(query)
    return listing(request, query, page, await _prints(api, page.items))


@router.post("/replication/policies", status_code=201)
async def create_replication_policy(
    request: Request,
    api: Api,
    who: Annotated[Principal, in_system(POLICIES, "create")],
    body: ReplicationPolicy,
) -> Response:
    """Make a policy."""
    return created(request, await api.replications.create(who, _read(body)))


@router.post("/replication/policies/preview", **lists(ReplicationPreviewItem))
async def preview_replication_policy(
    request: Request,
    api: Api,
    who: Annotated[Principal, in_system(POLICIES, "create")],
    query: Sorted,
    body: ReplicationPolicy,
) -> Response:
    """What such a policy would move, artifact by artifact; nothing is stored or copied."""
    page = await api.replication_preview.page(_read(body), query)
    items = [_previewed(move, outcome) for move, outcome in page.items]
    return listing(request, query, page, items)


def _previewed(move: Move, outcome: str) -> ReplicationPreviewItem:
    return ReplicationPreviewItem(
        src_resource=f"{move.source}{move.reference}",
        dst_resource=f"{move.target}{move.reference}",
        digest=move.digest,
        type=move.type,
        size=move.size,
        outcome=outcome,
    )


@router.get(POLICY, response_model=ReplicationPolicy)
async def get_replication_policy(
    api: Api, policy_id: PolicyId, who: Annotated[Principal, in_system(POLICIES, "read")]
) -> Response:
    """One policy."""
    return reply((await _prints(api, [await api.replications.get(policy_id)]))[0])


@router.put(POLICY)
async def update_replication_policy(
    api: Api,
    policy_id: PolicyId,
    who: Annotated[Principal, in_system(POLICIES, "update")],
    body: ReplicationPolicy,
) -> Response:
    """Replace what a policy says."""
    await api.replications.update(who, policy_id, _read(body))
    return Response(status_code=200)


@router.delete(POLICY)
async def delete_replication_policy(
    api: Api, policy_id: PolicyId, who: Annotated[Principal, in_system(POLICIES, "delete")]
) -> Response:
    """Delete a policy that does not run."""
    await api.replications.delete(who, policy_id)
    return Response(status_code=200)


# --- executions


@router.post("/replication/executions", status_code=201)
async def start_replication(
    request: Request,
    api: Api,
    who: Annotated[Principal, in_system(RUNS, "create")],
    body: StartReplicationExecution,
) -> Response:
    """Replicate now."""
    return created(request, await api.replications.start(who, body.policy_id))


@router.get("/replication/executions", **lists(ReplicationExecution))
async def list_replication_executions(
    request: Request,
    api: Api,
    who: Annotated[Principal, in_system(RUNS, "list")],
    query: Sorted,
    policy_id: Annotated[int | None, Query(ge=0, le=LARGEST)] = None,
    status: Annotated[str, Query(description="InProgress, Succeed, Failed or Stopped.")] = "",
    trigger: Annotated[str, Query(description="manual, scheduled or event_based.")] = "",
) -> Response:
    """Runs, the newest first."""
    if status:
        query = query.with_filter("status", AnyOf(_states(status)))
    if trigger:
        triggers = {"scheduled": "SCHEDULE", "event_based": "EVENT"}
        query = query.with_filter("trigger", Exact(triggers.get(trigger, trigger.upper())))
    page = await api.history.list((KIND,), query, vendor_id=policy_id)
    return listing(request, query, page, await _executions(api, page.items))


def _states(status: str) -> tuple[str, ...]:
    return STATUSES.get(status) or (status,)


async def _executions(api: Services, runs: Any) -> list[ReplicationExecution]:
    counts = await api.history.metrics([run.id for run in runs], kind=KIND)
    return [_execution(run, counts[run.id]) for run in runs]


def _execution(run: records.Execution, counts: Mapping[str, int]) -> ReplicationExecution:
    triggers = {"SCHEDULE": "scheduled", "EVENT": "event_based"}
    return ReplicationExecution(
        id=run.id,
        policy_id=run.vendor_id,
        status=_status(run.status),
        trigger=triggers.get(run.trigger, run.trigger.lower()),
        start_time=run.created_at,
        end_time=run.ended_at,
        status_text=run.status_message,
        total=sum(counts.values()),
        failed=counts.get(ERROR, 0),
        succeed=counts.get(SUCCESS, 0),
        in_progress=counts.get(PENDING, 0) + counts.get(RUNNING, 0),
        stopped=counts.get(STOPPED, 0),
    )


def _status(status: str) -> str:
    return next((name for name, states in STATUSES.items() if status in states), status)


@router.get(EXECUTION, response_model=ReplicationExecution)
async def get_replication_execution(
    api: Api, run_id: RunId, who: Annotated[Principal, in_system(RUNS, "read")]
) -> Response:
    """One run."""
    run = await api.history.get((KIND,), run_id)
    return reply((await _executions(api, [run]))[0])


@router.put(EXECUTION)
async def stop_replication(
    api: Api, run_id: RunId, who: Annotated[Principal, in_system(RUNS, "create")]
) -> Response:
    """Stop a run; what was copied stays."""
    run = await api.history.get((KIND,), run_id)
    if run.status not in records.FINAL:
        await api.jobs.stop(who.name, run.id)
    return Response(status_code=200)


@router.get(EXECUTION + "/tasks", **lists(ReplicationTask))
async def list_replication_tasks(
    request: Request,
    api: Api,
    run_id: RunId,
    who: Annotated[Principal, in_system(RUNS, "list")],
    query: Sorted,
    status: Annotated[str, Query(description="InProgress, Succeed, Failed or Stopped.")] = "",
    resource_type: Annotated[str, Query(description="image, chart or artifact.")] = "",
) -> Response:
    """Artifacts of a run."""
    run = await api.history.get((KIND,), run_id)
    if status:
        query = query.with_filter("status", AnyOf(_states(status)))
    shown = {"resource_type": resource_type} if resource_type else {}
    page = await api.history.tasks_of(run.id, query, kind=KIND, shown=shown)
    return listing(request, query, page, [_task(each) for each in page.items])


def _task(task: records.Task) -> ReplicationTask:
    shown = task.extra
    return ReplicationTask(
        id=task.id,
        execution_id=task.execution_id,
        status=_status(task.status),
        job_id=str(task.id),
        operation=str(shown.get("operation", "")),
        resource_type=str(shown.get("resource_type", "")),
        src_resource=str(shown.get("source_resource", "")),
        dst_resource=str(shown.get("destination_resource", "")),
        start_time=task.started_at,
        end_time=task.ended_at,
        progress=task.check_in,
        message=task.status_message,
        moved_bytes=int(shown.get("moved_bytes", 0)),
    )


@router.post(EXECUTION + "/tasks/{task_id}/retry", status_code=201)
async def retry_replication_task(
    request: Request,
    api: Api,
    run_id: RunId,
    task_id: TaskId,
    who: Annotated[Principal, in_system(RUNS, "create")],
) -> Response:
    """Do a task that failed or was stopped again; the location is that of its new execution."""
    made = await api.replications.retry(who, run_id, task_id)
    path = request.scope["path"].partition("/executions/")[0]
    return Response(status_code=201, headers={"Location": f"{path}/executions/{made}"})


@router.get(EXECUTION + "/tasks/{task_id}/log", responses=TEXT, response_class=Response)
async def get_replication_log(
    api: Api, run_id: RunId, task_id: TaskId, who: Annotated[Principal, in_system(RUNS, "read")]
) -> Response:
    """What a task did."""
    run = await api.history.get((KIND,), run_id)
    await api.history.task(task_id, run.id)
    return log_reply(await api.history.log(task_id))
