"""What was pulled and what was held, day by day in UTC, and how tags moved.

    repository_pulls   all | artifact (digest) | tag | caller          of a repository
    project_pulls      all | repository (name within it) | caller      of a project
    project_storage, repository_storage    bytes, as of one moment of that day
    tag_moves          one row for each time that a tag points elsewhere

None refers to what it counts by more than a name: pulls of what is deleted were pulls all the same.
They go with their repository or project, and when they are old.
"""

from sqlalchemy import BigInteger, Column, Date, Index, String, Table, text

from moorage.db.tables.schema import Digest, Id, ascii_text, identifier, metadata, to
from moorage.db.types import Timestamp, now


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


repository_pulls = Table(
    "repository_pulls",
    metadata,
    Column("repository_id", Id, to("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("subject", String(16), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("name", String(300), primary_key=True),  # empty: everything, or nobody by name
    _count("pulls"),
    _count("bytes"),
    Index("ix_repository_pulls_age", "subject", "day"),
)

project_pulls = Table(
    "project_pulls",
    metadata,
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("subject", String(16), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("name", String(300), primary_key=True),
    _count("pulls"),
    _count("bytes"),
    Index("ix_project_pulls_age", "subject", "day"),
)

project_storage = Table(  # bytes, as `projects.usage` counts them
    "project_storage",
    metadata,
    Column("project_id", Id, to("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Date, primary_key=True, index=True),
    _count("logical"),
    _count("counted"),  # each digest once: what the quota counts
    _count("physical"),
    _count("shared"),
)

repository_storage = Table(
    "repository_storage",
    metadata,
    Column("repository_id", Id, to("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Date, primary_key=True, index=True),
    _count("physical"),  # objects that no other repository holds
    _count("shared"),
)

tag_moves = Table(
    "tag_moves",
    metadata,
    identifier(),
    Column("repository_id", Id, to("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("tag", ascii_text(128), nullable=False),
    Column("kind", String(8), nullable=False),  # created, moved, deleted or restored
    Column("digest", Digest, nullable=False, server_default=""),  # empty: it points nowhere now
    Column("previous", Digest, nullable=False, server_default=""),
    Column("operator", String(300), nullable=False, server_default=""),
    Column("moved_at", Timestamp, nullable=False, server_default=now(), index=True),
    Index("ix_tag_moves_tag", "repository_id", "tag", "id"),
    sqlite_autoincrement=True,  # pages of the list go by id
)
