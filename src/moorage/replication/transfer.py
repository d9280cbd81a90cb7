"""Copies one artifact from one side to the other.

    tags at the target name the digest already ─► only what refers to it is looked at
    manifest ─► children first, each in the same way
             ─► blobs, several at once: there already | mounted | written
             ─► the manifest itself; with its tags at the very end
    referrers of each of them, and what cosign tied to it by a tag

Until its last request nobody finds an artifact at the target that is not whole.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from moorage.errors import (
    DigestInvalid,
    Invalid,
    ManifestUnknown,
    NotFound,
    SizeInvalid,
    TooLarge,
    Unsupported,
)
from moorage.oci import digest as digests
from moorage.oci import media_types
from moorage.oci.manifest import Descriptor, parse
from moorage.remotes import Fetched
from moorage.replication.records import Move
from moorage.replication.sides import Read, Sending, Side

AT_ONCE = 4
"""Blobs of one artifact that move at the same time."""
MOST = 5000
"""Manifests that belong to one artifact."""
DEPTH = 16
LISTED = 5
"""Times that a list of referrers is written again which others write at the same time."""
NEWER = 5
"""Pushes of a tag that a late task makes up for; each of them has a task of its own too."""


@dataclass(slots=True)
class Progress:
    """What a task did so far; sizes in bytes."""

    manifests: int = 0
    blobs: int = 0
    moved: int = 0
    spared: int = 0  # that the target had
    expected: int = 0  # of the blobs that were looked at
    began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self.began, 0.001)
        rate = self.moved / seconds / (1 << 20)
        return (
            f"{self.moved + self.spared} of {self.expected} bytes, {self.moved} of them moved "
            f"in {self.blobs} blobs, {self.manifests} manifests, {rate:.1f} MiB/s"
        )


class Transfer:
    """One artifact on its way."""

    def __init__(
        self,
        source: Side,
        target: Side,
        move: Move,
        how: Sending,
        *,
        override: bool,
        deletes: bool = False,
        untagged: bool = False,
        again: bool = False,
        log: Callable[[str], None],
        check: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        """`deletes`: what is deleted at the source is to be deleted at the target.

        `untagged`: also an artifact that had lost its tags before. `again`: an earlier run may
        have written, and ended before it looked at the source again.
        """
        self._source = source
        self._target = target
        self._move = move
        self._how = how
        self._override = override
        self._deletes = deletes
        self._untagged = untagged
        self._again = again
        self._log = log
        self._check = check
        self._tell = tell
        self._done: set[str] = set()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._seen: set[str] = set()  # blobs that are at the target
        self._placed = False  # whether the target had not the artifact until this wrote it
        self.taken: list[str] = []  # tags and digests that were deleted at the target again
        self.progress = Progress()

    async def run(self) -> None:
        """Copy it; raises what either side does."""
        move = self._move
        tags: list[str] | None = list(move.tags)
        there = move.digest == await self._target.digest_of(move.target, move.digest)
        if there or not self._override:  # else no tag can name it, and none is in the way
            tags = await self._tags(move.tags, move.digest)
        if tags is None:
            return
        if there and not tags:
            self._log(f"{move.target}@{move.digest} is there already")
            if self._again:
                await self._look_again(move.tags)
        else:
            try:
                found = await self._source.manifest(move.source, move.digest)
            except NotFound:
                self._log(f"{move.digest} was deleted from {move.source} since")
                if there and self._again:
                    await self._look_again(move.tags)
                return
            if there:
                await self._target.put(move.target, found, tags)
                self._log(f"{move.target}{_shown(tags)} names {move.digest} now")
            else:
                await self._target.ensure(move.target)
                await self._place(found, tags, 0)
            await self._look_again(move.tags if self._again else tags)
        await self._attached(move.digest, there=there, depth=0)
        for tag in move.attached:
            await self._follow(tag)
        self._tell(str(self.progress))

    async def _tags(self, wanted: Sequence[str], digest: str) -> list[str] | None:
        """Those that have to be set at the target; None: another artifact holds them all."""
        tags, held = [], 0
        for tag in wanted:
            there = await self._target.digest_of(self._move.target, tag)
            if there and there != digest and not self._override:
                self._log(f"{self._move.target}:{tag} stays: it is {there}, and is not overridden")
                held += 1
            elif there != digest:
                tags.append(tag)
        return None if wanted and held == len(wanted) else tags

    async def _look_again(self, tags: Sequence[str]) -> None:
        """Undo what the source has undone while this wrote: a task may be late.

        The task of a later push has set a tag before, or that of a delete found nothing to take
        away: both looked before this one wrote. One that comes after this one does so by itself.
        """
        for tag in tags:
            await self._settle(tag)
        if not tags and self._deletes:
            await self._take_back(self._move.digest)

    async def _settle(self, tag: str) -> None:
        """Let a tag at the target be what it is at the source, if all that takes is there."""
        move, last = self._move, self._move.digest
        for _ in range(NEWER):
            now = await self._source.digest_of(move.source, tag)
            if now == last:
                break
            if not now:
                if self._deletes:
                    await self._take_back(tag)
                break
            if not self._override or now != await self._target.digest_of(move.target, now):
                break
            found = await self._source.manifest(move.source, now)
            await self._target.put(move.target, found, [tag])
            self._log(f"{move.target}:{tag} names {now} again, which was pushed since")
            last = now

    async def _take_back(self, reference: str) -> None:
        """Delete what was copied after it had been deleted at the source.

        The artifact itself only if it came by this, else others have it under tags of theirs; and
        only if its delete would have come here whether its tags went before it or with it.
        """
        move = self._move
        gone = not await self._source.digest_of(move.source, move.digest)
        whole = gone and self._placed and self._untagged
        if reference == move.digest and not whole:
            return
        if move.digest != await self._target.digest_of(move.target, reference):
            return
        try:
            await self._target.delete(move.target, move.digest if whole else reference)
        except NotFound:
            return
        self._log(f"{move.target} {reference} was deleted again, as it was at the source")
        self.taken += (reference, move.digest) if whole else (reference,)

    async def _place(self, found: Fetched, tags: Sequence[str], depth: int) -> None:
        """A manifest with everything below it."""
        self._check()
        if depth > DEPTH or len(self._done) >= MOST:
            raise TooLarge(f"more than {MOST} manifests belong to {self._move.digest}")
        self._done.add(found.digest)
        if found.media_type in media_types.DOCKER_SCHEMA1:
            raise Unsupported(f"{found.digest} is of Docker's schema 1, which nobody takes now")
        parsed = parse(found.payload, found.media_type)
        for child in parsed.children:
            if child.digest not in self._done:
                await self._child(child, depth + 1)
        await self._blobs([blob for blob in parsed.blobs if not blob.foreign])
        self._check()
        if depth == 0 and self._deletes:  # blobs take their time
            there = await self._target.digest_of(self._move.target, found.digest)
            self._placed = there != found.digest
        await self._target.put(self._move.target, found, tags)
        self.progress.manifests += 1
        self._log(f"{self._move.target}{_shown(tags) or '@' + found.digest} was copied")

    async def _child(self, child: Descriptor, depth: int) -> None:
        if child.digest == await self._target.digest_of(self._move.target, child.digest):
            self._done.add(child.digest)
        else:
            found = await self._source.manifest(self._move.source, child.digest)
            if len(found.payload) != child.size:
                raise SizeInvalid(f"{child.digest} has not the {child.size} bytes of its index")
            await self._place(found, (), depth)
        await self._attached(child.digest, there=False, depth=depth)

    async def _attached(self, digest: str, *, there: bool, depth: int) -> None:
        """What names it as its subject."""
        referrers = await self._source.referrers(self._move.source, digest)
        wrote = False
        for each in referrers:
            if each in self._done:
                continue
            if each == await self._target.digest_of(self._move.target, each):
                self._done.add(each)
            else:
                try:
                    found = await self._source.manifest(self._move.source, each)
                except NotFound:
                    continue
                await self._target.ensure(self._move.target)
                await self._place(found, (), depth + 1)
                wrote = True
            await self._attached(each, there=there, depth=depth + 1)
        if referrers:
            await self._listed(digest, None if wrote else referrers)

    async def _listed(self, subject: str, wanted: Sequence[str] | None) -> None:
        """See that the target lists every referrer that is there; `wanted`, if that is fresh.

        Registries without such a list keep it under a tag, which another task may have read before
        this one wrote it and written after. So whoever wrote last looks, and knows them all from
        the source.
        """
        move = self._move
        for _ in range(LISTED):
            if wanted is None:
                wanted = await self._source.referrers(move.source, subject)
            lacking = await self._target.unlisted(move.target, subject, wanted)
            if not lacking:
                return
            found = []
            for each in lacking:
                with suppress(NotFound):  # it went meanwhile
                    found.append(await self._source.manifest(move.source, each))
            if found:
                await self._target.enlist(move.target, subject, found)
                self._log(f"{len(found)} referrers of {subject} were listed again")
            wanted = None

    async def _follow(self, tag: str) -> None:
        """What cosign tied to the artifact by a tag."""
        try:
            found = await self._source.manifest(self._move.source, tag)
        except NotFound:
            return
        if found.digest != await self._target.digest_of(self._move.target, tag):
            await self._place(found, (tag,), 1)

    # --- blobs

    async def _blobs(self, blobs: Sequence[Descriptor]) -> None:
        new = [blob for blob in blobs if blob.digest not in self._seen]
        self.progress.expected += sum(blob.size for blob in new)
        works = [asyncio.create_task(self._blob(blob)) for blob in new]
        try:
            await asyncio.gather(*works)
        finally:
            for each in works:
                each.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def _blob(self, blob: Descriptor) -> None:
        move = self._move
        turn = self._target.turn(move.target, blob.digest, self._how.throttle.rate)
        async with self._gate, turn:
            self._check()
            if await self._target.has_blob(move.target, blob.digest, blob.size):
                self.progress.spared += blob.size
            else:
                digests.parse(blob.digest)
                read = self._source.read(move.source, blob.digest, blob.size)
                try:
                    await self._target.write(
                        move.target, blob.digest, blob.size, self._counted(read), self._how
                    )
                except ManifestUnknown as error:
                    raise Invalid(error.message) from error
                except DigestInvalid as error:
                    raise DigestInvalid(
                        f"{move.source} holds something else under {blob.digest}: {error.message}"
                    ) from error
                self.progress.blobs += 1
                self._log(f"blob {blob.digest}, {blob.size} bytes, was copied")
            self._seen.add(blob.digest)
            self._tell(str(self.progress))

    def _counted(self, read: Read) -> Read:
        """Counts what passes; a stop is noticed at each piece."""

        async def parts(start: int, end: int) -> AsyncIterator[bytes]:
            async for part in read(start, end):
                self._check()
                self.progress.moved += len(part)
                self._tell(str(self.progress))
                yield part

        return parts


def _shown(tags: Sequence[str]) -> str:
    return f":{','.join(tags)}" if tags else ""
