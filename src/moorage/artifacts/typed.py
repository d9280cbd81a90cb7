"""The types of manifests, kept in their rows so that a list can be narrowed to one.

A push writes it. A row without was pushed by an earlier release, or by one that did not know the
type yet: `fill` writes it then, some at a time, and until it has, lists look at the media types.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, select, tuple_, update

from moorage.artifacts import types
from moorage.db.engine import Database
from moorage.db.queries import Match, condition
from moorage.db.tables import manifests, repositories
from moorage.db.transactions import Tx

_BATCH = 1000
_MEDIA: tuple[ColumnElement[str], ...] = (
    manifests.c.media_type,
    manifests.c.config_media_type,
    manifests.c.artifact_type,
)


async def narrowed(
    tx: Tx, match: Match, scope: Iterable[ColumnElement[bool]]
) -> ColumnElement[bool]:
    """Step: the manifests whose type fits the filter; `scope` says where they are."""
    untyped = manifests.c.type.is_(None)
    found = await tx.execute(select(*_MEDIA).join(repositories).where(*scope, untyped).distinct())
    unknown = [tuple(row) for row in found]
    known = condition(manifests.c.type, types.in_upper_case(match))
    if not unknown:
        return known
    fitting = [row for row in unknown if types.matches(types.of(*row), match)]
    return known | (untyped & tuple_(*_MEDIA).in_(fitting))


class Types:
    """Fills what is not known yet."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def fill(self) -> int:
        """Write the types of some manifests; how many, 0 when all have theirs."""
        return await self._db.run(_fill)


async def _fill(tx: Tx) -> int:
    untyped = manifests.c.type.is_(None)
    query = select(manifests.c.id, *_MEDIA).where(untyped).order_by(manifests.c.id).limit(_BATCH)
    ids: dict[str, list[int]] = {}
    rows: list[Any] = list((await tx.execute(query)).all())
    for number, *media in rows:
        ids.setdefault(types.of(*media), []).append(number)
    for name in sorted(ids):
        chosen = manifests.c.id.in_(ids[name])
        await tx.execute(update(manifests).where(chosen, untyped).values(type=name))
    return len(rows)
