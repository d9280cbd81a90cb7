"""Other registries, and what goes to them or comes from them."""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
    text,
    true,
)

from moorage.db.tables.schema import Id, created, identifier, metadata, to, updated

registries = Table(
    "registries",
    metadata,
    identifier(),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(1024), nullable=False, server_default=""),
    Column("kind", String(64), nullable=False),  # of remotes.adapters
    Column("url", String(512), nullable=False),
    Column("credential_type", String(32), nullable=False, server_default="basic"),
    Column("username", String(255), nullable=False, server_default=""),
    Column("credential", LargeBinary),  # encrypted under secret_key
    Column("insecure", Boolean, nullable=False, server_default=false()),
    Column("ca_certificate", Text, nullable=False, server_default=""),
    Column("status", String(16), nullable=False, server_default=""),
    created(),
    updated(),
    sqlite_autoincrement=True,  # a secret is sealed for a row by its id: none comes again
)

project_registries = Table(  # projects that are a cache of a registry, and stay so
    "project_registries",
    metadata,
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("registry_id", Id, to("registries.id"), nullable=False, index=True),
)

replication_policies = Table(
    "replication_policies",
    metadata,
    identifier(),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(1024), nullable=False, server_default=""),
    Column("source_id", Id, to("registries.id"), index=True),  # None: this registry
    Column("target_id", Id, to("registries.id"), index=True),  # None: this registry
    Column("filters", JSON, nullable=False),
    Column("namespace", String(255), nullable=False, server_default=""),  # at the target
    Column("replaced", Integer, nullable=False, server_default=text("1")),  # parts of the name
    Column("trigger", String(16), nullable=False),
    Column("deletion", Boolean, nullable=False, server_default=false()),
    Column("override", Boolean, nullable=False, server_default=true()),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("speed", Integer, nullable=False, server_default=text("0")),  # kilobits a second
    Column("chunked", Boolean, nullable=False, server_default=false()),
    Column("single_active", Boolean, nullable=False, server_default=false()),
    Column("creator", String(300), nullable=False, server_default=""),
    created(),
    updated(),
    CheckConstraint("(source_id IS NULL) <> (target_id IS NULL)", name="one_side_is_here"),
    sqlite_autoincrement=True,  # executions name policies by id, and outlive them
)
