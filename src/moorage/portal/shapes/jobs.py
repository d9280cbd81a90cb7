"""Executions, their tasks and schedules, and who works."""

from typing import Any

from pydantic import Field

from moorage.portal.shapes.shape import Moment, Shape


class Counts(Shape):
    """Tasks of an execution by state."""

    task_count: int = 0
    success_task_count: int = 0
    error_task_count: int = 0
    pending_task_count: int = 0
    running_task_count: int = 0
    stopped_task_count: int = 0


class Execution(Shape):
    """A run of something."""

    id: int = 0
    vendor_type: str = ""
    status: str = ""
    status_message: str = ""
    trigger: str = ""
    metrics: Counts = Counts()
    extra_attrs: dict[str, Any] = Field(default_factory=dict)
    dry_run: bool = False
    start_time: Moment = None
    end_time: Moment = None


class Task(Shape):
    """A piece of a run."""

    id: int = 0
    execution_id: int = 0
    status: str = ""
    status_message: str = ""
    repository: str = ""
    total: int = 0
    retained: int = 0
    start_time: Moment = None
    end_time: Moment = None


class When(Shape):
    """When something comes."""

    type: str = ""
    cron: str = ""
    next_scheduled_time: Moment = None


class History(Shape):
    """A collection or a purge, or the schedule of such."""

    id: int = 0
    job_kind: str = ""
    job_parameters: str = ""
    job_status: str = ""
    schedule: When = When()
    creation_time: Moment = None
    update_time: Moment = None


class Queue(Shape):
    """Jobs of one type that wait."""

    job_type: str = ""
    count: int = 0
    latency: int = 0
    paused: bool = False


class Pool(Shape):
    """Workers of one process."""

    worker_pool_id: str = ""
    pid: int = 0
    concurrency: int = 0
    host: str = ""
    start_at: Moment = None
    heartbeat_at: Moment = None


class Worker(Shape):
    """A worker, and what it does."""

    id: str = ""
    pool_id: str = ""
    job_name: str = ""
    job_id: str = ""
    start_at: Moment = None
    check_in: str = ""
    checkin_at: Moment = None


class Scheduled(Shape):
    """A schedule of any kind."""

    id: int = 0
    vendor_type: str = ""
    vendor_id: int = 0
    cron: str = ""
    cron_type: str = ""
    update_time: Moment = None


class Paused(Shape):
    """Whether schedules rest."""

    paused: bool = False
