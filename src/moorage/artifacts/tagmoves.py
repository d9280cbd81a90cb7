"""The history of tags: each move is a row of the transaction that made it.

    created    ── ─► digest       deleted    digest ─► ──
    moved  digest ─► digest       restored   ── ─► digest      with its artifact, from the trash

A push of what a tag points at already moves nothing. Rows are only ever added, until they are old.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import bindparam, func, insert, select

from moorage.artifacts.repositories import listed
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.queries import Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import manifests, tag_moves
from moorage.db.transactions import Tx

Kind = Literal["created", "moved", "deleted", "restored"]

FIELDS: Columns = {
    "tag": tag_moves.c.tag,
    "kind": tag_moves.c.kind,
    "digest": tag_moves.c.digest,
    "previous": tag_moves.c.previous,
    "time": tag_moves.c.moved_at,
}
"""What the list can be narrowed and sorted by. Not by who: not everybody is told."""

_LONGEST_OPERATOR = 300


@dataclass(frozen=True, slots=True)
class Move:
    """A tag that points elsewhere from now on."""

    tag: str
    kind: Kind
    digest: str = ""  # empty: nowhere
    previous: str = ""
    before: int = 0
    """Row of the manifest that it pointed at, where its digest is not known."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A move that was noted."""

    id: int
    tag: str
    kind: str
    digest: str
    previous: str
    operator: str  # empty: somebody who was not signed in
    moved_at: datetime


async def note(tx: Tx, repository_id: int, operator: str, moves: Sequence[Move]) -> None:
    """Step: add these to the history."""
    rows = [
        {
            "repository": repository_id,
            "tag": move.tag,
            "kind": move.kind,
            "digest": move.digest,
            "before": move.before,
            "previous": move.previous,
            "operator": operator[:_LONGEST_OPERATOR],
        }
        for move in moves
    ]
    await tx.fetch_many(_NOTE, rows)


_NOTE = Prepared(
    lambda dialect: (
        insert(tag_moves)
        .values(
            repository_id=bindparam("repository"),
            tag=bindparam("tag"),
            kind=bindparam("kind"),
            digest=bindparam("digest"),
            previous=func.coalesce(
                select(manifests.c.digest)
                .where(manifests.c.id == bindparam("before"))
                .scalar_subquery(),
                bindparam("previous", type_=tag_moves.c.previous.type),
            ),
            operator=bindparam("operator"),
        )
        .returning(tag_moves.c.id)
    )
)


class TagMoves:
    """Reads the history."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, repository: str, query: Query) -> Page[Moved]:
        """Moves of the tags of a repository, the last first; raises RepositoryUnknown."""
        async with self._db.read() as tx:
            place = await listed(tx, repository)
            columns = [column for column in tag_moves.c if column.name != "repository_id"]
            rows = select(*columns).where(tag_moves.c.repository_id == place.id)
            statement = narrow(rows, query, FIELDS)
            newest = ordered(statement, query, FIELDS, tag_moves.c.id.desc())
            found, total = await one_page(tx, newest, query)
            return Page([Moved(**row._mapping) for row in found], total)
