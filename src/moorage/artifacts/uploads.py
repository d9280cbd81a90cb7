"""Pushing blobs.

    start ─► append* ─► finish          status and cancel at any time
    push                                all of it in one request
    mount, renew                        no bytes move

The order within: intent row, bytes, durable, offset row; at the end digest and length are checked
against what was counted here, then one transaction makes the blob. Between two steps the process
may die: what is on disk is then named by a row, and the next request or the janitor finds it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from time import monotonic

from moorage import failpoints
from moorage.access.principals import Principal
from moorage.artifacts import blobs, sessions
from moorage.artifacts.blobs import Finished, Linked, MustStat
from moorage.artifacts.claims import FirstClaims
from moorage.artifacts.records import Blob, Upload
from moorage.artifacts.rules import Rules
from moorage.artifacts.sessions import Claim, Segment
from moorage.blobstore.base import BlobStore, Writer
from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.errors import (
    ClientGone,
    Conflict,
    DatabaseUnavailable,
    DigestInvalid,
    MoorageError,
    QuotaExceeded,
    RangeInvalid,
    SizeInvalid,
    TooLarge,
    UploadUnknown,
)
from moorage.oci import digest as digests
from moorage.projects.quota import display_size
from moorage.settings import Current, Fixed

Body = AsyncIterator[bytes]

HEARTBEAT = 600.0
"""Seconds between signs of life of a long stream."""

STAT_TTL = 60.0
"""Seconds for which an object that was seen whole is believed to be there."""


class Uploads:
    """The push side of `/v2/<name>/blobs`."""

    def __init__(
        self, db: Database, store: BlobStore, rules: Rules, settings: Current | None = None
    ) -> None:
        self._db = db
        self._store = store
        self._rules = rules
        self._settings = settings or Fixed()
        self._first = FirstClaims()
        self._seen: dict[str, float] = {}

    async def start(
        self, principal: Principal, repository: str, *, algorithm: str = "sha256"
    ) -> Upload:
        """Begin a session; raises NameInvalid, ProjectUnknown, DigestInvalid."""
        digests.hasher(algorithm)
        held = await self._db.run(sessions.begin, principal, repository, algorithm)
        self._first.keep(principal, held)
        await failpoints.reach("upload.recorded")
        return Upload(held.upload_id, 0)

    async def status(self, principal: Principal, repository: str, upload_id: str) -> Upload:
        """How far a session is; raises UploadUnknown."""
        async with self._db.read() as tx:
            offset = await sessions.offset_of(tx, principal, repository, upload_id)
        return Upload(upload_id, offset)

    async def append(
        self,
        principal: Principal,
        repository: str,
        upload_id: str,
        body: Body,
        *,
        start: int | None,
        length: int | None,
    ) -> Upload:
        """Add a chunk at `start` (None: at the end) of `length` bytes (None: unknown).

        A client that breaks off keeps what arrived. Raises RangeInvalid with the true offset.
        """
        held = await self._claim(principal, repository, upload_id, start)
        await failpoints.reach("segment.recorded")
        segment, failure = await self._receive(held, body, length, held.algorithm)
        offset = held.offset
        if segment is not None:
            offset = await self._advance(held, segment)
        if failure is not None:
            raise failure
        return Upload(upload_id, offset)

    async def finish(
        self,
        principal: Principal,
        repository: str,
        upload_id: str,
        digest: str,
        body: Body | None,
        *,
        start: int | None = None,
        length: int | None = None,
    ) -> Blob:
        """Close a session, after a last chunk if `body` is given.

        Raises DigestInvalid, which ends the session and keeps nothing.
        """
        algorithm, _ = digests.parse(digest)
        if body is None or length == 0:
            async with self._db.read() as tx:  # nothing to write: the epoch fences the commit
                seen = await sessions.look(tx, principal, repository, upload_id, start)
                parts = await sessions.segments(tx, seen)
            return await self._close(seen, digest, parts)
        held = await self._claim(principal, repository, upload_id, start)
        await failpoints.reach("segment.recorded")
        last, failure = await self._receive(held, body, length, algorithm)
        if failure is not None:
            if last is not None:
                await self._advance(held, last)
            raise failure
        try:
            parts = await self._segments(held)
            return await self._close(held, digest, [*parts, last] if last else parts)
        except UploadUnknown:  # ended by somebody else, who could not know of these bytes
            await self._db.run(sessions.drop_segment, held.storage_key, self._rules)
            raise

    async def push(
        self,
        principal: Principal,
        repository: str,
        digest: str,
        body: Body,
        *,
        length: int | None,
    ) -> Blob:
        """Store a blob in one request; DigestInvalid and SizeInvalid keep nothing."""
        algorithm, _ = digests.parse(digest)
        held = await self._db.run(sessions.begin, principal, repository, algorithm)
        await failpoints.reach("segment.recorded")
        last, failure = await self._receive(held, body, length, algorithm)
        if failure is not None:
            await self._abandon(held)
            raise failure
        return await self._close(held, digest, [last] if last else [])

    async def cancel(self, principal: Principal, repository: str, upload_id: str) -> None:
        """Give a session up; raises UploadUnknown."""
        held = await self._claim(principal, repository, upload_id, None)
        await self._abandon(held)

    # --- without bytes

    async def mount(
        self,
        principal: Principal,
        repository: str,
        digest: str,
        sources: Callable[[str], Awaitable[bool]],
        source: str | None,
    ) -> Blob | None:
        """Share a blob that the caller may pull elsewhere; None: a session is needed.

        The answer is the same whether the blob does not exist or the caller may not see it.
        """
        digests.parse(digest)
        for candidate in [source] if source else await self._holders(digest):
            if await sources(candidate):
                mounted = await self._mount(candidate, repository, digest)
                if mounted is not None:
                    return mounted
        return None

    async def _mount(self, source: str, repository: str, digest: str) -> Blob | None:
        if not await self._whole(source, digest):
            return None
        rules = await self._rules.now(self._settings)
        mounted = await self._db.run(blobs.mount, source, repository, digest, rules)
        if mounted is not None:
            await failpoints.reach("mount.committed")
        return mounted

    async def _holders(self, digest: str) -> list[str]:
        async with self._db.read() as tx:
            return await blobs.holders(tx, digest, 20)

    async def renew(self, repository: str, digest: str) -> Blob | None:
        """Promise a blob to somebody who asked whether to push it; None: push it."""
        digests.parse(digest)
        async with self._db.read() as tx:
            row = await blobs.look_up(tx, repository, digest, self._rules.lease / 2)
        return None if row is None else await self._renew(digest, row)

    async def offer(self, repository: str, digest: str) -> Blob | None:
        """As `renew`, or by a mount from another repository of the same project."""
        digests.parse(digest)
        async with self._db.read() as tx:
            row = await blobs.look_up(tx, repository, digest, self._rules.lease / 2)
            near = await blobs.neighbour(tx, repository, digest) if row is None else None
        if near is not None:
            return await self._mount(near, repository, digest)
        return None if row is None else await self._renew(digest, row)

    async def _renew(self, digest: str, row: Linked) -> Blob | None:
        if row.state != "live" or not await self._sound(row.storage_key, row.size):
            if row.state == "live":
                await self._db.run(blobs.suspect, digest, row.storage_key)
            return None
        if row.due and not await self._db.run(blobs.renew, row.repository_id, digest, self._rules):
            return None
        await failpoints.reach("lease.renewed")
        return Blob(digest, row.size, row.storage_key)

    async def _whole(self, repository: str, digest: str) -> bool:
        async with self._db.read() as tx:
            row = await blobs.look_up(tx, repository, digest)
        return row is not None and await self._sound(row.storage_key, row.size)

    async def delete_blob(self, principal: Principal, repository: str, digest: str) -> None:
        """Take a blob out of a repository; raises BlobUnknown, PreconditionFailed."""
        digests.parse(digest)
        await self._db.run(blobs.unlink, repository, digest)

    async def fits(self, size: int, hard: int, used: int) -> bool:
        """Whether a project would take a blob now that it does not hold yet; all in bytes."""
        rules = await self._rules.now(self._settings)
        if rules.max_blob is not None and size > rules.max_blob:
            return False
        return not rules.limited or hard < 0 or used + size <= hard

    # --- bytes

    async def _claim(
        self, principal: Principal, repository: str, upload_id: str, start: int | None
    ) -> Claim:
        """Become the session's writer; raises RangeInvalid, UploadUnknown."""
        first = self._first.take(principal, repository, upload_id, start)
        if first is not None:
            async with self._db.read() as tx:
                if await sessions.holds(tx, first):
                    return first
        return await self._db.run(sessions.claim, principal, repository, upload_id, start)

    async def _receive(
        self, held: Claim, body: Body, length: int | None, algorithm: str
    ) -> tuple[Segment | None, MoorageError | None]:
        """Write a body to the claimed key: the durable segment, and what broke it off, if any.

        Only a client that went away leaves both; everything else leaves nothing behind.
        """
        hasher = digests.hasher(algorithm)
        writer = self._store.create(held.storage_key, hasher)
        failure: MoorageError | None = None
        try:
            failure = await self._copy(held, body, length, writer)
            if writer.size == 0:
                await writer.abort()
                await self._db.run(sessions.drop_segment, held.storage_key, self._rules)
                return None, failure
            await writer.commit()
        except BaseException:
            await writer.abort()
            with suppress(DatabaseUnavailable):  # the row stays, the janitor comes by
                await self._db.run(sessions.drop_segment, held.storage_key, self._rules)
            raise
        await failpoints.reach("segment.durable")
        digest = f"{algorithm}:{hasher.hexdigest()}"
        return Segment(held.storage_key, writer.size, digest), failure

    async def _copy(
        self, held: Claim, body: Body, length: int | None, writer: Writer
    ) -> MoorageError | None:
        """Move the body; returns ClientGone when it broke off, raises when it does not fit."""
        most = _room(held, await self._rules.now(self._settings))
        alive = monotonic()
        try:
            async for data in body:
                if writer.size + len(data) > most or (
                    length is not None and writer.size + len(data) > length
                ):
                    raise self._too_much(held, length, writer.size + len(data))
                await writer.write(data)
                await failpoints.reach("segment.streaming")
                if monotonic() - alive > HEARTBEAT:
                    alive = monotonic()
                    await self._db.run(sessions.touch, held.upload_id)
        except ClientGone as gone:
            return gone
        if length is not None and writer.size < length:
            raise SizeInvalid(f"{length} bytes were announced, {writer.size} arrived")
        return None

    def _too_much(self, held: Claim, length: int | None, size: int) -> MoorageError:
        if length is not None and size > length:
            return SizeInvalid(f"{length} bytes were announced, more arrived")
        if self._rules.max_blob is not None and held.offset + size > self._rules.max_blob:
            return TooLarge(f"a blob has at most {self._rules.max_blob} bytes here")
        return QuotaExceeded(
            "adding this blob of storage resource will exceed the configured upper limit of "
            f"{display_size(held.hard)}."
        )

    async def _advance(self, held: Claim, segment: Segment) -> int:
        try:
            offset = await self._db.run(sessions.advance, held, segment)
        except Conflict as error:
            await self._db.run(sessions.drop_segment, segment.storage_key, self._rules)
            raise RangeInvalid(error.message) from None
        await failpoints.reach("segment.committed")
        return offset

    # --- the end of a session

    async def _close(self, held: Claim, digest: str, parts: list[Segment]) -> Blob:
        """Verify what was written and make it a blob."""
        size = sum(part.size for part in parts)
        key, found = await self._one_object(held, parts, digests.parse(digest)[0])
        if found != digest:
            await self._abandon(held, key)
            raise DigestInvalid(
                f"the {size} bytes of this upload do not have the digest {digest}",
                detail={"digest": digest},
            )
        await failpoints.reach("blob.verified")
        done = Finished(held.upload_id, held.epoch, held.place, digest, size, key)
        blob = await self._commit(held, done)
        await failpoints.reach("blob.committed")
        return blob

    async def _segments(self, held: Claim) -> list[Segment]:
        if held.offset == 0:
            return []
        async with self._db.read() as tx:
            return await sessions.segments(tx, held)

    async def _one_object(
        self, held: Claim, parts: list[Segment], algorithm: str
    ) -> tuple[str, str]:
        """Key and digest of an object that holds all parts; several are joined once."""
        if len(parts) == 1 and parts[0].digest.startswith(f"{algorithm}:"):
            return parts[0].storage_key, parts[0].digest
        hasher = digests.hasher(algorithm)
        if len(parts) == 1:
            key = parts[0].storage_key
            async for data in self._store.read(key):
                await asyncio.to_thread(hasher.update, data)
        else:
            key = await self._db.run(sessions.intend_joined, held)
            await self._store.join([part.storage_key for part in parts], key, hasher)
            await failpoints.reach("blob.joined")
        return key, f"{algorithm}:{hasher.hexdigest()}"

    async def _commit(self, held: Claim, done: Finished) -> Blob:
        """One transaction; looks at the object of a digest that exists before it relies on it."""
        sound: dict[str, bool] = {}
        rules = await self._rules.now(self._settings)
        for _ in range(8):
            try:
                return await self._db.run(blobs.commit, done, rules, sound)
            except MustStat as known:
                sound[known.key] = await self._sound(known.key, done.size)
            except QuotaExceeded:
                await self._abandon(held, done.storage_key)
                raise
        raise DatabaseUnavailable(f"{done.digest} keeps changing; try again")

    async def _sound(self, key: str, size: int) -> bool:
        """Whether an object is there with its full length; believed for a minute."""
        if self._seen.get(key, 0.0) > monotonic():
            return True
        whole = await self._store.size(key) == size
        if whole:
            if len(self._seen) > 50_000:
                self._seen.clear()
            self._seen[key] = monotonic() + STAT_TTL
        return whole

    async def _abandon(self, held: Claim, *joined: str) -> None:
        """End a session and throw its bytes away, those that it `joined` too."""

        async def step(tx: Tx) -> None:
            keys = await blobs.end_upload(tx, held.upload_id, held.epoch)
            mine = held.storage_key, *joined
            done = [key for key, written in keys.items() if written or key in mine]
            await blobs.discard_keys(tx, sorted(done), 0)
            # Somebody who was overtaken may still be writing.
            await blobs.discard_keys(tx, sorted(keys.keys() - set(done)), self._rules.drain)

        with suppress(UploadUnknown):  # somebody newer has it
            await self._db.run(step)
        await failpoints.reach("upload.cancelled")


def _room(held: Claim, rules: Rules) -> float:
    """How many bytes may still come."""
    hard = held.hard if rules.limited else -1
    limits = [limit for limit in (rules.max_blob, hard) if limit not in (None, -1)]
    return min((limit - held.offset for limit in limits if limit is not None), default=1 << 62)
