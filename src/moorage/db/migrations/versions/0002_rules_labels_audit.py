"""Settings, sessions, labels, attributes of artifacts, immutable tags, and the audit log."""

import sqlalchemy as sa
from alembic import op

from moorage.db import types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _settings()
    _sessions()
    _labels()
    _immutable_rules()
    _audit_log()
    _manifests()


def _manifests() -> None:
    op.add_column("manifests", sa.Column("extra_attrs", sa.Text(), nullable=True))
    tagged: sa.Column[bool] = sa.Column(
        "tagged", sa.Boolean(), server_default=sa.false(), nullable=False
    )
    listed: sa.Column[bool] = sa.Column(
        "listed", sa.Boolean(), server_default=sa.true(), nullable=False
    )
    op.add_column("manifests", tagged)
    op.add_column("manifests", listed)
    op.execute(
        "UPDATE manifests SET tagged = EXISTS "
        "(SELECT 1 FROM tags WHERE tags.manifest_id = manifests.id)"
    )
    op.execute(
        "UPDATE manifests SET listed = NOT EXISTS (SELECT 1 FROM manifests subject "
        "WHERE subject.repository_id = manifests.repository_id "
        "AND subject.digest = manifests.subject_digest) "
        "AND (tagged OR NOT EXISTS "
        "(SELECT 1 FROM manifest_children WHERE child_id = manifests.id))"
    )
    columns = ["repository_id", "listed", "pushed_at", "id", "tagged"]
    op.create_index("ix_manifests_listed", "manifests", columns)
    op.drop_index("ix_manifests_pushed", "manifests")


def _settings() -> None:
    op.create_table(
        "configuration",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_configuration")),
    )


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("revision", _ID, nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=False),
        _moment("renewed_at"),
        _moment("created_at"),
        _reference("sessions", "user_id", "users"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"])
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"])


def _labels() -> None:
    op.create_table(
        "labels",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("color", sa.String(16), server_default="", nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        _reference("labels", "project_id", "projects"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
        sqlite_autoincrement=True,
    )
    everywhere = sa.text("project_id IS NULL")
    op.create_index(
        "uq_labels_global",
        "labels",
        ["name"],
        unique=True,
        sqlite_where=everywhere,
        postgresql_where=everywhere,
    )
    op.create_index("uq_labels_project", "labels", ["project_id", "name"], unique=True)
    op.create_table(
        "manifest_labels",
        sa.Column("manifest_id", _ID, nullable=False),
        sa.Column("label_id", _ID, nullable=False),
        _moment("created_at"),
        _reference("manifest_labels", "manifest_id", "manifests"),
        _reference("manifest_labels", "label_id", "labels"),
        sa.PrimaryKeyConstraint("manifest_id", "label_id", name=op.f("pk_manifest_labels")),
    )
    op.create_index(op.f("ix_manifest_labels_label_id"), "manifest_labels", ["label_id"])
    op.add_column(
        "artifact_trash", sa.Column("labels", sa.JSON(), server_default="[]", nullable=False)
    )


def _immutable_rules() -> None:
    op.create_table(
        "immutable_rules",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("repositories", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        _reference("immutable_rules", "project_id", "projects"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_immutable_rules")),
        sa.UniqueConstraint(
            "project_id", "fingerprint", name=op.f("uq_immutable_rules_project_id_fingerprint")
        ),
    )


def _audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        _moment("occurred_at"),
        sa.Column("project_id", _ID, nullable=True),
        sa.Column("username", sa.String(300), nullable=False),
        sa.Column("operation", sa.String(32), nullable=False),
        sa.Column("resource_type", sa.String(32), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("successful", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_occurred_at"), "audit_log", ["occurred_at"])
    op.create_index("ix_audit_log_project", "audit_log", ["project_id", "occurred_at"])
    op.create_table(
        "audit_forwards",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("entry", sa.JSON(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_forwards")),
        sqlite_autoincrement=True,
    )


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, types.Timestamp(), server_default=types.now(), nullable=False)


def _reference(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{to}")
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=name, ondelete="CASCADE")
