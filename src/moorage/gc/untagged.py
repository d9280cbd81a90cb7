"""Artifacts that no tag keeps, by repository.

alive   tagged, or pushed lately, or what something alive is the subject of while that is new
        and all that an alive index names, and all that refers to something alive
doomed  everything else
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, ColumnElement, CompoundSelect, exists, or_, select, union_all

from moorage.artifacts import removal
from moorage.artifacts.rules import Rules
from moorage.db.engine import Database
from moorage.db.tables import manifest_children, manifests, repositories, tags
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.errors import ManifestUnknown, PreconditionFailed, RepositoryUnknown

OPERATOR = "moorage-gc"
"""Who deletes, in the audit log."""
_PAGE = 500  # repositories


@dataclass(frozen=True, slots=True)
class Doomed:
    """A manifest that goes."""

    repository: str
    digest: str


def alive(window: float, repository: int | None = None) -> CTE:
    """Ids of manifests that stay, of one repository or of all; `window` in seconds."""
    fresh = manifests.c.pushed_at > from_now(-window)
    tagged = exists().where(tags.c.manifest_id == manifests.c.id)
    newer = manifests.alias("newer")
    being_signed = exists().where(
        newer.c.repository_id == manifests.c.repository_id,
        newer.c.subject_digest == manifests.c.digest,
        newer.c.pushed_at > from_now(-window),
    )
    of_repository: list[ColumnElement[bool]] = []
    if repository is not None:
        of_repository.append(manifests.c.repository_id == repository)
    base = select(manifests.c.id).where(or_(fresh, tagged, being_signed), *of_repository)
    found = base.cte("alive", recursive=True)
    keeps = _keeps(of_repository).subquery()
    return found.union(select(keeps.c.kept).join(found, found.c.id == keeps.c.keeper))


def _keeps(of_repository: Sequence[ColumnElement[bool]]) -> CompoundSelect[Any]:
    """Pairs of ids: an index keeps what it names, and a subject what refers to it."""
    children = (
        select(manifest_children.c.parent_id.label("keeper"), manifests.c.id.label("kept"))
        .join(manifests, manifests.c.id == manifest_children.c.child_id)
        .where(*of_repository)
    )
    subject = manifests.alias("subject")
    accessories = (
        select(subject.c.id, manifests.c.id)
        .join(
            subject,
            (subject.c.repository_id == manifests.c.repository_id)
            & (subject.c.digest == manifests.c.subject_digest),
        )
        .where(*of_repository)
    )
    return union_all(children, accessories)


class Untagged:
    """Finds and deletes what no tag keeps."""

    def __init__(self, db: Database, rules: Rules, window: float) -> None:
        self._db = db
        self._rules = rules
        self.window = window  # seconds that what was pushed is left alone

    async def doomed(self) -> AsyncIterator[Sequence[Doomed]]:
        """All of them, a repository at a time; what nothing names comes first."""
        last = 0
        while places := await self._places(last):
            for last, name in places:
                if found := await self._within(last):
                    yield [Doomed(name, digest) for digest in found]

    async def _places(self, last: int) -> Sequence[tuple[int, str]]:
        query = (
            select(repositories.c.id, repositories.c.name)
            .where(repositories.c.id > last)
            .order_by(repositories.c.id)
            .limit(_PAGE)
        )
        async with self._db.read() as tx:
            return [(row.id, row.name) for row in (await tx.execute(query)).all()]

    async def _within(self, repository_id: int) -> Sequence[str]:
        kept = alive(self.window, repository_id)
        query = (
            select(manifests.c.digest)
            .where(
                manifests.c.repository_id == repository_id,
                manifests.c.id.not_in(select(kept.c.id)),
            )
            # An index is younger than what it names, but for one that was pushed a second time.
            .order_by(manifests.c.id.desc())
        )
        async with self._db.read() as tx:
            return (await tx.execute(query)).scalars().all()

    async def delete(self, tx: Tx, doomed: Doomed) -> bool:
        """Step: delete one, unless somebody tagged, named, signed or pushed it meanwhile; whether
        it went.
        """
        try:
            await removal.delete(
                tx, doomed.repository, doomed.digest, OPERATOR, self._rules, untagged=self.window
            )
        except (ManifestUnknown, RepositoryUnknown, PreconditionFailed):
            return False
        return True
