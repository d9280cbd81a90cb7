"""What projects want done: which tags to keep, and whom to tell what happened."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    true,
)

from moorage.db.tables.schema import Id, created, identifier, metadata, to, updated

retention_policies = Table(
    "retention_policies",
    metadata,
    identifier(),
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("rules", JSON, nullable=False),
    created(),
    updated(),
    sqlite_autoincrement=True,  # executions name policies by id, and outlive them
)

webhook_policies = Table(
    "webhook_policies",
    metadata,
    identifier(),
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("description", String(1024), nullable=False, server_default=""),
    Column("targets", JSON, nullable=False),
    Column("secrets", LargeBinary),  # what the targets' headers and signatures need, sealed
    Column("event_types", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("creator", String(300), nullable=False),
    created(),
    updated(),
    UniqueConstraint("project_id", "name"),
    sqlite_autoincrement=True,
)
