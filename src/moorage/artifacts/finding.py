"""Artifacts by a part of a tag or digest, wherever the caller may list them.

    1.4            tags that hold it
    api:1.4        tags that hold it, in repositories whose name holds `api`
    sha256:1f2e…   digests that hold it; at least MIN_DIGEST hex digits do without the algorithm
    api@1f2e       the same, in repositories whose name holds `api`

Letters of either case are the same here. A tag that fits exactly comes first, then what begins with
the text, then the rest, the newest first; then digests. Whole rows are read for one page only, and
nobody turns further than MOST hits.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Select,
    case,
    func,
    literal,
    or_,
    select,
    union_all,
)

from moorage.access.principals import Principal
from moorage.artifacts import types
from moorage.db.engine import Database
from moorage.db.queries import Page, Query
from moorage.db.tables import manifests, projects, repositories, tags
from moorage.db.transactions import Tx
from moorage.db.types import Timestamp
from moorage.oci.digest import ALGORITHMS
from moorage.projects.visibility import holding

MOST = 1000
"""Hits that are counted and turned through; who has more says more."""
MIN_DIGEST = 6
"""Hex digits of a digest that are no accident."""

_HEX = re.compile(rf"[0-9a-f]{{{MIN_DIGEST},}}")
_DIGEST = re.compile(rf"({'|'.join(ALGORITHMS)}):[0-9a-f]*")
_EXACT, _BEGINS, _HOLDS, _DIGESTS = range(4)
_NONE = literal(0, BigInteger())


@dataclass(frozen=True, slots=True)
class Sought:
    """Parts of a reference, in small letters; an absent one is None."""

    repository: str | None = None
    tag: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """An artifact, by one of its tags, or by its digest with the newest of its tags."""

    project_id: int
    project_public: bool
    repository_name: str  # with the project
    digest: str
    tag: str  # empty: it has none
    type: str
    size: int  # bytes
    pushed_at: datetime
    pulled_at: datetime | None


class Finding:
    """Looks for artifacts everywhere."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def artifacts(self, caller: Principal, text: str, query: Query) -> Page[Hit]:
        """A page of what fits `text`; `total` is MOST at most."""
        sought = parse(text)
        start = query.start
        if sought.tag is None and sought.digest is None:
            return Page([], 0)
        async with self._db.read() as tx:
            hits = await _hits(tx, sought, caller)
            place = hits.selected_columns
            in_order = hits.order_by(place.rank, place.tag_id.desc(), place.manifest_id.desc())
            page = in_order.limit(max(0, min(query.size, MOST - start))).offset(start)
            found = [_hit(row) for row in await tx.execute(_whole(page))]
            if not start and len(found) < query.size:
                return Page(found, len(found))  # no need to look at everything again
            some = hits.limit(MOST).subquery()
            total = (await tx.execute(select(func.count()).select_from(some))).scalar_one()
            return Page(found, int(total))


def parse(text: str) -> Sought:
    """What somebody looks for."""
    said = text.strip().lower()
    name, at, digest = said.partition("@")
    if at:
        return Sought(repository=name or None, digest=digest) if digest else Sought()
    if _DIGEST.fullmatch(said):
        return Sought(digest=said)
    name, colon, tag = said.rpartition(":")
    if colon and "/" not in tag:
        return Sought(repository=name or None, tag=tag)
    if not said or "/" in said:
        return Sought()
    return Sought(tag=said, digest=said if _HEX.fullmatch(said) else None)


