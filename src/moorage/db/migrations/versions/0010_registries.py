"""Other registries, replication policies, and projects that are a cache of a registry."""

import sqlalchemy as sa
from alembic import op

from moorage.db import types

revision = "0010"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _registries()
    _policies()
    _caches()


def _registries() -> None:
    op.create_table(
        "registries",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(1024), server_default="", nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("url", sa.String(512), nullable=False),
        sa.Column("credential_type", sa.String(32), server_default="basic", nullable=False),
        sa.Column("username", sa.String(255), server_default="", nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=True),
        _flag("insecure", sa.false()),
        sa.Column("ca_certificate", sa.Text(), server_default="", nullable=False),
        sa.Column("status", sa.String(16), server_default="", nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registries")),
        sa.UniqueConstraint("name", name=op.f("uq_registries_name")),
        sqlite_autoincrement=True,
    )


def _caches() -> None:
    op.create_table(
        "project_registries",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("registry_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_project_registries_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["registry_id"],
            ["registries.id"],
            name=op.f("fk_project_registries_registry_id_registries"),
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_registries")),
    )
    name = op.f("ix_project_registries_registry_id")
    op.create_index(name, "project_registries", ["registry_id"])


def _policies() -> None:
    op.create_table(
        "replication_policies",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(1024), server_default="", nullable=False),
        sa.Column("source_id", _ID, nullable=True),
        sa.Column("target_id", _ID, nullable=True),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("namespace", sa.String(255), server_default="", nullable=False),
        sa.Column("replaced", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        _flag("deletion", sa.false()),
        _flag("override", sa.true()),
        _flag("enabled", sa.true()),
        sa.Column("speed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _flag("chunked", sa.false()),
        _flag("single_active", sa.false()),
        sa.Column("creator", sa.String(300), server_default="", nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        sa.CheckConstraint(
            "(source_id IS NULL) <> (target_id IS NULL)",
            name=op.f("ck_replication_policies_one_side_is_here"),
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["registries.id"],
            name=op.f("fk_replication_policies_source_id_registries"),
        ),
        sa.ForeignKeyConstraint(
            ["target_id"],
            ["registries.id"],
            name=op.f("fk_replication_policies_target_id_registries"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replication_policies")),
        sa.UniqueConstraint("name", name=op.f("uq_replication_policies_name")),
        sqlite_autoincrement=True,
    )
    for column in ("source_id", "target_id"):
        name = op.f(f"ix_replication_policies_{column}")
        op.create_index(name, "replication_policies", [column])


def _flag(name: str, default: sa.ColumnElement[bool]) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=default, nullable=False)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, types.Timestamp(), server_default=types.now(), nullable=False)
