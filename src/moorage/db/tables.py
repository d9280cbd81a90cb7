"""Every table, in the order of their references.

    users ─┬─ sessions
           ├─ projects ─┬─ project_metadata, project_members, quotas, immutable_rules
           │            ├─ project_content          what a project's quota counts
           │            ├─ labels (or global)
           │            ├─ robots ── robot_permissions
           │            └─ repositories ─┬─ uploads ── upload_segments
           │                             ├─ repository_blobs ──► blobs
           │                             ├─ manifests ─┬─ manifest_blobs ──► blobs
           │                             │             ├─ manifest_children (manifest ──► manifest)
           │                             │             ├─ manifest_absences
           │                             │             ├─ manifest_labels ──► labels
           │                             │             └─ tags
           │                             └─ artifact_trash
           └─ (by name only) outbox, audit_log, audit_forwards, login_attempts
    gc_candidates, blob_trash   by digest and storage key, without references: they outlive the blob

Foreign keys are the second belt of every rule here: what is referenced cannot be deleted.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

from moorage.db.types import Timestamp, now

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")


def _ascii(length: int) -> String:
    """Text that sorts by its bytes on both databases, whatever PostgreSQL's locale is."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


Digest = _ascii(135)  # "sha512:" and 128 hex digits
StorageKey = _ascii(512)


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _created() -> Column[object]:
    return Column("created_at", Timestamp, nullable=False, server_default=now())


def _updated() -> Column[object]:
    return Column("updated_at", Timestamp, nullable=False, server_default=now())


