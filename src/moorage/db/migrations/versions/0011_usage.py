"""Pulls and bytes by day, and the moves of tags."""

import sqlalchemy as sa
from alembic import op

from moorage.db import types

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _pulls("repository_pulls", "repository_id", "repositories")
    _pulls("project_pulls", "project_id", "projects")
    four = ("logical", "counted", "physical", "shared")
    _storage("project_storage", "project_id", "projects", *four)
    _storage("repository_storage", "repository_id", "repositories", "physical", "shared")
    _moves()


def _pulls(table: str, owner: str, of: str) -> None:
    op.create_table(
        table,
        sa.Column(owner, _ID, nullable=False),
        sa.Column("subject", sa.String(16), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        _count("pulls"),
        _count("bytes"),
        _belongs(table, owner, of),
        sa.PrimaryKeyConstraint(owner, "subject", "day", "name", name=op.f(f"pk_{table}")),
    )
    op.create_index(f"ix_{table}_age", table, ["subject", "day"])


def _storage(table: str, owner: str, of: str, *counts: str) -> None:
    op.create_table(
        table,
        sa.Column(owner, _ID, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        *map(_count, counts),
        _belongs(table, owner, of),
        sa.PrimaryKeyConstraint(owner, "day", name=op.f(f"pk_{table}")),
    )
    op.create_index(op.f(f"ix_{table}_day"), table, ["day"])


def _moves() -> None:
    digest = sa.String(135).with_variant(sa.String(135, collation="C"), "postgresql")
    tag = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
    op.create_table(
        "tag_moves",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("repository_id", _ID, nullable=False),
        sa.Column("tag", tag, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("digest", digest, server_default="", nullable=False),
        sa.Column("previous", digest, server_default="", nullable=False),
        sa.Column("operator", sa.String(300), server_default="", nullable=False),
        sa.Column("moved_at", types.Timestamp(), server_default=types.now(), nullable=False),
        _belongs("tag_moves", "repository_id", "repositories"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag_moves")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tag_moves_tag", "tag_moves", ["repository_id", "tag", "id"])
    op.create_index(op.f("ix_tag_moves_moved_at"), "tag_moves", ["moved_at"])


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)


def _belongs(table: str, owner: str, of: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{owner}_{of}")
    return sa.ForeignKeyConstraint([owner], [f"{of}.id"], name=name, ondelete="CASCADE")
