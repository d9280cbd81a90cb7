"""Reading the artifacts of repositories: a constant number of statements, however many there are.

Candidates are what a list of artifacts shows: no children of indexes unless they are tagged, and
no accessories. What an older cosign attached by a tag alone, `sha256-….sig`, is read as well, and
marked: it stays as long as the manifest that it is for.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import func, select

from moorage.artifacts.copying import SIGNATURES
from moorage.db.tables import labels, manifest_children, manifest_labels, manifests, tags
from moorage.db.transactions import Tx
from moorage.retention.records import Candidate

_TIE = len("sha256-") + 64  # characters that name a digest in a tag of cosign


async def read(tx: Tx, repository_ids: Sequence[int]) -> dict[int, list[Candidate]]:
    """The candidates of each of these repositories, in the order of their first push."""
    carried = await _labels(tx, repository_ids)
    indexes = await _indexes(tx, repository_ids)
    ties = await _ties(tx, repository_ids)
    # With their tags in one statement: a push in between would show neither as it was.
    query = (
        select(
            manifests.c.repository_id,
            manifests.c.id,
            manifests.c.digest,
            manifests.c.type,
            manifests.c.pushed_at,
            manifests.c.pulled_at,
            manifests.c.depth,
            tags.c.name.label("tag"),
            tags.c.id.label("tag_id"),
            tags.c.revision,
            tags.c.pushed_at.label("tag_pushed_at"),
            tags.c.pulled_at.label("tag_pulled_at"),
        )
        .outerjoin(tags, tags.c.manifest_id == manifests.c.id)
        .where(manifests.c.repository_id.in_(repository_ids), manifests.c.listed)
        .order_by(manifests.c.repository_id, manifests.c.id, tags.c.name)
    )
    found: dict[int, list[Candidate]] = {each: [] for each in repository_ids}
    for _, same in groupby(await tx.execute(query), key=lambda row: row.id):
        rows = list(same)
        first = rows[0]
        found[first.repository_id].append(
            _candidate(rows, carried.get(first.id, ()), indexes.get(first.id, ()), ties)
        )
    return found


def _candidate(
    rows: Sequence[Any],
    carried: Iterable[str],
    indexes: Iterable[int],
    ties: Mapping[int, set[str]],
) -> Candidate:
    """One of its rows, of which there is one for each tag."""
    first = rows[0]
    names = tuple(row.tag for row in rows if row.tag is not None)
    pushed = [row.tag_pushed_at for row in rows if row.tag_pushed_at is not None]
    pulled = [row.tag_pulled_at for row in rows if row.tag_pulled_at is not None]
    if first.pulled_at is not None:
        pulled.append(first.pulled_at)
    return Candidate(
        id=first.id,
        digest=first.digest,
        kind=first.type or "UNKNOWN",
        tags=names,
        labels=tuple(carried),
        created=first.pushed_at,
        pushed=max([first.pushed_at, *pushed]),
        pulled=max(pulled, default=None),
        depth=first.depth,
        indexes=tuple(indexes),
        mark=mark((row.tag_id, row.revision) for row in rows if row.tag is not None),
        tied=bool(names) and ties.get(first.id, set()).issuperset(names),
    )


def mark(held: Iterable[tuple[int, int]]) -> int:
    """Of the ids and revisions of an artifact's tags: another one when somebody tagged or pushed.

    For this process only.
    """
    return hash(frozenset(held))


async def _labels(tx: Tx, repository_ids: Sequence[int]) -> Mapping[int, list[str]]:
    query = (
        select(manifest_labels.c.manifest_id, labels.c.name)
        .join(labels, labels.c.id == manifest_labels.c.label_id)
        .join(manifests, manifests.c.id == manifest_labels.c.manifest_id)
        .where(manifests.c.repository_id.in_(repository_ids), manifests.c.listed)
        .order_by(labels.c.name)
    )
    found: dict[int, list[str]] = defaultdict(list)
    for row in await tx.execute(query):
        found[row.manifest_id].append(row.name)
    return found


async def _indexes(tx: Tx, repository_ids: Sequence[int]) -> Mapping[int, list[int]]:
    query = (
        select(manifest_children.c.child_id, manifest_children.c.parent_id)
        .join(manifests, manifests.c.id == manifest_children.c.child_id)
        .where(manifests.c.repository_id.in_(repository_ids), manifests.c.listed)
    )
    found: dict[int, list[int]] = defaultdict(list)
    for row in await tx.execute(query):
        found[row.child_id].append(row.parent_id)
    return found


async def _ties(tx: Tx, repository_ids: Sequence[int]) -> Mapping[int, set[str]]:
    """Of each manifest, its tags that name a manifest which is there."""
    named = func.replace(func.substr(tags.c.name, 1, _TIE), "-", ":")
    query = (
        select(tags.c.manifest_id, tags.c.name)
        .join(
            manifests,
            (manifests.c.repository_id == tags.c.repository_id) & (manifests.c.digest == named),
        )
        .where(tags.c.repository_id.in_(repository_ids), tags.c.name.like("sha256-%"))
    )
    found: dict[int, set[str]] = defaultdict(set)
    for row in await tx.execute(query):
        if row.name[_TIE:] in SIGNATURES:
            found[row.manifest_id].add(row.name)
    return found