def _where(condition: str) -> dict[str, Any]:
    """Arguments of a partial index, for both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _to(column: str, *, ondelete: str | None = None) -> ForeignKey:
    return ForeignKey(column, ondelete=ondelete)


# --- who ---------------------------------------------------------------------------------------

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("algorithm", String(16), nullable=False),
    Column("private_key", LargeBinary, nullable=False),  # PKCS 8, encrypted under secret_key
    _created(),
    Column("retires_at", Timestamp),  # still verifies until then, signs no more
)

properties = Table(  # small facts about this installation: fingerprints, generations
    "properties",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    _updated(),
)

configuration = Table(  # operator-editable settings that differ from their defaults
    "configuration",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),  # JSON; a secret is encrypted under secret_key
    _updated(),
)

users = Table(
    "users",
    metadata,
    _id(),
    Column("username", String(255), nullable=False, unique=True),
    Column("email", String(255), unique=True),
    Column("realname", String(255), nullable=False, server_default=""),
    Column("comment", String(255), nullable=False, server_default=""),
    Column("password_hash", String(512)),  # None: cannot sign in with a password
    Column("sysadmin", Boolean, nullable=False, server_default=false()),
    Column("revision", Id, nullable=False, server_default=text("1")),
    _created(),
    _updated(),
    sqlite_autoincrement=True,  # caches and tokens name a row by its id: none comes again
)

sessions = Table(  # of people who signed in with a browser
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the cookie's value
    Column("user_id", Id, _to("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("revision", Id, nullable=False),  # of the user at the sign-in
    Column("expires_at", Timestamp, nullable=False, index=True),
    Column("renewed_at", Timestamp, nullable=False, server_default=now()),
    _created(),
)

login_attempts = Table(  # failures since the last success, per account and address
    "login_attempts",
    metadata,
    Column("account", String(255), primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", Timestamp, nullable=False),
    _updated(),
)

# --- projects ----------------------------------------------------------------------------------

projects = Table(
    "projects",
    metadata,
    _id(),
    Column("name", _ascii(255), nullable=False, unique=True),
    Column("owner_id", Id, _to("users.id"), nullable=False, index=True),
    Column("public", Boolean, nullable=False, server_default=false()),
    Column("revision", Id, nullable=False, server_default=text("1")),
    _created(),
    _updated(),
    sqlite_autoincrement=True,  # caches and tokens name a row by its id: none comes again
)

project_metadata = Table(
    "project_metadata",
    metadata,
    Column("project_id", Id, _to("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    _updated(),
)

project_members = Table(
    "project_members",
    metadata,
    _id(),
    Column("project_id", Id, _to("projects.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Id, _to("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("role_id", Integer, nullable=False),
    _created(),
    _updated(),
    UniqueConstraint("project_id", "user_id"),
)

quotas = Table(
    "quotas",
    metadata,
    _id(),
    Column("project_id", Id, _to("projects.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("hard", BigInteger, nullable=False, server_default=text("-1")),  # bytes; -1 unlimited
    Column("used", BigInteger, nullable=False, server_default=text("0")),  # bytes
    _created(),
    _updated(),
    CheckConstraint("used >= 0", name="used_not_negative"),
)

project_content = Table(  # one row per distinct digest that the project's quota counts
    "project_content",
    metadata,
    Column("project_id", Id, _to("projects.id"), primary_key=True),
    Column("digest", Digest, primary_key=True),
    Column("size", BigInteger, nullable=False),
)

robots = Table(
    "robots",
    metadata,
    _id(),
    Column("project_id", Id, _to("projects.id", ondelete="CASCADE"), index=True),  # None: system
    Column("name", String(255), nullable=False, unique=True),  # full name without the prefix
    Column("description", String(1024), nullable=False, server_default=""),
    Column("secret_hash", String(128), nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("duration", Integer, nullable=False),  # days; -1 never expires
    Column("expires_at", Timestamp),  # None: never
    Column("creator", String(255), nullable=False),
    Column("revision", Id, nullable=False, server_default=text("1")),
    _created(),
    _updated(),
    sqlite_autoincrement=True,  # caches and tokens name a row by its id: none comes again
)

robot_permissions = Table(
    "robot_permissions",
    metadata,
    _id(),
    Column("robot_id", Id, _to("robots.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),  # system or project
    Column("project_id", Id, _to("projects.id", ondelete="CASCADE")),  # None: all of the kind
    Column("resource", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    CheckConstraint("kind IN ('system', 'project')", name="kind_known"),
)

labels = Table(
    "labels",
    metadata,
    _id(),
    Column("project_id", Id, _to("projects.id", ondelete="CASCADE")),  # None: global
    Column("name", String(128), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("color", String(16), nullable=False, server_default=""),
    _created(),
    _updated(),
    Index("uq_labels_global", "name", unique=True, **_where("project_id IS NULL")),
    Index("uq_labels_project", "project_id", "name", unique=True),
    sqlite_autoincrement=True,  # the trash names a row by its id: none comes again
)

immutable_rules = Table(
    "immutable_rules",
    metadata,
    _id(),
    Column("project_id", Id, _to("projects.id", ondelete="CASCADE"), nullable=False),
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("repositories", JSON, nullable=False),  # selectors: kind, decoration, pattern
    Column("tags", JSON, nullable=False),
    Column("fingerprint", String(64), nullable=False),  # of both selectors: no rule comes twice
    _created(),
    _updated(),
    UniqueConstraint("project_id", "fingerprint"),
)

# --- content -----------------------------------------------------------------------------------

repositories = Table(
    "repositories",
    metadata,
    _id(),
    Column("project_id", Id, _to("projects.id"), nullable=False, index=True),
    Column("name", _ascii(255), nullable=False, unique=True),  # with the project
    Column("description", Text, nullable=False, server_default=""),
    Column("pull_count", BigInteger, nullable=False, server_default=text("0")),
    Column("pushed_at", Timestamp),  # None until the first manifest: not listed before
    _created(),
    _updated(),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", Digest, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("storage_key", StorageKey, nullable=False, unique=True),
    Column("state", String(8), nullable=False, server_default="live"),
    _created(),
    CheckConstraint("state IN ('live', 'suspect')", name="state_known"),
)

repository_blobs = Table(  # a blob may be read and referenced in a repository that has this row
    "repository_blobs",
    metadata,
    Column("repository_id", Id, _to("repositories.id"), primary_key=True),
    Column("digest", Digest, _to("blobs.digest"), primary_key=True, index=True),
    Column("lease_until", Timestamp, nullable=False),
    Column("pending", Boolean, nullable=False),  # no manifest has referenced it here yet
)

manifests = Table(
    "manifests",
    metadata,
    _id(),
    Column("repository_id", Id, _to("repositories.id"), nullable=False),
    Column("digest", Digest, nullable=False, index=True),
    Column("media_type", String(255), nullable=False),
    Column("artifact_type", String(255), nullable=False, server_default=""),
    Column("config_media_type", String(255), nullable=False, server_default=""),
    Column("payload", LargeBinary, nullable=False),  # the exact bytes
    Column("payload_size", Integer, nullable=False),
    Column("total_size", BigInteger, nullable=False),  # bytes, with everything it refers to
    Column("depth", Integer, nullable=False, server_default=text("0")),  # indexes below it
    Column("subject_digest", Digest),  # may name a manifest that is not here
    Column("annotations", JSON, nullable=False, server_default="{}"),
    Column("extra_attrs", Text),  # JSON of its config; null until somebody asks for it
    Column("pushed_by", String(255), nullable=False, server_default=""),
    Column("pushed_at", Timestamp, nullable=False, server_default=now()),
    Column("pulled_at", Timestamp),
    Column("pull_count", BigInteger, nullable=False, server_default=text("0")),
    Column("tagged", Boolean, nullable=False, server_default=false()),  # see artifacts.listed
    Column("listed", Boolean, nullable=False, server_default=true()),
    UniqueConstraint("repository_id", "digest"),
    Index("ix_manifests_subject", "repository_id", "subject_digest"),
    Index("ix_manifests_listed", "repository_id", "listed", "pushed_at", "id", "tagged"),
)

manifest_blobs = Table(
    "manifest_blobs",
    metadata,
    Column("manifest_id", Id, _to("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Digest, _to("blobs.digest"), primary_key=True, index=True),
    Column("size", BigInteger, nullable=False),
)

manifest_children = Table(
    "manifest_children",
    metadata,
    Column("parent_id", Id, _to("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("child_id", Id, _to("manifests.id"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
    Column("platform", JSON),
)

manifest_absences = Table(  # what a manifest names and its repository does not hold (yet)
    "manifest_absences",
    metadata,
    Column("manifest_id", Id, _to("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Digest, primary_key=True, index=True),
    Column("size", BigInteger, nullable=False),
    Column("platform", JSON),  # of a child
)

manifest_labels = Table(
    "manifest_labels",
    metadata,
    Column("manifest_id", Id, _to("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("label_id", Id, _to("labels.id", ondelete="CASCADE"), primary_key=True, index=True),
    _created(),
)

tags = Table(
    "tags",
    metadata,
    _id(),
    Column("repository_id", Id, _to("repositories.id"), nullable=False),
    Column("name", _ascii(128), nullable=False),
    Column("manifest_id", Id, _to("manifests.id"), nullable=False, index=True),
    Column("revision", Id, nullable=False, server_default=text("1")),
    Column("pushed_at", Timestamp, nullable=False, server_default=now()),
    Column("pulled_at", Timestamp),
    UniqueConstraint("repository_id", "name"),
)

artifact_trash = Table(  # deleted manifests that can still come back
    "artifact_trash",
    metadata,
    _id(),
    Column("repository_id", Id, _to("repositories.id"), nullable=False, index=True),
    Column("digest", Digest, nullable=False),
    Column("media_type", String(255), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("tags", JSON, nullable=False),  # the names that pointed at it
    Column("blobs", JSON, nullable=False, server_default="[]"),  # digests that it held here
    Column("labels", JSON, nullable=False, server_default="[]"),  # ids
    Column("deleted_by", String(255), nullable=False, server_default=""),
    Column("deleted_at", Timestamp, nullable=False, server_default=now()),
    Column("expires_at", Timestamp, nullable=False, index=True),
)

# --- uploads -----------------------------------------------------------------------------------

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(36), primary_key=True),  # a random UUID
    Column("repository_id", Id, _to("repositories.id"), nullable=False, index=True),
    Column("principal", String(300), nullable=False),  # only the one who began may go on
    Column("algorithm", String(16), nullable=False),  # digest algorithm of the segments
    Column("offset", BigInteger, nullable=False, server_default=text("0")),  # committed bytes
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),  # the newest writer's
    _created(),
    Column("updated_at", Timestamp, nullable=False, server_default=now(), index=True),
)

upload_segments = Table(  # the intent log of storage keys: written before the object is
    "upload_segments",
    metadata,
    Column("storage_key", StorageKey, primary_key=True),
    Column("upload_id", String(36), _to("uploads.id"), nullable=False, index=True),
    Column("start", BigInteger, nullable=False),  # offset of the first byte
    Column("size", BigInteger),  # bytes; None until the object is durable
    Column("digest", Digest),  # of this segment alone, under the upload's algorithm
)

# --- garbage -----------------------------------------------------------------------------------

gc_candidates = Table(
    "gc_candidates",
    metadata,
    Column("digest", Digest, primary_key=True),
    Column("review_after", Timestamp, nullable=False, index=True),
    Column("reason", String(32), nullable=False),
)

blob_trash = Table(  # storage keys that nothing refers to; keys are used once, so never again
    "blob_trash",
    metadata,
    Column("storage_key", StorageKey, primary_key=True),
    Column("digest", Digest, index=True),  # None: an unfinished upload
    Column("size", BigInteger),
    Column("not_before", Timestamp, nullable=False, index=True),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("sweeping", Boolean, nullable=False, server_default=false()),  # cannot come back
    Column("error", Text),
)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    Column("type", String(64), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("occurred_at", Timestamp, nullable=False, server_default=now()),
)

audit_log = Table(  # who did what; outlives users and projects
    "audit_log",
    metadata,
    _id(),
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
    _id(),
    Column("entry", JSON, nullable=False),  # the row of audit_log, its time as text
    Column("kept", Boolean, nullable=False),  # whether audit_log has it too
    sqlite_autoincrement=True,  # a message is known by the id: none comes again
)
