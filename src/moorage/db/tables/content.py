"""Repositories and what is in them."""

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
    true,
)

from moorage.db.tables.schema import (
    Digest,
    Id,
    StorageKey,
    ascii_text,
    created,
    identifier,
    metadata,
    to,
    updated,
    where,
)
from moorage.db.types import Timestamp, now

repositories = Table(
    "repositories",
    metadata,
    identifier(),
    Column("project_id", Id, to("projects.id"), nullable=False, index=True),
    Column("name", ascii_text(255), nullable=False, unique=True),  # with the project
    Column("description", Text, nullable=False, server_default=""),
    Column("pull_count", BigInteger, nullable=False, server_default=text("0")),
    Column("pushed_at", Timestamp),  # None until the first manifest: not listed before
    created(),
    updated(),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", Digest, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("storage_key", StorageKey, nullable=False, unique=True),
    Column("state", String(8), nullable=False, server_default="live"),
    created(),
    CheckConstraint("state IN ('live', 'suspect')", name="state_known"),
)

repository_blobs = Table(  # a blob may be read and referenced in a repository that has this row
    "repository_blobs",
    metadata,
    Column("repository_id", Id, to("repositories.id"), primary_key=True),
    Column("digest", Digest, to("blobs.digest"), primary_key=True, index=True),
    Column("lease_until", Timestamp, nullable=False),
    Column("pending", Boolean, nullable=False),  # no manifest has referenced it here yet
)

manifests = Table(
    "manifests",
    metadata,
    identifier(),
    Column("repository_id", Id, to("repositories.id"), nullable=False),
    Column("digest", Digest, nullable=False, index=True),
    Column("media_type", String(255), nullable=False),
    Column("artifact_type", String(255), nullable=False, server_default=""),
    Column("config_media_type", String(255), nullable=False, server_default=""),
    Column("type", String(255)),  # in Harbor's words, from these three; None: see artifacts.typed
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
    Index("ix_manifests_type", "repository_id", "type", "listed", "pushed_at", "id"),
    Index("ix_manifests_untyped", "repository_id", **where("type IS NULL")),
)

manifest_blobs = Table(
    "manifest_blobs",
    metadata,
    Column("manifest_id", Id, to("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Digest, to("blobs.digest"), primary_key=True, index=True),
    Column("size", BigInteger, nullable=False),
)

manifest_children = Table(
    "manifest_children",
    metadata,
    Column("parent_id", Id, to("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("child_id", Id, to("manifests.id"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
    Column("platform", JSON),
)

manifest_absences = Table(  # what a manifest names and its repository does not hold (yet)
    "manifest_absences",
    metadata,
    Column("manifest_id", Id, to("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Digest, primary_key=True, index=True),
    Column("size", BigInteger, nullable=False),
    Column("platform", JSON),  # of a child
)

manifest_labels = Table(
    "manifest_labels",
    metadata,
    Column("manifest_id", Id, to("manifests.id", ondelete="CASCADE"), primary_key=True),
    Column("label_id", Id, to("labels.id", ondelete="CASCADE"), primary_key=True, index=True),
    created(),
)

tags = Table(
    "tags",
    metadata,
    identifier(),
    Column("repository_id", Id, to("repositories.id"), nullable=False),
    Column("name", ascii_text(128), nullable=False),
    Column("manifest_id", Id, to("manifests.id"), nullable=False, index=True),
    Column("revision", Id, nullable=False, server_default=text("1")),
    Column("pushed_at", Timestamp, nullable=False, server_default=now()),
    Column("pulled_at", Timestamp),
    UniqueConstraint("repository_id", "name"),
)

artifact_trash = Table(  # deleted manifests that can still come back
    "artifact_trash",
    metadata,
    identifier(),
    Column("repository_id", Id, to("repositories.id"), nullable=False, index=True),
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
