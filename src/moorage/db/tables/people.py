"""Who signs in."""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)

from moorage.db.tables.schema import (
    Id,
    ascii_text,
    created,
    identifier,
    metadata,
    to,
    updated,
    where,
)
from moorage.db.types import Timestamp, now

users = Table(
    "users",
    metadata,
    identifier(),
    Column("username", String(255), nullable=False, unique=True),
    Column("email", String(255), unique=True),
    Column("realname", String(255), nullable=False, server_default=""),
    Column("comment", String(255), nullable=False, server_default=""),
    Column("password_hash", String(512)),  # None: cannot sign in with a password
    Column("cli_secret_hash", String(512)),  # of who signs in elsewhere, for docker and the like
    Column("sysadmin", Boolean, nullable=False, server_default=false()),
    Column("admin_in_auth", Boolean, nullable=False, server_default=false()),  # by a group
    Column("revision", Id, nullable=False, server_default=text("1")),
    created(),
    updated(),
    sqlite_autoincrement=True,  # caches and tokens name a row by its id: none comes again
)

sessions = Table(  # of people who signed in with a browser
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the cookie's value
    Column("user_id", Id, to("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("revision", Id, nullable=False),  # of the user at the sign-in
    Column("expires_at", Timestamp, nullable=False, index=True),
    Column("renewed_at", Timestamp, nullable=False, server_default=now()),
    created(),
)

login_attempts = Table(  # failures since the last success, per account and address
    "login_attempts",
    metadata,
    Column("account", String(255), primary_key=True),
    Column("address", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", Timestamp, nullable=False),
    updated(),
)

identities = Table(  # who a user is at the provider that signs him in
    "identities",
    metadata,
    identifier(),
    Column("user_id", Id, to("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", String(8), nullable=False),
    Column("issuer", ascii_text(512), nullable=False),  # the provider's URL
    Column("subject", ascii_text(512), nullable=False),  # never changes there, unlike names
    created(),
    updated(),
    UniqueConstraint("kind", "issuer", "subject"),
    CheckConstraint("kind IN ('ldap', 'oidc')", name="kind_known"),
)

pending_sign_ins = Table(  # what a browser began at a provider and may finish once
    "pending_sign_ins",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the cookie's value
    Column("data", LargeBinary, nullable=False),  # JSON, encrypted under secret_key
    Column("network", String(64), index=True),  # of who began it; None: not counted
    Column("expires_at", Timestamp, nullable=False, index=True),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    identifier(),
    Column("user_id", Id, to("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the token
    Column("permissions", JSON),  # None: all that the user may
    Column("expires_at", Timestamp),  # None: never
    Column("used_at", Timestamp),
    created(),
    UniqueConstraint("user_id", "name"),
    sqlite_autoincrement=True,  # caches name a row by its id: none comes again
)

user_groups = Table(
    "user_groups",
    metadata,
    identifier(),
    Column("name", String(255), nullable=False),
    Column("kind", Integer, nullable=False),  # 1 LDAP, 2 HTTP, 3 OpenID Connect
    Column("ldap_dn", String(512)),  # normalized; None: no group of LDAP
    created(),
    updated(),
    Index("uq_user_groups_ldap_dn", "ldap_dn", unique=True),
    Index("uq_user_groups_name", "kind", "name", unique=True, **where("ldap_dn IS NULL")),
    CheckConstraint("kind IN (1, 2, 3)", name="kind_known"),
    CheckConstraint("(kind = 1) = (ldap_dn IS NOT NULL)", name="ldap_has_dn"),
    sqlite_autoincrement=True,  # caches name a row by its id: none comes again
)

user_group_members = Table(  # as the provider said at the last sign-in
    "user_group_members",
    metadata,
    Column("user_id", Id, to("users.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", Id, to("user_groups.id", ondelete="CASCADE"), primary_key=True, index=True),
    created(),
)
