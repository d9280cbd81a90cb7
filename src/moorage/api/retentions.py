"""Tag retention: /retentions. A policy is known by its id; its project says who may do what."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import PlainTextResponse, Response

from moorage.access.principals import Principal
from moorage.api.access import Api, Signed, Who, allowed, refusal
from moorage.api.lists import Paged, created, listing, lists
from moorage.api.retention_wire import (
    ACTION,
    RetentionAction,
    RetentionExecution,
    RetentionExecutionTask,
    RetentionMetadata,
    RetentionPolicy,
    RetentionPolicyScope,
    RetentionPreviewArtifact,
    RetentionRuleMetadata,
    RetentionRuleParamMetadata,
    RetentionRun,
    RetentionSelectorMetadata,
    print_execution,
    print_policy,
    print_previewed,
    print_task,
    read_cron,
    read_project,
    read_rules,
)
from moorage.api.services import Services
from moorage.api.wire import reply
from moorage.db.queries import LARGEST
from moorage.errors import Invalid, NotFound
from moorage.projects.selectors import OF_REPOSITORIES, OF_TAGS
from moorage.retention.executions import KIND
from moorage.retention.templates import TEMPLATES

router = APIRouter(tags=["Retention"])
PATH = "/retentions/{id}"
EXECUTION = PATH + "/executions/{eid}"

RESOURCE, STOP = "tag-retention", "stop"

Number = Annotated[int, Path(ge=0, le=LARGEST)]
PolicyId = Annotated[int, Path(alias="id", ge=0, le=LARGEST, description="The id of the policy.")]


# --- who may


async def _permitted(api: Services, who: Principal, project_id: int, action: str) -> int:
    ref = await api.grants.project_by_id(project_id)
    return (await allowed(api, who, ref, RESOURCE, action)).id


def policy(action: str) -> Any:
    """Dependency: the id of the policy that the path names, when the caller may in its project.

    One that is not there answers as a forbidden one, but to system administrators.
    """

    async def check(api: Api, who: Who, policy_id: PolicyId) -> int:
        project_id = await api.retention.project_of(policy_id)
        if project_id is None:
            unknown = NotFound(f"retention policy {policy_id} not found")
            raise unknown if who.sysadmin else refusal(who)
        await _permitted(api, who, project_id, action)
        return policy_id

    return Depends(check)


Listable = Annotated[int, policy("list")]
Readable = Annotated[int, policy("read")]
Changeable = Annotated[int, policy("update")]
Deletable = Annotated[int, policy("delete")]


# --- the routes


def _metadata() -> Iterable[RetentionRuleMetadata]:
    for name, template in TEMPLATES.items():
        if template.shown:
            unit = template.unit
            yield RetentionRuleMetadata(
                rule_template=name,
                display_text=template.text,
                action=ACTION,
                params=[RetentionRuleParamMetadata(type="int", unit=unit, required=True)]
                if unit
                else [],
            )


def _selectors(text: str, decorations: Iterable[str]) -> list[RetentionSelectorMetadata]:
    chosen = list(decorations)
    return [RetentionSelectorMetadata(display_text=text, kind="doublestar", decorations=chosen)]


@router.get("/retentions/metadatas", response_model=RetentionMetadata)
async def get_rentenition_metadata(who: Signed) -> Response:  # so spelled in the contract
    """Templates and selectors, as portals offer them."""
    return reply(
        RetentionMetadata(
            templates=list(_metadata()),
            scope_selectors=_selectors("Repositories", OF_REPOSITORIES),
            tag_selectors=_selectors("Tags", OF_TAGS),
        )
    )


@router.post("/retentions", status_code=201)
async def create_retention(
    request: Request, api: Api, who: Signed, body: RetentionPolicy
) -> Response:
    """Make the policy of a project."""
    project_id = await _permitted(api, who, read_project(body.scope), "create")
    made = await api.retention.create(who, project_id, read_rules(body), read_cron(body))
    return created(request, made)


@router.post("/retentions/preview", **lists(RetentionPreviewArtifact))
async def preview_retention(
    request: Request, api: Api, who: Signed, query: Paged, body: RetentionPolicy
) -> Response:
    """What these rules would keep in the project, artifact by artifact; nothing is stored."""
    project_id = await _permitted(api, who, read_project(body.scope), "operate")
    rules = read_rules(body)
    page = await api.retention_preview.page(project_id, rules, query)
    return listing(request, query, page, [print_previewed(each, rules) for each in page.items])


@router.get(PATH, response_model=RetentionPolicy)
async def get_retention(api: Api, policy_id: Readable) -> Response:
    """A policy."""
    return reply(print_policy(await api.retention.get(policy_id)))


@router.put(PATH)
async def update_retention(
    api: Api, who: Signed, body: RetentionPolicy, policy_id: Changeable
) -> Response:
    """Replace rules and schedule; a policy stays with its project."""
    if body.scope != RetentionPolicyScope():
        project_id = await api.retention.project_of(policy_id)
        if read_project(body.scope) != project_id:
            raise NotFound(f"the retention policy id {policy_id} does not match")
    await api.retention.update(who, policy_id, read_rules(body), read_cron(body))
    return Response(status_code=200)


@router.delete(PATH)
async def delete_retention(api: Api, who: Signed, policy_id: Deletable) -> Response:
    """Delete a policy; what runs of it is stopped."""
    await api.retention.delete(who, policy_id)
    return Response(status_code=200)


@router.post(
    PATH + "/executions", status_code=201, responses={200: {"description": "Never: it is 201."}}
)
async def trigger_retention_execution(
    request: Request, api: Api, who: Signed, body: RetentionRun, policy_id: Changeable
) -> Response:
    """Apply a policy now, or see in a dry run what that would do."""
    made = await api.retention.start(who, policy_id, dry_run=body.dry_run)
    return created(request, made)


@router.get(PATH + "/executions", **lists(RetentionExecution))
async def list_retention_executions(
    request: Request, api: Api, query: Paged, policy_id: Listable
) -> Response:
    """Every time that a policy was applied, the newest first."""
    page = await api.history.list((KIND,), query, vendor_id=policy_id)
    return listing(request, query, page, [print_execution(each) for each in page.items])


@router.patch(EXECUTION)
async def operate_retention_execution(
    api: Api, who: Signed, body: RetentionAction, policy_id: Changeable, eid: Number
) -> Response:
    """Stop an execution; what is deleted stays so."""
    if body.action != STOP:
        raise Invalid(f"action should be '{STOP}'")
    execution = await api.history.get((KIND,), eid, vendor_id=policy_id)
    await api.jobs.stop(who.name, execution.id)
    return Response(status_code=200)


@router.get(EXECUTION + "/tasks", **lists(RetentionExecutionTask))
async def list_retention_tasks(
    request: Request, api: Api, query: Paged, policy_id: Listable, eid: Number
) -> Response:
    """The repositories of an execution."""
    execution = await api.history.get((KIND,), eid, vendor_id=policy_id)
    page = await api.history.tasks_of(execution.id, query)
    return listing(request, query, page, [print_task(each) for each in page.items])


@router.get(EXECUTION + "/tasks/{tid}", response_class=PlainTextResponse)
async def get_retention_task_log(
    api: Api, policy_id: Readable, eid: Number, tid: Number
) -> Response:
    """What stayed and what went in a repository, as a table."""
    execution = await api.history.get((KIND,), eid, vendor_id=policy_id)
    task = await api.history.task(tid, execution.id)
    return PlainTextResponse(await api.history.log(task.id))
