"""Objects from one store to another, several beside one another, each compared with its digest.

there already, of the right length ─► left as it is: a key is used once, so it is the right one
copied, hashed on the way, compared ─► commit
missing, short or damaged at its source ─► reported, and nothing is written
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from moorage import failpoints
from moorage.blobstore.base import BlobStore
from moorage.errors import BlobUnknown, StorageUnavailable
from moorage.oci import digest as digests

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that the rows name."""

    key: str
    digest: str
    size: int | None  # bytes; None: nobody noted it


@dataclass(slots=True)
class Copied:
    """What came of it."""

    objects: int = 0  # copied now
    size: int = 0  # their bytes
    there: int = 0  # were there already
    there_size: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # key to what is wrong at the source


Advance = Callable[[int, int], Awaitable[None] | None]


class Copier:
    """Copies under a prefix of the target, or from one of the source."""

    def __init__(
        self, source: BlobStore, target: BlobStore, *, below: str = "", from_below: str = ""
    ) -> None:
        self._source = source
        self._target = target
        self._below = below
        self._from_below = from_below
        self.done = Copied()

    async def run(
        self, wanted: AsyncIterator[Wanted], tell: Callable[[Copied], None], at_once: int = AT_ONCE
    ) -> Copied:
        """Copy what is not there; raises StorageUnavailable, StorageFull."""
        queue: asyncio.Queue[Wanted | None] = asyncio.Queue(at_once * 4)

        async def work() -> None:
            while (each := await queue.get()) is not None:
                await self.one(each)
                tell(self.done)

        async def feed() -> None:
            async for each in wanted:
                await queue.put(each)
            for _ in range(at_once):
                await queue.put(None)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(feed())
                for _ in range(at_once):
                    group.create_task(work())
        except* (StorageUnavailable, OSError) as failures:
            raise failures.exceptions[0] from None
        return self.done

    async def one(self, wanted: Wanted) -> None:
        """Copy one object unless it is there."""
        target = self._below + wanted.key
        size = await self._target.size(target)
        if size is not None and (wanted.size is None or size == wanted.size):
            self.done.there += 1
            self.done.there_size += size
            return
        for attempt in (1, 2):
            try:
                await self._copy(wanted, target)
            except StorageUnavailable:
                if attempt == 2:
                    raise
                # What a run that was killed had begun is in the way of a new beginning.
                await self._target.delete([target])
            else:
                return

    async def _copy(self, wanted: Wanted, target: str) -> None:
        algorithm, _ = digests.parse(wanted.digest)
        hasher = digests.hasher(algorithm)
        writer = self._target.create(target, hasher)
        try:
            async for piece in self._source.read(self._from_below + wanted.key):
                await writer.write(piece)
            await writer.flush()
            await failpoints.reach("copy.written")
            if f"{algorithm}:{hasher.hexdigest()}" != wanted.digest:
                self.done.failed[wanted.key] = "its bytes have another digest"
                await writer.abort()
                return
            await writer.commit()
        except BlobUnknown:
            await writer.abort()
            self.done.failed[wanted.key] = "its object is missing"
            return
        except BaseException:
            await writer.abort()
            raise
        self.done.objects += 1
        self.done.size += writer.size
