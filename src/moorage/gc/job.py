"""A collection as its users see it: asked for or scheduled, with a log, progress and figures.

    untagged manifests ─► trash of artifacts        when `delete_untagged`
    candidates ─────────► trash of blobs            by several workers
    trash whose time is over ─► deleted             by the same; all of it when `empty_trash`

The collector that runs all the time does the same, only more slowly; a job looks at everything
that no lease holds. It stops between two transactions, and whoever goes on after a crash begins
anew: what is gone is gone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from typing import Any

from moorage.artifacts.rules import Rules
from moorage.blobstore.base import BlobStore
from moorage.db.engine import Database
from moorage.errors import Invalid
from moorage.gc.collector import Collector
from moorage.gc.janitor import Janitor, Tidied
from moorage.gc.leases import held
from moorage.gc.preview import preview
from moorage.gc.review import Collected
from moorage.gc.sweeper import Sweeper
from moorage.gc.untagged import Untagged
from moorage.jobs import Context, together

KIND = "GARBAGE_COLLECTION"
MAX_WORKERS = 10


@dataclass(frozen=True, slots=True)
class Options:
    """What a collection is asked to do."""

    delete_untagged: bool = False
    dry_run: bool = False
    workers: int = 1
    empty_trash: bool = False  # also what could still be restored

    @classmethod
    def read(cls, sent: Mapping[str, Any]) -> "Options":
        """From a request; raises Invalid. What it does not know is left out."""
        known = {each.name: sent[each.name] for each in fields(cls) if each.name in sent}
        workers = known.get("workers", 1)
        if not isinstance(workers, int) or isinstance(workers, bool):
            raise Invalid("workers is a number")
        if not 1 <= workers <= MAX_WORKERS:
            raise Invalid(f"workers is between 1 and {MAX_WORKERS}")
        for name in known.keys() - {"workers"}:
            if not isinstance(known[name], bool):
                raise Invalid(f"{name} is true or false")
        return cls(**known)

    def dump(self) -> dict[str, Any]:
        """As arguments of a task."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(slots=True)
class _Totals:
    manifests: int = 0
    collected: Collected = field(default_factory=Collected)
    objects: int = 0
    freed: int = 0  # bytes of the objects that were deleted

    def dump(self) -> dict[str, Any]:
        return {
            "purged_manifests": self.manifests,
            "purged_blobs": self.collected.blobs,
            "freed_space": self.collected.size,
            "deleted_objects": self.objects,
            "deleted_space": self.freed,
        }


class GarbageJob:
    """The handler."""

    def __init__(
        self, db: Database, store: BlobStore, rules: Rules, window: float, batch: int = 1000
    ) -> None:
        self._db = db
        self._rules = rules
        self._collector = Collector(db, rules)
        self._sweeper = Sweeper(db, store, batch)
        self._janitor = Janitor(db, rules)
        self._untagged = Untagged(db, rules, window)

    async def __call__(self, context: Context) -> None:
        options = Options.read(context.claim.arguments)
        context.log(f"workers: {options.workers}")
        totals = _Totals()
        window = self._untagged.window if options.delete_untagged else None
        manifests, found = await preview(self._db, window=window)
        context.log(
            f"{found.blobs} blobs and {manifests} manifests eligible for deletion, "
            f"{found.size} bytes"
        )
        if options.dry_run:
            totals.manifests, totals.collected = manifests, found
            context.log("a dry run: nothing was changed")
        else:
            await self._work(context, options, totals, found.blobs)
        await self._tell_held(context)
        context.extra = context.summary = {**options.dump(), **totals.dump()}

    async def _work(
        self, context: Context, options: Options, totals: _Totals, expected: int
    ) -> None:
        try:
            await self._tidy(context)
            if options.delete_untagged:
                await self._delete_untagged(context, totals)
            await self._collect(context, options.workers, totals, expected)
            if options.empty_trash:
                await self._sweeper.empty()
            await together(*(self._sweep(context, totals) for _ in range(options.workers)))
        finally:  # also of one that was stopped
            context.extra = context.summary = {**options.dump(), **totals.dump()}
            context.log(
                f"{totals.manifests} manifests and {totals.collected.blobs} blobs went, "
                f"{totals.collected.size} bytes; "
                f"{totals.objects} objects deleted, {totals.freed} bytes"
            )

    async def _tidy(self, context: Context) -> None:
        """End what rests for too long, all of it; a few of each kind in a transaction."""
        total = Tidied()
        while True:
            context.check()
            tidied = await self._janitor.run_once()
            if not any(astuple(tidied)):
                break
            total += tidied
            context.tell(f"{total.uploads} abandoned uploads, {total.artifacts} artifacts")
        if any(astuple(total)):
            context.log(
                f"{total.uploads} abandoned uploads, {total.artifacts} deleted artifacts and "
                f"{total.repositories} empty repositories went for good"
            )

    async def _delete_untagged(self, context: Context, totals: _Totals) -> None:
        async for doomed in self._untagged.doomed():
            left, before = list(doomed), -1
            while left and len(left) != before:  # what an index named goes after it
                before, refused = len(left), []
                for each in left:
                    context.check()
                    if await context.run(self._untagged.delete, each):
                        totals.manifests += 1
                        context.log(f"delete manifest: {each.repository}@{each.digest}")
                        context.tell(f"{totals.manifests} manifests")
                    else:
                        refused.append(each)
                left = refused

    async def _collect(
        self, context: Context, workers: int, totals: _Totals, expected: int
    ) -> None:
        batches = self._batches()
        turn = asyncio.Lock()

        async def work() -> None:
            while True:
                context.check()
                async with turn:
                    digests = await anext(batches, None)
                if digests is None:
                    return
                done: Collected = await self._collector.review(digests, context.run)
                totals.collected += done
                for digest in done.digests:
                    context.log(f"delete blob from storage: {digest}")
                context.tell(f"{totals.collected.blobs} of {expected} blobs")
                await self._sweep_some(totals)  # the store deletes while others review

        await together(*(work() for _ in range(workers)))

    async def _batches(self) -> AsyncIterator[Sequence[str]]:
        async for page in self._collector.candidates():
            done = 0
            while done < len(page):
                some = page[done : done + self._collector.stride.size]
                done += len(some)
                yield some

    async def _sweep(self, context: Context, totals: _Totals) -> None:
        """Delete what has been in the trash for long enough."""
        while True:
            context.check()
            if not await self._sweep_some(totals):
                return
            context.tell(f"{totals.objects} objects deleted")

    async def _sweep_some(self, totals: _Totals) -> int:
        swept = await self._sweeper.run_once()
        totals.objects += swept.objects
        totals.freed += swept.size
        return swept.objects

    async def _tell_held(self, context: Context) -> None:
        kept = await held(self._db)
        if kept.blobs:
            until = f"{kept.until:%Y-%m-%dT%H:%M:%SZ}" if kept.until else ""
            context.log(
                f"{kept.blobs} blobs that no manifest names are held for pushes that may still "
                f"need them, until {until} at the latest: {kept.size} bytes"
            )
