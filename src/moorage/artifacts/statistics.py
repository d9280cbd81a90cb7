"""Pull counts: added in memory on the hot path, written in batches.

pull ─► Counter of this process ── every few seconds ──► one transaction:
        pull_count, pulled_at · the day's rows (pulldays) · the fact in the outbox
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, bindparam, select, update

from moorage.artifacts.pulldays import PullDays, Pulled, Written
from moorage.artifacts.records import Resolved
from moorage.db.engine import Database
from moorage.db.tables import manifests, repositories, tags
from moorage.db.transactions import Tx, whole
from moorage.db.types import now
from moorage.events import ArtifactPulled, emit
from moorage.oci import digest as digests

Pull = tuple[int, int, str, str, str]  # repository_id, manifest_id, digest, tag, operator

_BATCH = 300

_REPOSITORY = (
    update(repositories)
    .where(repositories.c.id == bindparam("row"))
    .values(pull_count=repositories.c.pull_count + bindparam("more"))
)
_MANIFEST = (
    update(manifests)
    .where(manifests.c.id == bindparam("row"))
    .values(pull_count=manifests.c.pull_count + bindparam("more"), pulled_at=now())
)
_TAG = (
    update(tags)
    .where(tags.c.repository_id == bindparam("row"), tags.c.name == bindparam("tag"))
    .values(pulled_at=now())
)


class PullCounts:
    """Pulls since the last flush. A process that dies loses those few, and nothing else."""

    def __init__(self, db: Database, *, callers: bool = True) -> None:
        self._db = db
        self._pulls: Counter[Pull] = Counter()
        self._days = PullDays(callers=callers)

    def add(self, resolved: Resolved, reference: str, operator: str) -> None:
        """Count one pull."""
        tag = "" if digests.is_digest(reference) else reference
        pull = resolved.repository_id, resolved.manifest_id, resolved.digest, tag, operator
        self._pulls[pull] += 1

    async def flush(self) -> int:
        """Write what was counted; returns the pulls written. None is lost when it fails."""
        # Sorted, so that several replicas update rows in the same order.
        waiting = sorted(self._pulls.items())
        written = 0
        for start in range(0, len(waiting), _BATCH):
            batch = dict(waiting[start : start + _BATCH])
            # A process that ends cancels this: what was committed then must not count once more.
            await whole(self._flush(batch))
            written += sum(batch.values())
        return written

    async def _flush(self, batch: Mapping[Pull, int]) -> None:
        self._days.committed(await self._db.run(_write, self._days, batch))
        for pull, count in batch.items():
            self._pulls[pull] -= count  # pulls that came meanwhile stay
            if not self._pulls[pull]:
                del self._pulls[pull]


async def _write(tx: Tx, days: PullDays, pulls: Mapping[Pull, int]) -> Written:
    """Step: count these, in the order of a push: the repository is held, then its tags are changed,
    then its row, then manifests. In any other, who pushes a tag that was pulled and this one wait
    for each other until the database ends one of them, a second later.
    """
    by_manifest: Counter[int] = Counter()
    by_repository: Counter[int] = Counter()
    tagged: set[tuple[int, str]] = set()
    for (repository_id, manifest_id, _, tag, _), count in pulls.items():
        by_manifest[manifest_id] += count
        by_repository[repository_id] += count
        if tag:
            tagged.add((repository_id, tag))
    places = await _hold(tx, sorted(by_repository))
    if tagged:
        await tx.execute(_TAG, [{"row": i, "tag": tag} for i, tag in sorted(tagged)])
    await tx.execute(_REPOSITORY, [{"row": i, "more": n} for i, n in sorted(by_repository.items())])
    await tx.execute(_MANIFEST, [{"row": i, "more": n} for i, n in sorted(by_manifest.items())])
    written = await days.add(tx, _pulled(pulls, places, await _sizes(tx, sorted(by_manifest))))
    await _tell(tx, pulls, places)
    return written


async def _hold(tx: Tx, ids: list[int]) -> Mapping[int, Row[tuple[int, str, int]]]:
    """Repositories that are still there, and stay until the commit."""
    columns = repositories.c.id, repositories.c.name, repositories.c.project_id
    query = select(*columns).where(repositories.c.id.in_(ids)).order_by(repositories.c.id)
    rows = await tx.execute(tx.dialect.for_key_share(query))
    return {row.id: row for row in rows}


async def _sizes(tx: Tx, ids: list[int]) -> Mapping[int, int]:
    """Bytes that a client gets for each manifest: of an index itself alone.

    The platform that is wanted of it comes by a pull of its own.
    """
    columns = manifests.c.id, manifests.c.depth, manifests.c.payload_size, manifests.c.total_size
    rows = await tx.execute(select(*columns).where(manifests.c.id.in_(ids)))
    return {row.id: row.payload_size if row.depth else row.total_size for row in rows}


def _pulled(
    pulls: Mapping[Pull, int], places: Mapping[int, Row[Any]], sizes: Mapping[int, int]
) -> list[Pulled]:
    return [
        Pulled(
            project_id=places[repository_id].project_id,
            repository_id=repository_id,
            repository=places[repository_id].name,
            digest=digest,
            tag=tag,
            caller=operator,
            pulls=count,
            size=count * sizes.get(manifest_id, 0),
        )
        for (repository_id, manifest_id, digest, tag, operator), count in pulls.items()
        if repository_id in places
    ]


async def _tell(tx: Tx, pulls: Mapping[Pull, int], places: Mapping[int, Row[Any]]) -> None:
    facts = (
        ArtifactPulled(
            project_id=places[repository_id].project_id,
            repository=places[repository_id].name,
            operator=operator,
            digest=digest,
            tag=tag,
            count=count,
        )
        for (repository_id, _, digest, tag, operator), count in pulls.items()
        if repository_id in places
    )
    await emit(tx, *facts)
