"""The online collector: reviews what may be garbage, some of it in each transaction.

Blobs share a transaction, as many as it can do in a moment: whoever waits for one of them waits no
longer.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

from sqlalchemy import Integer, bindparam, select

from moorage import failpoints
from moorage.artifacts.rules import Rules
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import gc_candidates, repository_blobs
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.gc import review as reviewing
from moorage.gc.review import Collected

HELD = 0.04
"""Seconds that a transaction should hold its locks at most."""
_LEAST, _MOST = 256, 1024  # blobs of one transaction; fewer would save its statements no time
_PAGE = 1024


class Run(Protocol):
    """Runs a step in a transaction: `Database.run`, or that of a job that may lose its task."""

    def __call__(
        self, step: Callable[..., Awaitable[Any]], /, *args: Any, **more: Any
    ) -> Awaitable[Any]: ...


class Stride:
    """How many blobs share a transaction: more while that is quick, half as many when it is not."""

    def __init__(self) -> None:
        self.size = _LEAST

    def took(self, blobs: int, seconds: float) -> None:
        """A transaction of so many blobs held its locks for so long."""
        if seconds > HELD:
            self.size = max(_LEAST, min(self.size, blobs) // 2)
        elif seconds < HELD / 3 and blobs >= self.size:
            self.size = min(_MOST, self.size * 2)


class Collector:
    """Reviews candidates, a few in each transaction, without any other I/O."""

    def __init__(self, db: Database, rules: Rules, batch: int = 100) -> None:
        self._db = db
        self._rules = rules
        self._batch = batch
        self.stride = Stride()

    async def run_once(self, *, ignore_review: bool = False) -> Collected:
        """Review one batch; `ignore_review` also takes candidates that are not due yet.

        Leases hold in either case.
        """
        if ignore_review:
            async for digests in self.candidates(self._batch):
                return await self._reviewed(digests)
            return Collected()
        due = select(gc_candidates.c.digest).where(gc_candidates.c.review_after <= now())
        due = due.order_by(gc_candidates.c.review_after).limit(self._batch)
        async with self._db.read() as tx:
            digests = (await tx.execute(due)).scalars().all()
        return await self._reviewed(digests)

    async def _reviewed(self, digests: Sequence[str]) -> Collected:
        total, done = Collected(), 0
        while done < len(digests):
            some = digests[done : done + self.stride.size]
            total += await self.review(some, self._db.run)
            done += len(some)
        return total

    async def candidates(self, page: int = _PAGE) -> AsyncIterator[Sequence[str]]:
        """Every candidate that no lease holds, whether due or not, in pages; each one once."""
        last = ""
        while True:
            async with self._db.read() as tx:
                digests = [digest for (digest,) in await tx.fetch(_NEXT, last=last, page=page)]
                # Two statements: one that joins begins at the front of the leases for every page.
                every = tx.dialect.many(digests)
                leased = {digest for (digest,) in await tx.fetch(_LEASED, digests=every)}
            if not digests:
                return
            last = digests[-1]
            # A candidate whose lease still runs would come to nothing.
            if free := [digest for digest in digests if digest not in leased]:
                yield free

    async def review(self, digests: Collection[str], run: Run) -> Collected:
        """Review these candidates in one transaction of `run`."""
        began = time.monotonic()

        async def step(tx: Tx) -> Collected:
            nonlocal began
            began = time.monotonic()
            return await reviewing.review(tx, sorted(digests), self._rules.retention)

        done: Collected = await run(step)
        self.stride.took(len(digests), time.monotonic() - began)
        await failpoints.reach("gc.committed")
        return done


_NEXT = Prepared(
    lambda dialect: (
        select(gc_candidates.c.digest)
        .where(gc_candidates.c.digest > bindparam("last"))
        .order_by(gc_candidates.c.digest)
        .limit(bindparam("page", type_=Integer()))
    )
)
_LEASED = Prepared(
    lambda dialect: select(repository_blobs.c.digest).where(
        dialect.among(repository_blobs.c.digest, "digests"),
        repository_blobs.c.lease_until > now(),
    )
)
