"""What happened; by name only, so that it outlives users and projects."""

from sqlalchemy import JSON, Boolean, Column, Index, String, Table, Text, true

from moorage.db.tables.schema import Id, identifier, metadata
from moorage.db.types import Timestamp, now

outbox = Table(
    "outbox",
    metadata,
    identifier(),
    Column("type", String(64), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("occurred_at", Timestamp, nullable=False, server_default=now()),
)

audit_log = Table(  # who did what; outlives users and projects
    "audit_log",
    metadata,
    identifier(),
    Column("occurred_at", Timestamp, nullable=False, server_default=now(), index=True),
    Column("project_id", Id),  # None: of the whole installation
    Column("username", String(300), nullable=False),
    Column("operation", String(32), nullable=False),
    Column("resource_type", String(32), nullable=False),
    Column("resource", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("successful", Boolean, nullable=False, server_default=true()),
    Index("ix_audit_log_project", "project_id", "occurred_at"),
)

audit_forwards = Table(  # what the syslog server has not got yet
    "audit_forwards",
    metadata,
    identifier(),
    Column("entry", JSON, nullable=False),  # the row of audit_log, its time as text
    Column("kept", Boolean, nullable=False),  # whether audit_log has it too
    sqlite_autoincrement=True,  # a message is known by the id: none comes again
)
