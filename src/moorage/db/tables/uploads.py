"""Uploads that are under way."""

from sqlalchemy import BigInteger, Column, String, Table, text

from moorage.db.tables.schema import Digest, Id, StorageKey, created, metadata, to
from moorage.db.types import Timestamp, now

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(36), primary_key=True),  # a random UUID
    Column("repository_id", Id, to("repositories.id"), nullable=False, index=True),
    Column("principal", String(300), nullable=False),  # only the one who began may go on
    Column("algorithm", String(16), nullable=False),  # digest algorithm of the segments
    Column("offset", BigInteger, nullable=False, server_default=text("0")),  # committed bytes
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),  # the newest writer's
    created(),
    Column("updated_at", Timestamp, nullable=False, server_default=now(), index=True),
)

upload_segments = Table(  # the intent log of storage keys: written before the object is
    "upload_segments",
    metadata,
    Column("storage_key", StorageKey, primary_key=True),
    Column("upload_id", String(36), to("uploads.id"), nullable=False, index=True),
    Column("start", BigInteger, nullable=False),  # offset of the first byte
    Column("size", BigInteger),  # bytes; None until the object is durable
    Column("digest", Digest),  # of this segment alone, under the upload's algorithm
)
