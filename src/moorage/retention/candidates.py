"""Reading the artifacts of repositories, so many at a time that nobody has to wait for long.

Candidates are what a list of artifacts shows: no children of indexes unless they are tagged, and
no accessories. What an older cosign attached by a tag alone, `sha256-….sig`, is read as well, and
marked: it stays as long as the manifest that it is for.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import select

from moorage.artifacts.copying import SIGNATURES
from moorage.db.prepared import Prepared
from moorage.db.tables import labels, manifest_children, manifest_labels, manifests, tags
from moorage.db.transactions import Tx
from moorage.retention.records import Candidate

TOGETHER = 2000
"""Artifacts that are read at once."""
_TIE = len("sha256-") + 64  # characters that name a digest in a tag of cosign


async def read(tx: Tx, repository_ids: Sequence[int]) -> dict[int, list[Candidate]]:
    """The candidates of each of these repositories, in the order of their first push."""
    ids = [row.id for row in await tx.select(_IDS, places=tx.dialect.many(repository_ids))]
    found: dict[int, list[Candidate]] = {each: [] for each in repository_ids}
    for start in range(0, len(ids), TOGETHER):
        for repository_id, candidate in await _some(tx, ids[start : start + TOGETHER]):
            found[repository_id].append(candidate)
    return found


async def _some(tx: Tx, ids: Sequence[int]) -> list[tuple[int, Candidate]]:
    """Those with these ids, each with its repository."""
    carried = await _labels(tx, ids)
    indexes = await _indexes(tx, ids)
    # With their tags in one statement: a push in between would show neither as it was.
    everything = await tx.select(_WITH_TAGS, ids=tx.dialect.many(ids))
    ties = await _ties(tx, everything)
    found = []
    for number, same in groupby(everything, key=lambda row: row.id):
        rows = list(same)
        candidate = _candidate(rows, carried.get(number, ()), indexes.get(number, ()), ties)
        found.append((rows[0].repository_id, candidate))
    return found


def _candidate(
    rows: Sequence[Any],
    carried: Iterable[str],
    indexes: Iterable[int],
    ties: Collection[tuple[int, str]],
) -> Candidate:
    """One of its rows, of which there is one for each tag."""
    first = rows[0]
    tagged = [row for row in rows if row.tag is not None]
    pulled = [first.pulled_at, *(row.tag_pulled_at for row in tagged)]
    return Candidate(
        id=first.id,
        digest=first.digest,
        kind=first.type or "UNKNOWN",
        tags=tuple(row.tag for row in tagged),
        labels=tuple(carried),
        created=first.pushed_at,
        pushed=max([first.pushed_at, *(row.tag_pushed_at for row in tagged)]),
        pulled=max((each for each in pulled if each is not None), default=None),
        depth=first.depth,
        indexes=tuple(indexes),
        mark=mark((row.tag_id, row.revision) for row in tagged),
        tied=bool(tagged) and all((row.repository_id, _subject(row.tag)) in ties for row in tagged),
    )


def mark(held: Iterable[tuple[int, int]]) -> int:
    """Of the ids and revisions of an artifact's tags: another one when somebody tagged or pushed.

    For this process only.
    """
    return hash(frozenset(held))


async def _labels(tx: Tx, ids: Sequence[int]) -> Mapping[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for row in await tx.select(_LABELS, ids=tx.dialect.many(ids)):
        found[row.manifest_id].append(row.name)
    return found


async def _indexes(tx: Tx, ids: Sequence[int]) -> Mapping[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for row in await tx.select(_INDEXES, ids=tx.dialect.many(ids)):
        found[row.child_id].append(row.parent_id)
    return found


async def _ties(tx: Tx, rows: Iterable[Any]) -> Collection[tuple[int, str]]:
    """The manifests to which tags of cosign tie others: repositories and digests of those there."""
    named = {
        (row.repository_id, _subject(row.tag)) for row in rows if row.tag and _subject(row.tag)
    }
    if not named:
        return ()
    query = select(manifests.c.repository_id, manifests.c.digest).where(
        manifests.c.repository_id.in_(sorted({place for place, _ in named})),
        manifests.c.digest.in_(sorted({digest for _, digest in named})),
    )
    return {(row.repository_id, row.digest) for row in await tx.execute(query)}


def _subject(tag: str) -> str:
    """The digest to which a tag of cosign ties; empty: it is another tag."""
    if not tag.startswith("sha256-") or tag[_TIE:] not in SIGNATURES:
        return ""
    return tag[:_TIE].replace("-", ":", 1)


# --- statements

_IDS = Prepared(
    lambda dialect: (
        select(manifests.c.id)
        .where(dialect.among(manifests.c.repository_id, "places"), manifests.c.listed)
        .order_by(manifests.c.id)
    )
)
_WITH_TAGS = Prepared(
    lambda dialect: (
        select(
            manifests.c.repository_id,
            manifests.c.id,
            manifests.c.digest,
            manifests.c.type,
            manifests.c.pushed_at,
            manifests.c.pulled_at,
            manifests.c.depth,
            tags.c.id.label("tag_id"),
            tags.c.name.label("tag"),
            tags.c.revision,
            tags.c.pushed_at.label("tag_pushed_at"),
            tags.c.pulled_at.label("tag_pulled_at"),
        )
        .outerjoin(tags, tags.c.manifest_id == manifests.c.id)
        .where(dialect.among(manifests.c.id, "ids"))
        .order_by(manifests.c.id, tags.c.name)
    )
)
_LABELS = Prepared(
    lambda dialect: (
        select(manifest_labels.c.manifest_id, labels.c.name)
        .join(labels, labels.c.id == manifest_labels.c.label_id)
        .where(dialect.among(manifest_labels.c.manifest_id, "ids"))
        .order_by(labels.c.name)
    )
)
_INDEXES = Prepared(
    lambda dialect: select(manifest_children.c.child_id, manifest_children.c.parent_id).where(
        dialect.among(manifest_children.c.child_id, "ids")
    )
)
