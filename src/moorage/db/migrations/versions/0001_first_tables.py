"""The first tables."""

import sqlalchemy as sa
from alembic import op

from moorage.db import types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _ascii(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "blob_trash",
        sa.Column("storage_key", _ascii(512), nullable=False),
        sa.Column("digest", _ascii(135), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("not_before", types.Timestamp(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sweeping", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("storage_key", name=op.f("pk_blob_trash")),
    )
    op.create_index(op.f("ix_blob_trash_digest"), "blob_trash", ["digest"], unique=False)
    op.create_index(op.f("ix_blob_trash_not_before"), "blob_trash", ["not_before"], unique=False)
    op.create_table(
        "blobs",
        sa.Column("digest", _ascii(135), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("storage_key", _ascii(512), nullable=False),
        sa.Column("state", sa.String(length=8), server_default="live", nullable=False),
        sa.Column("created_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.CheckConstraint("state IN ('live', 'suspect')", name=op.f("ck_blobs_state_known")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blobs")),
        sa.UniqueConstraint("storage_key", name=op.f("uq_blobs_storage_key")),
    )
    op.create_table(
        "gc_candidates",
        sa.Column("digest", _ascii(135), nullable=False),
        sa.Column("review_after", types.Timestamp(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_gc_candidates")),
    )
    op.create_index(
        op.f("ix_gc_candidates_review_after"), "gc_candidates", ["review_after"], unique=False
    )
    op.create_table(
        "login_attempts",
        sa.Column("account", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("blocked_until", types.Timestamp(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.PrimaryKeyConstraint("account", "address", name=op.f("pk_login_attempts")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("occurred_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_table(
        "properties",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_properties")),
    )
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("algorithm", sa.String(length=16), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("retires_at", types.Timestamp(), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )
    op.create_table(
        "users",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=True),
        sa.Column("realname", sa.String(length=255), server_default="", nullable=False),
        sa.Column("comment", sa.String(length=255), server_default="", nullable=False),
        sa.Column("password_hash", sa.String(length=512), nullable=True),
        sa.Column("sysadmin", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("revision", _ID, server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "projects",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", _ascii(255), nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("public", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("revision", _ID, server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_projects_owner_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_projects_owner_id"), "projects", ["owner_id"], unique=False)
    op.create_table(
        "project_content",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("digest", _ascii(135), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_content_project_id_projects")
        ),
        sa.PrimaryKeyConstraint("project_id", "digest", name=op.f("pk_project_content")),
    )
    op.create_table(
        "project_members",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("role_id", sa.Integer(), nullable=False),
        sa.Column("created_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_project_members_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_project_members_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_members")),
        sa.UniqueConstraint(
            "project_id", "user_id", name=op.f("uq_project_members_project_id_user_id")
        ),
    )
    op.create_index(
        op.f("ix_project_members_user_id"), "project_members", ["user_id"], unique=False
    )
    op.create_table(
        "project_metadata",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_project_metadata_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_project_metadata")),
    )
    op.create_table(
        "quotas",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("hard", sa.BigInteger(), server_default=sa.text("-1"), nullable=False),
        sa.Column("used", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.CheckConstraint("used >= 0", name=op.f("ck_quotas_used_not_negative")),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_quotas_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotas")),
        sa.UniqueConstraint("project_id", name=op.f("uq_quotas_project_id")),
    )
    op.create_table(
        "repositories",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", _ascii(255), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("pull_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pushed_at", types.Timestamp(), nullable=True),
        sa.Column("created_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_repositories_project_id_projects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repositories")),
        sa.UniqueConstraint("name", name=op.f("uq_repositories_name")),
    )
    op.create_index(
        op.f("ix_repositories_project_id"), "repositories", ["project_id"], unique=False
    )
    op.create_table(
        "robots",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=1024), server_default="", nullable=False),
        sa.Column("secret_hash", sa.String(length=128), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("duration", sa.Integer(), nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=True),
        sa.Column("creator", sa.String(length=255), nullable=False),
        sa.Column("revision", _ID, server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_robots_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_robots")),
        sa.UniqueConstraint("name", name=op.f("uq_robots_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_robots_project_id"), "robots", ["project_id"], unique=False)
    op.create_table(
        "artifact_trash",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("digest", _ascii(135), nullable=False),
        sa.Column("media_type", sa.String(length=255), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("blobs", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("deleted_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("deleted_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_artifact_trash_repository_id_repositories"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact_trash")),
    )
    op.create_index(
        op.f("ix_artifact_trash_expires_at"), "artifact_trash", ["expires_at"], unique=False
    )
    op.create_index(
        op.f("ix_artifact_trash_repository_id"), "artifact_trash", ["repository_id"], unique=False
    )
    op.create_table(
        "manifests",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("digest", _ascii(135), nullable=False),
        sa.Column("media_type", sa.String(length=255), nullable=False),
        sa.Column("artifact_type", sa.String(length=255), server_default="", nullable=False),
        sa.Column("config_media_type", sa.String(length=255), server_default="", nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("payload_size", sa.Integer(), nullable=False),
        sa.Column("total_size", sa.BigInteger(), nullable=False),
        sa.Column("depth", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("subject_digest", _ascii(135), nullable=True),
        sa.Column("annotations", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("pushed_by", sa.String(length=255), server_default="", nullable=False),
        sa.Column("pushed_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("pulled_at", types.Timestamp(), nullable=True),
        sa.Column("pull_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_manifests_repository_id_repositories"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_manifests")),
        sa.UniqueConstraint(
            "repository_id", "digest", name=op.f("uq_manifests_repository_id_digest")
        ),
    )
    op.create_index(op.f("ix_manifests_digest"), "manifests", ["digest"], unique=False)
    op.create_index(
        "ix_manifests_pushed", "manifests", ["repository_id", "pushed_at"], unique=False
    )
    op.create_index(
        "ix_manifests_subject", "manifests", ["repository_id", "subject_digest"], unique=False
    )
    op.create_table(
        "repository_blobs",
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("digest", _ascii(135), nullable=False),
        sa.Column("lease_until", types.Timestamp(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blobs.digest"], name=op.f("fk_repository_blobs_digest_blobs")
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_repository_blobs_repository_id_repositories"),
        ),
        sa.PrimaryKeyConstraint("repository_id", "digest", name=op.f("pk_repository_blobs")),
    )
    op.create_index(
        op.f("ix_repository_blobs_digest"), "repository_blobs", ["digest"], unique=False
    )
    op.create_table(
        "robot_permissions",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("robot_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("project_id", _ID, nullable=True),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.CheckConstraint(
            "kind IN ('system', 'project')", name=op.f("ck_robot_permissions_kind_known")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_robot_permissions_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["robot_id"],
            ["robots.id"],
            name=op.f("fk_robot_permissions_robot_id_robots"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_robot_permissions")),
    )
    op.create_index(
        op.f("ix_robot_permissions_robot_id"), "robot_permissions", ["robot_id"], unique=False
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("principal", sa.String(length=300), nullable=False),
        sa.Column("algorithm", sa.String(length=16), nullable=False),
        sa.Column("offset", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_uploads_repository_id_repositories"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_repository_id"), "uploads", ["repository_id"], unique=False)
    op.create_index(op.f("ix_uploads_updated_at"), "uploads", ["updated_at"], unique=False)
    op.create_table(
        "manifest_absences",
        sa.Column("manifest_id", _ID, nullable=False),
        sa.Column("digest", _ascii(135), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["manifest_id"],
            ["manifests.id"],
            name=op.f("fk_manifest_absences_manifest_id_manifests"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("manifest_id", "digest", name=op.f("pk_manifest_absences")),
    )
    op.create_index(
        op.f("ix_manifest_absences_digest"), "manifest_absences", ["digest"], unique=False
    )
    op.create_table(
        "manifest_blobs",
        sa.Column("manifest_id", _ID, nullable=False),
        sa.Column("digest", _ascii(135), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blobs.digest"], name=op.f("fk_manifest_blobs_digest_blobs")
        ),
        sa.ForeignKeyConstraint(
            ["manifest_id"],
            ["manifests.id"],
            name=op.f("fk_manifest_blobs_manifest_id_manifests"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("manifest_id", "digest", name=op.f("pk_manifest_blobs")),
    )
    op.create_index(op.f("ix_manifest_blobs_digest"), "manifest_blobs", ["digest"], unique=False)
    op.create_table(
        "manifest_children",
        sa.Column("parent_id", _ID, nullable=False),
        sa.Column("child_id", _ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("platform", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["child_id"], ["manifests.id"], name=op.f("fk_manifest_children_child_id_manifests")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["manifests.id"],
            name=op.f("fk_manifest_children_parent_id_manifests"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("parent_id", "child_id", name=op.f("pk_manifest_children")),
    )
    op.create_index(
        op.f("ix_manifest_children_child_id"), "manifest_children", ["child_id"], unique=False
    )
    op.create_table(
        "tags",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("name", _ascii(128), nullable=False),
        sa.Column("manifest_id", _ID, nullable=False),
        sa.Column("revision", _ID, server_default=sa.text("1"), nullable=False),
        sa.Column("pushed_at", types.Timestamp(), server_default=types.now(), nullable=False),
        sa.Column("pulled_at", types.Timestamp(), nullable=True),
        sa.ForeignKeyConstraint(
            ["manifest_id"], ["manifests.id"], name=op.f("fk_tags_manifest_id_manifests")
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_tags_repository_id_repositories")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("repository_id", "name", name=op.f("uq_tags_repository_id_name")),
    )
    op.create_index(op.f("ix_tags_manifest_id"), "tags", ["manifest_id"], unique=False)
    op.create_table(
        "upload_segments",
        sa.Column("storage_key", _ascii(512), nullable=False),
        sa.Column("upload_id", sa.String(length=36), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("digest", _ascii(135), nullable=True),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["uploads.id"], name=op.f("fk_upload_segments_upload_id_uploads")
        ),
        sa.PrimaryKeyConstraint("storage_key", name=op.f("pk_upload_segments")),
    )
    op.create_index(
        op.f("ix_upload_segments_upload_id"), "upload_segments", ["upload_id"], unique=False
    )
