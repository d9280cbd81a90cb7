"""What waits to be deleted; by digest and storage key, without references: it outlives the blob."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table, Text, false, text

from moorage.db.tables.schema import Digest, StorageKey, metadata
from moorage.db.types import Timestamp

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
