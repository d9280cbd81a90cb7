"""Known bugs of registries, put back on purpose: the process of the topology has one of them.

    python -m tests.faults.mutant NAME serve --role registry

The checker must find each. The product knows nothing of this: a bug is a function of the product
that is replaced here, before the process begins.
"""

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import false, select

from moorage.__main__ import main
from moorage.artifacts import blobs, ledger, removal, storing, uploads
from moorage.db import connecting, transactions
from moorage.db.tables import gc_candidates, repository_blobs
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.gc import collector
from moorage.gc import review as reviewing
from moorage.jobs import queue
from moorage.projects import immutability

Bug = Callable[[], None]


def ignores_leases() -> None:
    """The collector takes what was promised to a push that has not named it yet (h#23116)."""
    original, run_once = reviewing.review, collector.Collector.run_once

    async def review(tx: Tx, digests: Sequence[str], keep: float) -> Any:
        await tx.execute(
            repository_blobs.update()
            .where(repository_blobs.c.digest.in_(digests))
            .values(lease_until=from_now(-1))
        )
        return await original(tx, digests, keep)

    async def candidates(self: Any, page: int = 1024) -> AsyncIterator[Sequence[str]]:
        async with self._db.read() as tx:
            found = (await tx.execute(select(gc_candidates.c.digest).limit(page))).scalars().all()
        if found:
            yield found

    async def all_of_them(self: Any, *, ignore_review: bool = False) -> Any:
        return await run_once(self, ignore_review=True)

    reviewing.review = review
    collector.Collector.candidates = candidates  # type: ignore[method-assign]
    collector.Collector.run_once = all_of_them  # type: ignore[method-assign]


def loses_tags() -> None:
    """A tag that another push moves at the same time stays where it was, with 201 (h#23118)."""

    async def point(tx: Tx, place: Any, tag: str, manifest_id: int) -> tuple[int, bool]:
        row = {"repository": place.id, "name": tag, "manifest": manifest_id}
        ((pointed, revision),) = await tx.fetch(storing._POINT, **row)
        return int(pointed), revision == 1

    storing._point = point


def believes_its_cache() -> None:
    """A writer tells nobody, so other replicas go on with what they know."""
    transactions.Tx.touch = lambda self, *keys: None  # type: ignore[method-assign]


def commits_later() -> None:
    """201 is said before the commit is on the standby's disk, or on any."""
    connecting._SESSION += "; SET synchronous_commit = off"


def trashes_the_wrong_key() -> None:
    """Of two uploads of one digest the object goes that the row names."""
    original = blobs._meet

    async def meet(tx: Tx, done: Any, sound: Any) -> str:
        kept: str = await original(tx, done, sound)
        if kept != done.storage_key:
            await blobs.discard_keys(tx, [kept], 0)
            return str(done.storage_key)  # so that the caller throws nothing away
        return kept

    blobs._meet = meet


def forgets_the_quota() -> None:
    """A delete gives nothing back."""

    async def settle(tx: Tx, project_id: int, digests: Any) -> None:
        await ledger.lock(tx, project_id)

    ledger.settle = settle


def leaves_garbage() -> None:
    """A delete tells the collector nothing."""
    original = blobs.nominate

    async def nominate(tx: Tx, digests: Sequence[str], after: float, reason: str) -> None:
        if reason != "manifest deleted":
            await original(tx, digests, after, reason)

    blobs.nominate = nominate


def leaves_tasks_to_the_dead() -> None:
    """What a worker had when it died stays with it for ever (h#8202)."""
    queue._abandoned = lambda kind: (false(),)


def changes_what_may_not_change() -> None:
    """Immutable tags are those of the tag's creation only."""

    async def guard(tx: Tx, project_id: int, repository: str, tags: Any) -> None:
        return

    immutability.guard = guard


def leaves_signatures() -> None:
    """What refers to a deleted image stays (h#16418)."""

    async def referrers(tx: Tx, place: Any, digest: str) -> list[Any]:
        return []

    removal._referrers = referrers


def mounts_from_anywhere() -> None:
    """Who knows a digest may have the blob (CVE-2024-39897)."""
    original = uploads.Uploads.mount

    async def mount(
        self: Any, principal: Any, repository: str, digest: str, sources: Any, source: str | None
    ) -> Any:
        async def may(_: str) -> bool:
            return True

        return await original(self, principal, repository, digest, may, source)

    uploads.Uploads.mount = mount  # type: ignore[method-assign]


@dataclass(frozen=True)
class Known:
    """A bug, the invariants of which one breaks, and the fault without which it does not show."""

    bug: Bug
    breaks: tuple[str, ...]
    needs: str = ""


BUGS: Mapping[str, Known] = {
    known.bug.__name__: known
    for known in (
        Known(ignores_leases, ("I4",)),
        Known(loses_tags, ("I2",)),
        Known(believes_its_cache, ("I1", "I2")),
        Known(commits_later, ("I1", "I2"), "F-P2"),
        Known(trashes_the_wrong_key, ("I1", "I5")),
        Known(forgets_the_quota, ("I6",)),
        Known(leaves_garbage, ("I5",)),
        Known(leaves_tasks_to_the_dead, ("I7",), "a job crashes"),
        Known(changes_what_may_not_change, ("I8",)),
        Known(leaves_signatures, ("I1",)),
        Known(mounts_from_anywhere, ("I10",)),
    )
}


def begin(name: str) -> None:
    """Put the bug back, then be a server."""
    BUGS[name].bug()
    sys.argv = ["moorage", *sys.argv[2:]]
    main()


if __name__ == "__main__":
    begin(sys.argv[1])
