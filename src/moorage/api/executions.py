"""Executions and tasks as Harbor shows them under the policies that they are of."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from moorage.api.services import Services
from moorage.api.wire import Wire, print_time
from moorage.jobs import ERROR, PENDING, RUNNING, STOPPED, SUCCESS, records


class Metrics(Wire):
    """How many tasks are in which state."""

    task_count: int = 0
    success_task_count: int = 0
    error_task_count: int = 0
    pending_task_count: int = 0
    running_task_count: int = 0
    scheduled_task_count: int = 0
    stopped_task_count: int = 0


class Execution(Wire):
    """One run."""

    id: int = 0
    vendor_type: str = ""
    vendor_id: int = 0
    status: str = ""
    status_message: str = ""
    metrics: Metrics = Field(default_factory=Metrics)
    trigger: str = ""
    extra_attrs: dict[str, Any] = Field(default_factory=dict)
    start_time: str = ""
    end_time: str = ""


class Task(Wire):
    """A piece of a run."""

    id: int = 0
    execution_id: int = 0
    status: str = ""
    status_message: str = ""
    run_count: int = 0
    extra_attrs: dict[str, Any] = Field(default_factory=dict)
    creation_time: str = ""
    start_time: str = ""
    update_time: str = ""
    end_time: str = ""


async def executions(api: Services, runs: Sequence[records.Execution]) -> list[Execution]:
    """Runs of one page; their tasks are counted in one query."""
    counts = await api.history.metrics([run.id for run in runs])
    return [
        Execution(
            id=run.id,
            vendor_type=run.vendor_type,
            vendor_id=run.vendor_id,
            status=run.status,
            status_message=run.status_message,
            metrics=Metrics(
                task_count=sum(counts[run.id].values()),
                success_task_count=counts[run.id].get(SUCCESS, 0),
                error_task_count=counts[run.id].get(ERROR, 0),
                pending_task_count=counts[run.id].get(PENDING, 0),
                running_task_count=counts[run.id].get(RUNNING, 0),
                stopped_task_count=counts[run.id].get(STOPPED, 0),
            ),
            trigger=run.trigger,
            extra_attrs=dict(run.extra),
            start_time=_time(run.created_at),
            end_time=_time(run.ended_at),
        )
        for run in runs
    ]


def tasks(found: Sequence[records.Task]) -> list[Task]:
    """Tasks of one page."""
    return [
        Task(
            id=task.id,
            execution_id=task.execution_id,
            status=task.status,
            status_message=task.status_message,
            run_count=task.runs,
            extra_attrs=dict(task.extra),
            creation_time=_time(task.created_at),
            start_time=_time(task.started_at),
            update_time=_time(task.updated_at),
            end_time=_time(task.ended_at),
        )
        for task in found
    ]


def _time(moment: datetime | None) -> str:
    return print_time(moment) if moment is not None else ""
