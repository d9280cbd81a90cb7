"""A preview: what rules would keep, and which of them, before anybody stores them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, select

from moorage.db.engine import Database
from moorage.db.moments import moment
from moorage.db.prepared import Prepared
from moorage.db.queries import Page, Query
from moorage.db.tables import manifests, repositories
from moorage.db.transactions import Tx
from moorage.projects import immutability
from moorage.retention import candidates, evaluation
from moorage.retention import rules as checking
from moorage.retention.executions import covered
from moorage.retention.records import Candidate, Decision, Rule, Rules


@dataclass(frozen=True, slots=True)
class Previewed:
    """One artifact, and what would happen to it."""

    repository: str
    decision: Decision


class Preview:
    """Decides as a run does."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, project_id: int, rules: Iterable[Rule], query: Query) -> Page[Previewed]:
        """One page of the artifacts that the rules are about, by repository and then by age.

        A repository is evaluated whole, even if one artifact of it is on the page. Raises Invalid
        and Conflict as a policy with these rules.
        """
        checked = checking.check(rules)
        async with self._db.read() as tx:
            counts = await _counts(tx, project_id, await covered(tx, project_id, checked))
            total = sum(count for _, _, count in counts)
            chosen, skipped = _within(counts, query.start, query.size)
            found = await candidates.read(tx, [number for number, _ in chosen])
            covering = (await immutability.in_force(tx, [project_id]))[project_id]
            at = await moment(tx)
        immutable = {
            number: await covering.covered(
                name, (tag for each in found[number] for tag in each.tags)
            )
            for number, name in chosen
        }
        decided = await asyncio.to_thread(_decided, checked, chosen, found, immutable, at)
        start = query.start - skipped
        return Page(decided[start : start + query.size], total)


def _decided(
    rules: Rules,
    places: Iterable[tuple[int, str]],
    found: Mapping[int, Sequence[Candidate]],
    immutable: Mapping[int, frozenset[str]],
    at: datetime,
) -> list[Previewed]:
    return [
        Previewed(name, decision)
        for number, name in places
        for decision in evaluation.decide(
            evaluation.covering(rules, name.partition("/")[2]),
            found[number],
            immutable[number],
            at,
        )
    ]


async def _counts(
    tx: Tx, project_id: int, places: Sequence[tuple[int, str]]
) -> Sequence[tuple[int, str, int]]:
    """Of each repository, how many artifacts it has."""
    found = await tx.select(_COUNTS, project_id=project_id)
    counts = {row.repository_id: row.artifacts for row in found}
    return [(number, name, counts.get(number, 0)) for number, name in places]


_COUNTS = Prepared(
    lambda _: (
        select(manifests.c.repository_id, func.count().label("artifacts"))
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.project_id == bindparam("project_id"), manifests.c.listed)
        .group_by(manifests.c.repository_id)
    )
)


def _within(
    counts: Iterable[tuple[int, str, int]], first: int, size: int
) -> tuple[Sequence[tuple[int, str]], int]:
    """The repositories of which something is on the page, and the artifacts before them."""
    chosen, before, skipped = [], 0, 0
    for number, name, count in counts:
        if before + count <= first:
            skipped = before + count
        elif before < first + size and count:
            chosen.append((number, name))
        before += count
    return chosen, skipped
