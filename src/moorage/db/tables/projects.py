"""Projects, who is in them, and their rules."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from moorage.db.tables.schema import (
    Digest,
    Id,
    ascii_text,
    created,
    identifier,
    metadata,
    to,
    updated,
    where,
)
from moorage.db.types import Timestamp

projects = Table(
    "projects",
    metadata,
    identifier(),
    Column("name", ascii_text(255), nullable=False, unique=True),
    Column("owner_id", Id, to("users.id"), nullable=False, index=True),
    Column("public", Boolean, nullable=False, server_default=false()),
    Column("revision", Id, nullable=False, server_default=text("1")),
    created(),
    updated(),
    sqlite_autoincrement=True,  # caches and tokens name a row by its id: none comes again
)

project_metadata = Table(
    "project_metadata",
    metadata,
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    updated(),
)

project_members = Table(
    "project_members",
    metadata,
    identifier(),
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Id, to("users.id", ondelete="CASCADE"), index=True),
    Column("group_id", Id, to("user_groups.id", ondelete="CASCADE"), index=True),
    Column("role_id", Integer, nullable=False),
    created(),
    updated(),
    UniqueConstraint("project_id", "user_id"),
    UniqueConstraint("project_id", "group_id"),
    CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="user_or_group"),
)

quotas = Table(
    "quotas",
    metadata,
    identifier(),
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("hard", BigInteger, nullable=False, server_default=text("-1")),  # bytes; -1 unlimited
    Column("used", BigInteger, nullable=False, server_default=text("0")),  # bytes
    Column("warned", Boolean, nullable=False, server_default=false()),  # that it is nearly full
    created(),
    updated(),
    CheckConstraint("used >= 0", name="used_not_negative"),
)

project_content = Table(  # one row per distinct digest that the project's quota counts
    "project_content",
    metadata,
    Column("project_id", Id, to("projects.id"), primary_key=True),
    Column("digest", Digest, primary_key=True),
    Column("size", BigInteger, nullable=False),
)

robots = Table(
    "robots",
    metadata,
    identifier(),
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), index=True),  # None: system
    Column("name", String(255), nullable=False, unique=True),  # full name without the prefix
    Column("description", String(1024), nullable=False, server_default=""),
    Column("secret_hash", String(128), nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("duration", Integer, nullable=False),  # days; -1 never expires
    Column("expires_at", Timestamp),  # None: never
    Column("creator", String(255), nullable=False),
    Column("revision", Id, nullable=False, server_default=text("1")),
    created(),
    updated(),
    sqlite_autoincrement=True,  # caches and tokens name a row by its id: none comes again
)

robot_permissions = Table(
    "robot_permissions",
    metadata,
    identifier(),
    Column("robot_id", Id, to("robots.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),  # system or project
    Column("project_id", Id, to("projects.id", ondelete="CASCADE")),  # None: all of the kind
    Column("resource", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    CheckConstraint("kind IN ('system', 'project')", name="kind_known"),
)

labels = Table(
    "labels",
    metadata,
    identifier(),
    Column("project_id", Id, to("projects.id", ondelete="CASCADE")),  # None: global
    Column("name", String(128), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("color", String(16), nullable=False, server_default=""),
    created(),
    updated(),
    Index("uq_labels_global", "name", unique=True, **where("project_id IS NULL")),
    Index("uq_labels_project", "project_id", "name", unique=True),
    sqlite_autoincrement=True,  # the trash names a row by its id: none comes again
)

immutable_rules = Table(
    "immutable_rules",
    metadata,
    identifier(),
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("repositories", JSON, nullable=False),  # selectors: kind, decoration, pattern
    Column("tags", JSON, nullable=False),
    Column("fingerprint", String(64), nullable=False),  # of both selectors: no rule comes twice
    created(),
    updated(),
    UniqueConstraint("project_id", "fingerprint"),
)

federation_rules = Table(  # which tokens of other issuers may act as which robot account
    "federation_rules",
    metadata,
    identifier(),
    Column("name", String(255), nullable=False),
    Column("robot_id", Id, to("robots.id", ondelete="CASCADE"), nullable=False),
    Column("issuer", ascii_text(512), nullable=False, index=True),
    Column("audience", String(512), nullable=False),
    Column("claims", JSON, nullable=False),  # conditions on what the token says
    Column("jwks", JSON),  # the issuer's keys; None: found by discovery
    Column("lifetime", Integer, nullable=False),  # seconds, of what is given out
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("creator", String(255), nullable=False),
    Column("revision", Id, nullable=False, server_default=text("1")),
    created(),
    updated(),
    UniqueConstraint("robot_id", "name"),
    sqlite_autoincrement=True,  # tokens name a row by its id: none comes again
)

scanners = Table(
    "scanners",
    metadata,
    Column("uuid", String(36), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(1024), nullable=False, server_default=""),
    Column("url", String(512), nullable=False, unique=True),
    Column("auth", String(64), nullable=False, server_default=""),
    Column("credential", LargeBinary),  # encrypted under secret_key
    Column("skip_cert_verify", Boolean, nullable=False, server_default=false()),
    Column("use_internal_addr", Boolean, nullable=False, server_default=false()),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("is_default", Boolean, nullable=False, server_default=false()),
    created(),
    updated(),
    Index("uq_scanners_default", "is_default", unique=True, **where("is_default")),
)

project_scanners = Table(  # projects that do not use the default one
    "project_scanners",
    metadata,
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "scanner_id",
        String(36),
        to("scanners.uuid", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
)
