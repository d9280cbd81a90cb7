"""One download of a blob, for any number of readers.

    upstream ─► piece ─┬─► a file without a name ─► readers, each at its own pace
                       └─► the store, which compares the digest

The last piece is held back until the digest is right: nobody ever reads a whole blob that is not
the one he asked for. A reader that goes away stops nobody, and not the download either, unless
that is for readers alone: then it ends a while after the last of them.
"""

import asyncio
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from moorage.access.principals import Principal
from moorage.artifacts.pulls import Pulls
from moorage.artifacts.records import Blob
from moorage.artifacts.uploads import Uploads
from moorage.errors import (
    BlobUnknown,
    DigestInvalid,
    MoorageError,
    QuotaExceeded,
    SizeInvalid,
    StorageFull,
    Unreachable,
)
from moorage.oci import digest as digests
from moorage.proxy.leases import Alone, Leases
from moorage.proxy.proxies import Upstream
from moorage.telemetry.proxies import QUOTA, STORAGE, ProxyCounters

log = logging.getLogger(__name__)

OPERATOR = Principal("server", name="the proxy cache")
"""Who pushes what is cached, in the audit log."""
LINGER = 10.0
"""Seconds for which a blob that is not kept is fetched without a reader: one may come back."""
LOOK = 0.2
"""Seconds between two looks whether another replica has it."""
PIECE = 1 << 18
"""Bytes that a reader reads at once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob that is not in its repository."""

    repository: str
    digest: str
    size: int
    near: bool = True  # whether another repository of the project may hold it
    fits: bool = True  # into the project's quota


@dataclass(frozen=True, slots=True)
class Turn:
    """Who may download, and how many seconds to wait for another replica that does."""

    leases: Leases
    seconds: float


