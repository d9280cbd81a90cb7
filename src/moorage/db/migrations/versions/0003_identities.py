"""Groups, identities at providers, access tokens, federation rules, and scanners."""

import sqlalchemy as sa
from alembic import op

from moorage.db import types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _groups()
    _identities()
    _access_tokens()
    _federation_rules()
    _scanners()
    op.add_column("quotas", _flag("warned"))
    _types()


def _types() -> None:
    """A server fills the column by itself, also for what one of before pushes meanwhile."""
    op.add_column("manifests", sa.Column("type", sa.String(255), nullable=True))
    columns = ["repository_id", "type", "listed", "pushed_at", "id"]
    op.create_index("ix_manifests_type", "manifests", columns)
    untyped = sa.text("type IS NULL")
    op.create_index(
        "ix_manifests_untyped",
        "manifests",
        ["repository_id"],
        sqlite_where=untyped,
        postgresql_where=untyped,
    )


def _groups() -> None:
    op.create_table(
        "user_groups",
        _id(),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("ldap_dn", sa.String(512), nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_groups")),
        sa.CheckConstraint("kind IN (1, 2, 3)", name=op.f("ck_user_groups_kind_known")),
        sa.CheckConstraint(
            "(kind = 1) = (ldap_dn IS NOT NULL)", name=op.f("ck_user_groups_ldap_has_dn")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_user_groups_ldap_dn", "user_groups", ["ldap_dn"], unique=True)
    _unique_where("uq_user_groups_name", "user_groups", ["kind", "name"], "ldap_dn IS NULL")
    op.create_table(
        "user_group_members",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("group_id", _ID, nullable=False),
        _moment("created_at"),
        _reference("user_group_members", "user_id", "users"),
        _reference("user_group_members", "group_id", "user_groups"),
        sa.PrimaryKeyConstraint("user_id", "group_id", name=op.f("pk_user_group_members")),
    )
    op.create_index(op.f("ix_user_group_members_group_id"), "user_group_members", ["group_id"])
    op.add_column("users", _flag("admin_in_auth"))
    _members_that_are_groups()


def _members_that_are_groups() -> None:
    with op.batch_alter_table("project_members") as members:
        members.alter_column("user_id", existing_type=_ID, nullable=True)
        members.add_column(sa.Column("group_id", _ID, nullable=True))
        members.create_foreign_key(
            op.f("fk_project_members_group_id_user_groups"),
            "user_groups",
            ["group_id"],
            ["id"],
            ondelete="CASCADE",
        )
        members.create_unique_constraint(
            op.f("uq_project_members_project_id_group_id"), ["project_id", "group_id"]
        )
        members.create_check_constraint(
            op.f("ck_project_members_user_or_group"), "(user_id IS NULL) <> (group_id IS NULL)"
        )
    op.create_index(op.f("ix_project_members_group_id"), "project_members", ["group_id"])


def _identities() -> None:
    op.add_column("users", sa.Column("cli_secret_hash", sa.String(512), nullable=True))
    op.create_table(
        "identities",
        _id(),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("issuer", _ascii(512), nullable=False),
        sa.Column("subject", _ascii(512), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        _reference("identities", "user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
        sa.UniqueConstraint(
            "kind", "issuer", "subject", name=op.f("uq_identities_kind_issuer_subject")
        ),
        sa.CheckConstraint("kind IN ('ldap', 'oidc')", name=op.f("ck_identities_kind_known")),
    )
    op.create_index(op.f("ix_identities_user_id"), "identities", ["user_id"])
    op.create_table(
        "pending_sign_ins",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_pending_sign_ins")),
    )
    op.create_index(op.f("ix_pending_sign_ins_expires_at"), "pending_sign_ins", ["expires_at"])


def _access_tokens() -> None:
    op.create_table(
        "access_tokens",
        _id(),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=True),
        sa.Column("expires_at", types.Timestamp(), nullable=True),
        sa.Column("used_at", types.Timestamp(), nullable=True),
        _moment("created_at"),
        _reference("access_tokens", "user_id", "users"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_access_tokens_digest")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_access_tokens_user_id_name")),
        sqlite_autoincrement=True,
    )


def _federation_rules() -> None:
    op.create_table(
        "federation_rules",
        _id(),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("robot_id", _ID, nullable=False),
        sa.Column("issuer", _ascii(512), nullable=False),
        sa.Column("audience", sa.String(512), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("jwks", sa.JSON(), nullable=True),
        sa.Column("lifetime", sa.Integer(), nullable=False),
        _flag("disabled"),
        sa.Column("creator", sa.String(255), nullable=False),
        sa.Column("revision", _ID, server_default=sa.text("1"), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        _reference("federation_rules", "robot_id", "robots"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_federation_rules")),
        sa.UniqueConstraint("robot_id", "name", name=op.f("uq_federation_rules_robot_id_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_federation_rules_issuer"), "federation_rules", ["issuer"])


def _scanners() -> None:
    op.create_table(
        "scanners",
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(1024), server_default="", nullable=False),
        sa.Column("url", sa.String(512), nullable=False),
        sa.Column("auth", sa.String(64), server_default="", nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=True),
        _flag("skip_cert_verify"),
        _flag("use_internal_addr"),
        _flag("disabled"),
        _flag("is_default"),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_scanners")),
        sa.UniqueConstraint("name", name=op.f("uq_scanners_name")),
        sa.UniqueConstraint("url", name=op.f("uq_scanners_url")),
    )
    _unique_where("uq_scanners_default", "scanners", ["is_default"], "is_default")
    op.create_table(
        "project_scanners",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("scanner_id", sa.String(36), nullable=False),
        _reference("project_scanners", "project_id", "projects"),
        _reference("project_scanners", "scanner_id", "scanners", "uuid"),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_scanners")),
    )
    op.create_index("ix_project_scanners_scanner_id", "project_scanners", ["scanner_id"])


def _id() -> sa.Column[int]:
    return sa.Column("id", _ID, autoincrement=True, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False)


def _ascii(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, types.Timestamp(), server_default=types.now(), nullable=False)


def _reference(table: str, column: str, to: str, key: str = "id") -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{to}")
    return sa.ForeignKeyConstraint([column], [f"{to}.{key}"], name=name, ondelete="CASCADE")


def _unique_where(name: str, table: str, columns: list[str], condition: str) -> None:
    only = sa.text(condition)
    op.create_index(name, table, columns, unique=True, sqlite_where=only, postgresql_where=only)
