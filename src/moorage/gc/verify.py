"""Compares the store with the database, and damaged blobs with what they should be.

    row without an object, or one of another length    the blob is marked: the next push heals it
    object whose bytes have another digest (deep)      the same
    object of a marked blob that is whole (deep)       it was put back: the mark goes
    object without a row, older than a week            an orphan: reported, deleted when asked
    object under a name that is none of ours           counted, never touched

What is missing is never decided by a listing, and an orphan never by one alone.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select, union, update

from moorage.artifacts import adopted
from moorage.artifacts import blobs as blob_steps
from moorage.blobstore.base import BlobStore
from moorage.clock import Clock
from moorage.db.engine import Database
from moorage.db.tables import blob_trash, blobs, upload_segments
from moorage.db.transactions import Tx
from moorage.errors import BlobUnknown, Invalid
from moorage.jobs import Context, together
from moorage.oci import digest as digests

KIND = "STORAGE_VERIFY"
SETTLED = 7 * 86400.0
"""Seconds after which an object without a row cannot be of a push that is still running."""

OURS = "blobs/"
"""How every key begins that a registry made; what an adopted bucket had before does not."""

_PAGE = 200
_AT_ONCE = 8
_DELETED = 1000  # orphans of one request


@dataclass(frozen=True, slots=True)
class Options:
    """How thoroughly, and what to do."""

    deep: bool = False  # read and hash every byte
    orphans: bool = True  # also list the store
    delete_orphans: bool = False
    bytes_per_second: int = 0  # of a deep one; 0: as fast as it goes

    @classmethod
    def read(cls, sent: Mapping[str, Any]) -> "Options":
        """From arguments; raises Invalid."""
        known = {each.name: sent[each.name] for each in fields(cls) if each.name in sent}
        rate = known.get("bytes_per_second", 0)
        if isinstance(rate, bool) or not isinstance(rate, int) or rate < 0:
            raise Invalid("bytes_per_second is a number, 0 for no limit")
        return cls(**known)

    def dump(self) -> dict[str, Any]:
        """As arguments of a task."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(slots=True)
class _Found:
    checked: int = 0
    size: int = 0
    damaged: int = 0
    healed: int = 0
    foreign: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    deleted: int = 0


