"""What is done in the background: /jobservice, and /schedules.

Ids of pools, workers and jobs that nobody knows answer as Harbor does: with nothing, and 200.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from moorage.access.principals import Principal
from moorage.api.access import Api, Signed, in_system
from moorage.api.lists import Paged, listing, lists
from moorage.api.scheduling import TEXT, log_reply
from moorage.api.wire import Text, Wire, reply
from moorage.db.queries import LARGEST
from moorage.errors import Invalid, NotFound
from moorage.jobs import records
from moorage.jobs.schedules import SCHEDULER

router = APIRouter()
RESOURCE = "jobservice-monitor"
ALL = "all"

Lister = Annotated[Principal, in_system(RESOURCE, "list")]
Stopper = Annotated[Principal, in_system(RESOURCE, "stop")]
JobType = Annotated[Text, Path(description="The type of a job, or all.")]
JobId = Annotated[Text, Path(description="The id of a job.")]


class WorkerPool(Wire):
    """A process that does jobs."""

    worker_pool_id: str = ""
    pid: int = 0
    start_at: datetime | None = None
    heartbeat_at: datetime | None = None
    concurrency: int = 0
    host: str = ""


class Worker(Wire):
    """A job that runs in one of them."""

    id: str = ""
    pool_id: str = ""
    job_name: str = ""
    job_id: str = ""
    start_at: datetime | None = None
    check_in: str = ""
    checkin_at: datetime | None = None


class JobQueue(Wire):
    """What waits of one type."""

    kept: ClassVar[frozenset[str]] = frozenset({"paused"})
    job_type: str = ""
    count: int = 0
    latency: int = 0  # seconds
    paused: bool = False


class ActionRequest(Wire):
    """What to do with what waits."""

    action: Literal["stop", "pause", "resume"]


class ScheduleTask(Wire):
    """When something comes."""

    id: int = 0
    vendor_type: str = ""
    vendor_id: int = 0
    cron: str = ""
    update_time: datetime | None = None


class SchedulerStatus(Wire):
    """Whether what is scheduled is held."""

    kept: ClassVar[frozenset[str]] = frozenset({"paused"})
    paused: bool = False


def _worker(task: records.Task) -> Worker:
    return Worker(
        id=f"{task.owner}/{task.id}",
        pool_id=task.owner or "",
        job_name=task.kind,
        job_id=str(task.id),
        start_at=task.started_at,
        check_in=task.check_in,
        checkin_at=task.checked_in_at,
    )


def _number(text: str) -> int | None:
    """The id that a path names, if it can be one."""
    found = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
    return found if found is not None and found <= LARGEST else None


@router.get("/jobservice/pools", tags=["jobservice"], response_model=list[WorkerPool])
async def get_worker_pools(api: Api, who: Lister) -> Response:
    """Processes that do jobs."""
    return reply(
        [
            WorkerPool(
                worker_pool_id=worker.id,
                pid=worker.pid,
                start_at=worker.started_at,
                heartbeat_at=worker.seen_at,
                concurrency=worker.slots,
                host=worker.host,
            )
            for worker in await api.dashboard.workers()
        ]
    )


@router.get("/jobservice/pools/{pool_id}/workers", tags=["jobservice"], response_model=list[Worker])
async def get_workers(
    api: Api,
    pool_id: Annotated[Text, Path(description="The id of a pool, or all.")],
    who: Lister,
) -> Response:
    """Jobs that run now, in one process or in all."""
    doing = await api.dashboard.doing(None if pool_id == ALL else pool_id)
    return reply([_worker(task) for task in doing])


@router.put("/jobservice/jobs/{job_id}", tags=["jobservice"])
async def stop_running_job(api: Api, job_id: JobId, who: Stopper) -> Response:
    """Stop one job, or all that run."""
    number = _number(job_id)
    if job_id == ALL:
        await api.jobs.stop_running(who.name)
    elif number is not None:
        await api.jobs.stop_task(who.name, number)
    return Response(status_code=200)


@router.get(
    "/jobservice/jobs/{job_id}/log", tags=["jobservice"], responses=TEXT, response_class=Response
)
async def action_get_job_log(api: Api, job_id: JobId, who: Lister) -> Response:
    """What a job said so far."""
    number = _number(job_id)
    if number is None:
        raise NotFound(f"job {job_id[:64]} not found")
    await api.history.task(number)
    return log_reply(await api.history.log(number))


@router.get("/jobservice/queues", tags=["jobservice"], response_model=list[JobQueue])
async def list_job_queues(api: Api, who: Lister) -> Response:
    """What waits, by type."""
    return reply(
        [
            JobQueue(
                job_type=queue.kind,
                count=queue.count,
                latency=queue.latency,
                paused=queue.paused,
            )
            for queue in await api.dashboard.queues()
        ]
    )


@router.put("/jobservice/queues/{job_type}", tags=["jobservice"])
async def action_pending_jobs(
    api: Api, job_type: JobType, body: ActionRequest, who: Stopper
) -> Response:
    """Hold what waits, let it go on, or end it; of one type or of all."""
    types = _types(api, job_type)
    if body.action == "stop":
        await api.jobs.empty(who.name, types)
    else:
        await api.jobs.pause(who.name, types, paused=body.action == "pause")
    return Response(status_code=200)


def _types(api: Any, job_type: str) -> Sequence[str]:
    known: Sequence[str] = api.dashboard.kinds
    if job_type.lower() == ALL:
        return known
    return [kind for kind in known if kind == job_type.upper()]


@router.get("/schedules", tags=["schedule"], **lists(ScheduleTask))
async def list_schedules(request: Request, api: Api, query: Paged, who: Lister) -> Response:
    """What comes again, the oldest first."""
    page = await api.schedules.list(query)
    items = [
        ScheduleTask(
            id=schedule.id,
            vendor_type=schedule.vendor_type,
            vendor_id=schedule.vendor_id,
            cron=schedule.cron,
            update_time=schedule.updated_at,
        )
        for schedule in page.items
    ]
    return listing(request, query, page, items)


@router.get("/schedules/{job_type}/paused", tags=["schedule"], response_model=SchedulerStatus)
async def get_schedule_paused(api: Api, job_type: JobType, who: Signed) -> Response:
    """Whether everything that is scheduled is held; the type is all."""
    if job_type.lower() not in (ALL, SCHEDULER.lower()):
        raise Invalid("only the pause of all schedules can be asked for: /schedules/all/paused")
    return reply(SchedulerStatus(paused=await api.schedules.paused()))
