"""Jobs that an operator asks for or schedules, as Harbor shows them: what gc and purge share.

POST …/schedule {"schedule": {"type": "Manual"}}                    now
POST …/schedule {"schedule": {"type": "Custom", "cron": "0 0 2 * * *"}}    again and again
POST …/schedule {"schedule": {"type": "None"}}                      no more
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import Path
from pydantic import Field
from starlette.responses import PlainTextResponse, Response

from moorage.access.principals import Principal
from moorage.api.services import Services
from moorage.api.wire import Text, Wire, reply
from moorage.db.queries import LARGEST, Query
from moorage.errors import Conflict, Invalid
from moorage.jobs import MANUAL, Execution
from moorage.jobs.cron import PRESETS
from moorage.jobs.records import FINAL
from moorage.jobs.records import Schedule as Scheduled
from moorage.web.paging import list_headers

ExecutionId = Annotated[int, Path(ge=0, le=LARGEST, description="The id of the execution.")]

MANUALLY, NEVER, CUSTOM = "Manual", "None", ("Custom", "Schedule")


class ScheduleObj(Wire):
    """When something comes."""

    type: Literal["Hourly", "Daily", "Weekly", "Custom", "Manual", "None", "Schedule", ""] = ""
    cron: Text = ""
    next_scheduled_time: datetime | None = None


class Schedule(Wire):
    """What shall come, and how."""

    id: int = 0
    status: Text = ""
    creation_time: datetime | None = None
    update_time: datetime | None = None
    schedule: ScheduleObj = Field(default_factory=ScheduleObj)
    parameters: dict[str, Any] = Field(default_factory=dict)


class ExecHistory(Wire):
    """One run, or the schedule of runs."""

    id: int = 0
    job_name: str = ""
    job_kind: str = ""
    job_parameters: str = ""
    schedule: ScheduleObj | None = None
    job_status: str = ""
    deleted: bool = False
    creation_time: datetime | None = None
    update_time: datetime | None = None


TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The log.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
"""Responses of a route that answers with a log."""


def log_reply(text: str) -> Response:
    """A log, which no browser may take for anything else."""
    return PlainTextResponse(text, headers={"X-Content-Type-Options": "nosniff"})


def history(run: Execution) -> ExecHistory:
    """One run."""
    kind = MANUALLY if run.trigger == MANUAL else CUSTOM[0]
    return ExecHistory(
        id=run.id,
        job_name=run.vendor_type,
        job_kind=run.trigger,
        job_parameters=_printed(run.extra),
        schedule=ScheduleObj(type=kind),
        job_status=run.status,
        creation_time=run.created_at,
        update_time=run.updated_at,
    )


def _printed(values: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(values)).decode()


@dataclass(frozen=True)
class Recurring:
    """A kind of job with a history and a schedule."""

    kind: str

    async def page(self, api: Services, query: Query, path: str, text: str) -> Response:
        """Runs, the newest first."""
        page = await api.history.list((self.kind,), query)
        headers = list_headers(path, text, query, page)
        return reply([history(run) for run in page.items], headers=headers)

    async def get(self, api: Services, execution_id: int) -> Response:
        """One run; raises NotFound."""
        return reply(history(await api.history.get((self.kind,), execution_id)))

    async def stop(self, api: Services, who: Principal, execution_id: int) -> Response:
        """End one, if it has not ended by itself; raises NotFound."""
        run = await api.history.get((self.kind,), execution_id)
        if run.status not in FINAL:
            await api.jobs.stop(who.name, execution_id)
        return Response(status_code=200)

    async def log(self, api: Services, execution_id: int) -> Response:
        """What one said; raises NotFound."""
        await api.history.get((self.kind,), execution_id)
        return log_reply(await api.history.log_of(execution_id))

    async def schedule(self, api: Services) -> Response:
        """The schedule; an empty object when there is none."""
        found = await api.schedules.find(self.kind)
        return reply(_scheduled(found) if found is not None else ExecHistory())

    async def put(
        self, api: Services, who: Principal, body: Schedule, arguments: Mapping[str, Any]
    ) -> int | None:
        """Do what a body asks for; the id of the run that it began. Raises Invalid, Conflict."""
        wanted = body.schedule.type
        if wanted == MANUALLY:
            if await api.history.running(self.kind):
                raise Conflict("one is running: wait for its end, or stop it")
            return await api.jobs.start(who.name, self.kind, arguments)
        if wanted == NEVER:
            await api.jobs.unschedule(who.name, self.kind)
        elif wanted in PRESETS or wanted in CUSTOM:
            if wanted in CUSTOM and not body.schedule.cron:
                raise Invalid("a schedule of this type needs cron: 0 0 2 * * *")
            cron = body.schedule.cron
            await api.jobs.schedule(who.name, self.kind, wanted, cron, arguments)
        else:
            raise Invalid("schedule.type is one of Hourly, Daily, Weekly, Custom, Manual, None")
        return None


def _scheduled(found: Scheduled) -> ExecHistory:
    return ExecHistory(
        id=found.id,
        job_name=found.vendor_type,
        job_kind="SCHEDULE",
        job_parameters=_printed(found.arguments),
        schedule=ScheduleObj(
            type=found.type,
            cron=found.cron,
            next_scheduled_time=found.next_at,
        ),
        creation_time=found.created_at,
        update_time=found.updated_at,
    )
