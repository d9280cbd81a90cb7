"""Work that is done later: what is asked for, what runs, what comes again, and who does it."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

from moorage.db.tables.schema import Id, created, identifier, metadata, to, updated, where
from moorage.db.types import Timestamp, now

executions = Table(  # one run of something, as its user sees it
    "executions",
    metadata,
    identifier(),
    Column("vendor_type", String(64), nullable=False),
    Column("vendor_id", Id, nullable=False, server_default=text("0")),  # of its policy; 0: none
    Column("status", String(16), nullable=False),
    Column("status_message", Text, nullable=False, server_default=""),
    Column("trigger", String(16), nullable=False),
    Column("extra", JSON, nullable=False),
    Column("unfinished", Integer, nullable=False),  # tasks; the outcome is known at 0
    Column("failed", Integer, nullable=False, server_default=text("0")),
    Column("stopped", Integer, nullable=False, server_default=text("0")),
    Column("dedupe", String(128), unique=True),  # a second one with it is not made
    Column("revision", Integer, nullable=False, server_default=text("0")),
    created(),
    updated(),
    Column("ended_at", Timestamp),
    Index("ix_executions_vendor", "vendor_type", "vendor_id", "id"),
    sqlite_autoincrement=True,
)

tasks = Table(  # the queue: a task is done by one worker at a time, under a lease
    "tasks",
    metadata,
    identifier(),
    Column("execution_id", Id, to("executions.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("extra", JSON, nullable=False),  # results that the API shows
    Column("status", String(16), nullable=False),
    Column("status_message", Text, nullable=False, server_default=""),
    Column("rank", Integer, nullable=False, server_default=text("0")),  # lower is sooner
    Column("run_at", Timestamp, nullable=False, server_default=now()),
    Column("runs", Integer, nullable=False, server_default=text("0")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("crashes", Integer, nullable=False, server_default=text("0")),  # of its workers
    Column("owner", String(64)),  # the worker that runs it
    Column("lease_until", Timestamp),
    Column("fence", Integer, nullable=False, server_default=text("0")),  # grows with each run
    Column("stop_requested", Boolean, nullable=False, server_default=false()),
    Column("checkpoint", JSON),
    Column("check_in", Text, nullable=False, server_default=""),
    Column("checked_in_at", Timestamp),
    created(),
    updated(),
    Column("started_at", Timestamp),
    Column("ended_at", Timestamp),
    Index("ix_tasks_execution", "execution_id", "id"),
    Index("ix_tasks_due", "kind", "rank", "run_at", **where("status = 'Pending'")),
    Index("ix_tasks_leased", "kind", "lease_until", **where("status = 'Running'")),
    sqlite_autoincrement=True,
)

task_logs = Table(  # what a task said, in pieces
    "task_logs",
    metadata,
    identifier(),
    Column("task_id", Id, to("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("text", Text, nullable=False),
    Column("written_at", Timestamp, nullable=False, server_default=now(), index=True),
    Index("ix_task_logs_task", "task_id", "id"),
    sqlite_autoincrement=True,
)

schedules = Table(  # what comes again
    "schedules",
    metadata,
    identifier(),
    Column("vendor_type", String(64), nullable=False),
    Column("vendor_id", Id, nullable=False, server_default=text("0")),
    Column("type", String(16), nullable=False),  # Hourly, Daily, Weekly or Custom
    Column("cron", String(128), nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("next_at", Timestamp, nullable=False),
    created(),
    updated(),
    UniqueConstraint("vendor_type", "vendor_id"),
    Index("ix_schedules_due", "next_at", **where("enabled")),
    sqlite_autoincrement=True,
)

job_queues = Table(  # one row a kind of task: its lock, and whether it is paused
    "job_queues",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("paused", Boolean, nullable=False, server_default=false()),
)

workers = Table(  # processes that do tasks; told apart by what they call themselves
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("started_at", Timestamp, nullable=False, server_default=now()),
    Column("seen_at", Timestamp, nullable=False, server_default=now()),
)