class Download:
    """The bytes of one blob, as far as they have come."""

    def __init__(self, wanted: Wanted, folder: Path | None) -> None:
        self.repository = wanted.repository
        self.digest = wanted.digest
        self.size = wanted.size
        self.unkept = "" if wanted.fits else QUOTA  # why nothing is stored
        self._near = wanted.near
        self.stored: Blob | None = None  # it was here, or could be mounted
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - readers share it
        self.written = 0  # bytes that came from there
        self._available = 0
        self._failure: MoorageError | None = None
        self._broken: MoorageError | None = None
        self._readers = 0
        self._left = time.monotonic()  # when the last one did
        self._over = False
        self._news = asyncio.Event()

    # --- reading

    async def read(self, pulls: Pulls, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes [start, end), as they come; raises why they do not."""
        self._readers += 1
        at = start
        try:
            while at < end:
                if self._failure is not None:
                    raise self._failure
                if self.stored is not None:
                    async for part in pulls.content(self.stored, at, end):
                        yield part
                    return
                limit = min(end, self._available)
                if at < limit:
                    part = os.pread(self._file.fileno(), min(PIECE, limit - at), at)
                    at += len(part)
                    yield part
                else:
                    await self._news.wait()
        finally:
            self._readers -= 1
            self._left = time.monotonic()
            self._tidy()

    @property
    def _needed(self) -> bool:
        """Whether somebody reads, or may still."""
        return self._readers > 0 or time.monotonic() < self._left + LINGER

    @property
    def complete(self) -> bool:
        """Whether all of it came, and is what was asked for."""
        return self._failure is None and self._available == self.size

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _tidy(self) -> None:
        if self._over and not self._readers:
            self._file.close()

    # --- downloading

    async def run(
        self,
        upstream: Upstream,
        name: str,
        pulls: Pulls,
        uploads: Uploads,
        turn: Turn,
        close: Callable[[], None],
    ) -> None:
        """Fetch, store and tell; raises nothing. After `close` nobody may begin to read."""
        try:
            if not await self._kept(upstream, name, pulls, uploads, turn):
                log.warning("%s is served without being kept: %s", self.digest, self.unkept)
                await self._pass(upstream, name, close)
            if self.stored is None:
                self._available = self.size
        except MoorageError as error:
            self._failure = error
        except OSError as error:
            self._failure = StorageFull(f"no room for {self.digest} on its way: {error.strerror}")
        except BaseException:
            self._failure = Unreachable(f"the download of {self.digest} ended")
            raise
        finally:
            self._over = True
            self._tell()
            self._tidy()

    @asynccontextmanager
    async def _alone(self, turn: Turn, pulls: Pulls) -> AsyncIterator[None]:
        """Wait for another replica that downloads it; hold the others off while this one does.

        Not for ever: a download somewhere else that is slow, or that is not kept, helps nobody.
        """
        key = f"{self.repository}@{self.digest}"
        until = time.monotonic() + turn.seconds
        ours = await turn.leases.take(key)
        while not ours and time.monotonic() < until:
            await asyncio.sleep(LOOK)
            ours = await turn.leases.take(key)
            self.stored = await self._here(pulls)
            if self.stored is not None:
                break
            self._near = True
        keeping = asyncio.create_task(turn.leases.keep(key)) if ours else None
        try:
            yield
        finally:
            if keeping is not None:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                await turn.leases.free(key)

    async def _here(self, pulls: Pulls) -> Blob | None:
        """What another replica has stored."""
        try:
            return await pulls.blob(self.repository, self.digest)
        except BlobUnknown:
            return None

    async def _shared(self, uploads: Uploads) -> Blob | None:
        """Another repository of the project may hold it, or this one by now."""
        try:
            return await uploads.offer(self.repository, self.digest)
        except MoorageError:
            return None

    async def _kept(
        self, upstream: Upstream, name: str, pulls: Pulls, uploads: Uploads, turn: Turn
    ) -> bool:
        """Find it near, or fetch it into the store; False when neither can be.

        Nobody waits for a lease to store nothing, or holds one meanwhile.
        """
        if self.unkept:
            return await self._found(uploads)
        async with self._alone(turn, pulls):
            return await self._found(uploads) or await self._store(upstream, name, uploads)

    async def _found(self, uploads: Uploads) -> bool:
        if self.stored is None and self._near:
            self.stored = await self._shared(uploads)
        return self.stored is not None

    async def _store(self, upstream: Upstream, name: str, uploads: Uploads) -> bool:
        """Fetch it into the store; False when that does not take it.

        The first piece is asked for at once: readers do not wait until a session is recorded.
        """
        parts = upstream.remote.blob(name, self.digest, self.size, throttle=upstream.throttle)
        first = asyncio.create_task(self._take(parts))
        try:
            await asyncio.sleep(0)  # the request goes out before what the database has to do
            await uploads.push(
                OPERATOR,
                self.repository,
                self.digest,
                self._body(first, parts),
                length=self.size,
            )
        except (DigestInvalid, SizeInvalid) as error:
            raise self._another(upstream, error.message) from error
        except MoorageError as error:
            await asyncio.gather(first, return_exceptions=True)
            if self._broken is not None:
                raise self._broken from error
            log.warning("%s cannot be stored: %s", self.digest, error.message)
            self.unkept = QUOTA if isinstance(error, QuotaExceeded) else STORAGE
            return False
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await parts.aclose()  # type: ignore[attr-defined]  # it is a generator
        return True

    async def _pass(self, upstream: Upstream, name: str, close: Callable[[], None]) -> None:
        """Fetch what is missing for the readers alone, while there are any."""
        parts = upstream.remote.blob(
            name, self.digest, self.size, self.written, throttle=upstream.throttle
        )
        async with aclosing(parts):  # type: ignore[type-var]  # it is a generator
            async for part in parts:
                self._keep(part)
                if not self._needed and self.written < self.size:
                    close()  # in one step: whoever comes now begins another one
                    raise Unreachable(f"nobody reads {self.digest} any more")
        if await asyncio.to_thread(self._digest) != self.digest:
            raise self._another(upstream, "its digest is another one")

    def _another(self, upstream: Upstream, why: str) -> Unreachable:
        host = upstream.remote.endpoint.host
        return Unreachable(f"{host} sends something else than {self.digest}: {why}")

    async def _take(self, parts: AsyncIterator[bytes]) -> bytes:
        """The next piece, written down; empty at the end."""
        try:
            part = await anext(parts, b"")
        except MoorageError as error:
            self._broken = error
            raise
        self._keep(part)
        return part

    async def _body(
        self, first: asyncio.Task[bytes], parts: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        part = await first
        while part:
            yield part
            part = await self._take(parts)

    def _keep(self, part: bytes) -> None:
        os.pwrite(self._file.fileno(), part, self.written)
        self.written += len(part)
        if self.written < self.size:
            self._available = self.written
            self._tell()

    def _digest(self) -> str:
        algorithm, _ = digests.parse(self.digest)
        hasher = hashlib.new(algorithm)
        at = 0
        while part := os.pread(self._file.fileno(), 1 << 20, at):
            hasher.update(part)
            at += len(part)
        return f"{algorithm}:{hasher.hexdigest()}"


class Downloads:
    """Downloads by repository and digest; each runs in a task of its own."""

    def __init__(self, folder: Path | None, turn: Turn, counters: ProxyCounters) -> None:
        self._folder = folder
        self._turn = turn
        self._counters = counters
        self.ended = 0  # how many, so far
        self._running: dict[tuple[str, str], Download] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def alone(self) -> bool:
        """Whether no other replica may have stored anything meanwhile."""
        return isinstance(self._turn.leases, Alone)

    def find(self, repository: str, digest: str) -> Download | None:
        """The one that runs."""
        return self._running.get((repository, digest))

    def begin(
        self, upstream: Upstream, name: str, wanted: Wanted, pulls: Pulls, uploads: Uploads
    ) -> Download:
        """Start one."""
        repository = wanted.repository
        key = repository, wanted.digest
        made = Download(wanted, self._folder)
        self._running[key] = made
        upstream.running[repository] = upstream.running.get(repository, 0) + 1

        def close() -> None:
            if self._running.get(key) is not made:
                return
            del self._running[key]
            upstream.running[repository] -= 1
            if not upstream.running[repository]:
                del upstream.running[repository]

        async def run() -> None:
            try:
                await made.run(upstream, name, pulls, uploads, self._turn, close)
            finally:
                self.ended += 1
                self._counters.fetched_bytes.labels(upstream.project).inc(made.written)
                if made.unkept and made.complete:
                    self._counters.unkept.labels(upstream.project, made.unkept).inc()
                close()

        task = asyncio.create_task(run(), name=f"download {wanted.digest}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return made

    async def close(self) -> None:
        """End those that run."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._turn.leases.close()
