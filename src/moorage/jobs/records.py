"""What the tables of work hold, as values. Names and states are Harbor's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PENDING, RUNNING = "Pending", "Running"
SUCCESS, ERROR, STOPPED = "Success", "Error", "Stopped"
FINAL = (SUCCESS, ERROR, STOPPED)
"""States that nothing leaves again."""

MANUAL, SCHEDULE, EVENT = "MANUAL", "SCHEDULE", "EVENT"
"""What an execution was triggered by."""


class Stopping(Exception):
    """The task shall end, and its handler noticed."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of something."""

    id: int
    vendor_type: str
    vendor_id: int  # of its policy; 0: none
    status: str
    status_message: str
    trigger: str
    extra: Mapping[str, Any]
    revision: int
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of an execution that one worker does."""

    id: int
    execution_id: int
    kind: str
    arguments: Mapping[str, Any]
    extra: Mapping[str, Any]  # results that are shown
    status: str
    status_message: str
    runs: int
    owner: str | None
    check_in: str  # what it said of its progress last
    checked_in_at: datetime | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    revision: int  # grows with each run


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that this worker may do until its lease ends."""

    id: int
    execution_id: int
    kind: str
    arguments: Mapping[str, Any]
    checkpoint: Any  # what an earlier run saved; None: nothing
    fence: int
    failures: int
    crashes: int
    created_at: datetime
    vendor_id: int
    stop_requested: bool = False  # before this run began


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something comes again."""

    id: int
    vendor_type: str
    vendor_id: int
    type: str  # Hourly, Daily, Weekly or Custom
    cron: str
    arguments: Mapping[str, Any]
    enabled: bool
    next_at: datetime
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that does tasks."""

    id: str
    host: str
    pid: int
    slots: int
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits of one kind."""

    kind: str
    count: int
    latency: int  # whole seconds that the oldest has waited
    paused: bool
