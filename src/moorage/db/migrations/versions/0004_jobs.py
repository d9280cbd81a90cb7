"""Jobs, their schedules and logs; policies of retention and webhooks."""

import sqlalchemy as sa
from alembic import op

from moorage.db import types

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _executions()
    _tasks()
    _task_logs()
    _schedules()
    _workers()
    _policies()


def _executions() -> None:
    op.create_table(
        "executions",
        _id(),
        sa.Column("vendor_type", sa.String(64), nullable=False),
        sa.Column("vendor_id", _ID, server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        _text("status_message"),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.Column("unfinished", sa.Integer(), nullable=False),
        _counter("failed"),
        _counter("stopped"),
        sa.Column("dedupe", sa.String(128), nullable=True),
        _counter("revision"),
        _moment("created_at"),
        _moment("updated_at"),
        sa.Column("ended_at", types.Timestamp(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_executions")),
        sa.UniqueConstraint("dedupe", name=op.f("uq_executions_dedupe")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_executions_vendor", "executions", ["vendor_type", "vendor_id", "id"])


def _tasks() -> None:
    op.create_table(
        "tasks",
        _id(),
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        _text("status_message"),
        _counter("rank"),
        _moment("run_at"),
        *map(_counter, ("runs", "failures", "crashes")),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.Column("lease_until", types.Timestamp(), nullable=True),
        _counter("fence"),
        _flag("stop_requested"),
        sa.Column("checkpoint", sa.JSON(), nullable=True),
        _text("check_in"),
        sa.Column("checked_in_at", types.Timestamp(), nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.Column("started_at", types.Timestamp(), nullable=True),
        sa.Column("ended_at", types.Timestamp(), nullable=True),
        _reference("tasks", "execution_id", "executions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tasks_execution", "tasks", ["execution_id", "id"])
    _index_where("ix_tasks_due", "tasks", ["kind", "rank", "run_at"], "status = 'Pending'")
    _index_where("ix_tasks_leased", "tasks", ["kind", "lease_until"], "status = 'Running'")


def _task_logs() -> None:
    op.create_table(
        "task_logs",
        _id(),
        sa.Column("task_id", _ID, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        _moment("written_at"),
        _reference("task_logs", "task_id", "tasks"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_logs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_task_logs_written_at"), "task_logs", ["written_at"])
    op.create_index("ix_task_logs_task", "task_logs", ["task_id", "id"])


def _schedules() -> None:
    op.create_table(
        "schedules",
        _id(),
        sa.Column("vendor_type", sa.String(64), nullable=False),
        sa.Column("vendor_id", _ID, server_default=sa.text("0"), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("cron", sa.String(128), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("next_at", types.Timestamp(), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint(
            "vendor_type", "vendor_id", name=op.f("uq_schedules_vendor_type_vendor_id")
        ),
        sqlite_autoincrement=True,
    )
    _index_where("ix_schedules_due", "schedules", ["next_at"], "enabled")


def _workers() -> None:
    op.create_table(
        "job_queues",
        sa.Column("kind", sa.String(64), nullable=False),
        _flag("paused"),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_job_queues")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        _moment("started_at"),
        _moment("seen_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )


def _policies() -> None:
    op.create_table(
        "retention_policies",
        _id(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        _reference("retention_policies", "project_id", "projects"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_policies")),
        sa.UniqueConstraint("project_id", name=op.f("uq_retention_policies_project_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "webhook_policies",
        _id(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(1024), server_default="", nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("event_types", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("creator", sa.String(300), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        _reference("webhook_policies", "project_id", "projects"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_policies")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_webhook_policies_project_id_name")),
        sqlite_autoincrement=True,
    )


def _id() -> sa.Column[int]:
    return sa.Column("id", _ID, autoincrement=True, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False)


def _counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, types.Timestamp(), server_default=types.now(), nullable=False)


def _reference(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{to}")
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=name, ondelete="CASCADE")


def _index_where(name: str, table: str, columns: list[str], condition: str) -> None:
    only = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=only, postgresql_where=only)