class VerifyJob:
    """The handler."""

    def __init__(self, db: Database, store: BlobStore, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._clock = clock

    async def __call__(self, context: Context) -> None:
        options = Options.read(context.claim.arguments)
        found = _Found()
        try:
            await self._check_blobs(context, options, found)
            if options.orphans:
                await self._check_objects(context, options, found)
        finally:
            context.extra = context.summary = {
                name: getattr(found, name) for name in found.__slots__
            }
            context.log(
                f"{found.checked} blobs of {found.size} bytes were checked, {found.damaged} are "
                f"damaged, {found.healed} are whole again; {found.orphans} objects of "
                f"{found.orphan_bytes} bytes are unknown, {found.deleted} of them were deleted"
            )

    # --- rows

    async def _check_blobs(self, context: Context, options: Options, found: _Found) -> None:
        pace = _Pace(options.bytes_per_second)
        last = (context.claim.checkpoint or {}).get("digest", "")
        while page := await self._page(last):
            rows = iter(page)

            async def work(rows: Iterator[Any] = rows) -> None:
                for row in rows:
                    context.check()
                    await self._check(context, row, options, pace, found)
                    found.checked += 1
                    found.size += row.size

            await together(*(work() for _ in range(1 if options.bytes_per_second else _AT_ONCE)))
            last = page[-1].digest
            await context.save({"digest": last})
            context.tell(f"{found.checked} blobs, {found.damaged} damaged")

    async def _page(self, last: str) -> Sequence[Any]:
        query = (
            select(blobs.c.digest, blobs.c.size, blobs.c.storage_key, blobs.c.state)
            .where(blobs.c.digest > last)
            .order_by(blobs.c.digest)
            .limit(_PAGE)
        )
        async with self._db.read() as tx:
            return (await tx.execute(query)).all()

    async def _check(
        self, context: Context, row: Any, options: Options, pace: "_Pace", found: _Found
    ) -> None:
        """Mark a blob that is damaged, and take the mark off one that is whole again."""
        why = await self._fault(context, row, options, pace)
        marked = row.state != "live"
        if not why:
            if marked and options.deep and await context.run(_unmark, row.digest, row.storage_key):
                found.healed += 1
                context.log(f"whole again: {row.digest}")
            return
        # Collected, or pushed anew under another key, since the page was read: nothing is wrong.
        if await context.run(_mark, row.digest, row.storage_key):
            found.damaged += 1
            context.log(f"damaged blob: {row.digest}: {why}; push it again to heal it", "ERROR")

    async def _fault(self, context: Context, row: Any, options: Options, pace: "_Pace") -> str:
        """What is wrong with a blob's object; nothing when it is whole, as far as was asked."""
        size = await self._store.size(row.storage_key)
        if size is None:
            return "its object is missing"
        if size != row.size:
            return f"its object has {size} bytes instead of {row.size}"
        if options.deep and await self._digest(context, row, pace) != row.digest:
            return "its bytes have another digest"
        return ""

    async def _digest(self, context: Context, row: Any, pace: "_Pace") -> str:
        algorithm, _ = digests.parse(row.digest)
        hasher = digests.hasher(algorithm)
        try:
            async for part in self._store.read(row.storage_key):
                hasher.update(part)
                await pace.passed(context, len(part))
        except BlobUnknown:
            return ""
        return f"{algorithm}:{hasher.hexdigest()}"

    # --- objects

    async def _check_objects(self, context: Context, options: Options, found: _Found) -> None:
        async with self._db.read() as tx:
            # What another registry wrote may still be needed by it.
            ours = (OURS, adopted.PREFIX) if await adopted.is_adopted(tx) else (OURS,)
        async for keys in self._old_objects(found, ours):
            unknown = await self._unknown(list(keys))
            for key in unknown:
                found.orphans += 1
                found.orphan_bytes += keys[key]
                context.log(f"unknown object: {key}, {keys[key]} bytes", "WARNING")
            if options.delete_orphans and unknown:
                await self._store.delete(unknown)
                found.deleted += len(unknown)
            context.tell(f"{found.orphans} unknown objects")
            context.check()

    async def _old_objects(
        self, found: _Found, ours: tuple[str, ...]
    ) -> AsyncIterator[dict[str, int]]:
        """Pages of objects of ours that no running push can have written."""
        page: dict[str, int] = {}
        latest = self._clock.now().timestamp() - SETTLED
        async for each in self._store.scan():
            if not each.key.startswith(ours):
                found.foreign += 1
            elif each.modified_at < latest:
                page[each.key] = each.size
            if len(page) >= _DELETED:
                yield page
                page = {}
        if page:
            yield page

    async def _unknown(self, keys: Sequence[str]) -> list[str]:
        """In one statement: a key that moves from one table to another is always in one of them."""
        held = union(
            *(
                select(table.c.storage_key).where(table.c.storage_key.in_(keys))
                for table in (upload_segments, blobs, blob_trash)
            )
        )
        async with self._db.read() as tx:
            known = set((await tx.execute(held)).scalars())
        return [key for key in keys if key not in known]


class _Pace:
    """Lets so many bytes pass a second; 0: all of them."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._due = 0.0

    async def passed(self, context: Context, size: int) -> None:
        if not self._rate:
            context.check()
            return
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now) + size / self._rate
        await context.sleep(max(0.0, self._due - now))


async def _mark(tx: Tx, digest: str, storage_key: str) -> bool:
    """Step: mark a blob, if it still is under this key; whether it is."""
    query = select(blobs.c.digest).where(
        blobs.c.digest == digest, blobs.c.storage_key == storage_key
    )
    if (await tx.execute(query)).scalar_one_or_none() is None:
        return False
    await blob_steps.suspect(tx, digest, storage_key)
    return True


async def _unmark(tx: Tx, digest: str, storage_key: str) -> bool:
    """Step: a marked blob that still is under this key is good again; whether it is."""
    mine = blobs.c.digest == digest, blobs.c.storage_key == storage_key
    healed = update(blobs).where(*mine, blobs.c.state == "suspect").values(state="live")
    if not (await tx.execute(healed)).rowcount:
        return False
    await blob_steps.touch_everywhere(tx, digest)
    return True