async def _hits(tx: Tx, sought: Sought, caller: Principal) -> Select[Any] | CompoundSelect[Any]:
    """Rank, tag id and manifest id of what fits: one of the two ids, the other is 0."""
    kinds = []
    if sought.tag is not None:
        rows = select(_rank(sought.tag), tags.c.id.label("tag_id"), _NONE.label("manifest_id"))
        rows = rows.join(repositories, repositories.c.id == tags.c.repository_id)
        rows = rows.where(tx.dialect.holds(func.lower(tags.c.name), sought.tag))
        kinds.append(_seen(tx, rows, sought.repository, caller))
    if sought.digest is not None:
        rank = literal(_DIGESTS).label("rank")
        rows = select(rank, _NONE.label("tag_id"), manifests.c.id.label("manifest_id"))
        rows = rows.join(repositories, repositories.c.id == manifests.c.repository_id)
        rows = _seen(tx, rows, sought.repository, caller)
        # Who copies a digest copies its beginning, and an index knows those.
        begins = rows.where(_begins(sought.digest))
        if (await tx.execute(begins.limit(1))).first() is not None:
            kinds.append(begins)
        else:
            kinds.append(rows.where(tx.dialect.holds(manifests.c.digest, sought.digest)))
    return kinds[0] if len(kinds) == 1 else union_all(*kinds)


def _begins(text: str) -> ColumnElement[bool]:
    """Whether a digest begins with the text, which may lack the algorithm."""
    algorithm, colon, digits = text.rpartition(":")
    return or_(
        *(
            # No digit comes behind f, so this is all that goes on from here.
            manifests.c.digest.between(f"{each}:{digits}", f"{each}:{digits}g")
            for each in ([algorithm] if colon else ALGORITHMS)
        )
    )


def _seen(tx: Tx, rows: Select[Any], name: str | None, caller: Principal) -> Select[Any]:
    """Of these rows, those in repositories that the caller may look into."""
    rows = rows.join(projects, projects.c.id == repositories.c.project_id).where(
        repositories.c.pushed_at.is_not(None),
        or_(projects.c.public, holding(caller, "artifact", "list")),
    )
    if name is not None:
        rows = rows.where(tx.dialect.holds(repositories.c.name, name))
    return rows


def _rank(text: str) -> ColumnElement[int]:
    """How well a tag fits."""
    said = func.lower(tags.c.name)
    rank = case(
        (said == text, literal(_EXACT)),
        (said.startswith(text, autoescape=True), literal(_BEGINS)),
        else_=literal(_HOLDS),
    )
    return rank.label("rank")


def _whole(page: Select[Any] | CompoundSelect[Any]) -> Select[Any]:
    """The rows of a page of hits."""
    chosen = page.subquery()
    newest = (
        select(tags.c.name)
        .where(tags.c.manifest_id == manifests.c.id)
        .order_by(tags.c.id.desc())
        .limit(1)
        .correlate(manifests)
        .scalar_subquery()
    )
    found = tags.alias("found")
    return (
        select(
            repositories.c.project_id,
            projects.c.public.label("project_public"),
            repositories.c.name.label("repository_name"),
            manifests.c.digest,
            func.coalesce(found.c.name, newest, "").label("tag"),
            manifests.c.media_type,
            manifests.c.config_media_type,
            manifests.c.artifact_type,
            manifests.c.total_size,
            func.coalesce(found.c.pushed_at, manifests.c.pushed_at, type_=Timestamp).label(
                "pushed_at"
            ),
            manifests.c.pulled_at,
        )
        .select_from(chosen)
        .outerjoin(found, found.c.id == chosen.c.tag_id)
        .join(
            manifests,
            manifests.c.id
            == case((chosen.c.tag_id > 0, found.c.manifest_id), else_=chosen.c.manifest_id),
        )
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .join(projects, projects.c.id == repositories.c.project_id)
        .order_by(chosen.c.rank, chosen.c.tag_id.desc(), chosen.c.manifest_id.desc())
    )


def _hit(row: Any) -> Hit:
    kind = types.processor_of(row.media_type, row.config_media_type, row.artifact_type).type
    return Hit(
        project_id=row.project_id,
        project_public=row.project_public,
        repository_name=row.repository_name,
        digest=row.digest,
        tag=row.tag,
        type=kind,
        size=row.total_size,
        pushed_at=row.pushed_at,
        pulled_at=row.pulled_at,
    )
