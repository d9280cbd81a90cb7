"""What belongs to the whole installation."""

from sqlalchemy import Column, LargeBinary, String, Table, Text

from moorage.db.tables.schema import created, metadata, updated
from moorage.db.types import Timestamp

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("algorithm", String(16), nullable=False),
    Column("private_key", LargeBinary, nullable=False),  # PKCS 8, encrypted under secret_key
    created(),
    Column("retires_at", Timestamp),  # still verifies until then, signs no more
)

properties = Table(  # small facts about this installation: fingerprints, generations
    "properties",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    updated(),
)

configuration = Table(  # operator-editable settings that differ from their defaults
    "configuration",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),  # JSON; a secret is encrypted under secret_key
    updated(),
)
