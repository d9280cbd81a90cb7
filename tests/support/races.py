"""Two operations that meet: each pair is stopped at the place where it could go wrong.

held       the first operation waits at a failpoint, mostly inside its transaction
meeting    the second one begins, and comes as far as the first one's locks let it
open       the first one goes on; both end
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Select, text
from tests.support.content import ALICE, Content, sha256
from tests.support.invariants import leftovers, violations

from moorage import failpoints
from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import LocalCache
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.groups import Grouped
from moorage.db.types import now
from moorage.errors import MoorageError

REPOSITORY = "library/a"
RULES = Rules(lease=0, drain=0, trash=3600)
EMPTY = b"{}"


@dataclass
class Held:
    """One failpoint, at which the first to come is held."""

    name: str
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)


Hold = Callable[[str], Held]


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hold]:
    """`hold(name)` holds whoever passes that failpoint next, and nobody after."""
    waiting: dict[str, Held] = {}

    async def reach(name: str) -> None:
        held = waiting.pop(name, None)
        if held is not None:
            held.reached.set()
            await held.open.wait()

    def hold(name: str) -> Held:
        assert name in failpoints.NAMES
        waiting[name] = Held(name)
        return waiting[name]

    monkeypatch.setattr(failpoints, "reach", reach)
    yield hold
    assert not waiting, f"never passed: {list(waiting)}"


@pytest.fixture
async def racing(database: Database) -> AsyncIterator[Content]:
    """A project without a limit; leases are over at once, the trash keeps."""
    cache = LocalCache(SystemClock(), entries=1000, size=1 << 20, expire_seconds=3600)
    made = Content(database, MemoryStore(), RULES, cache)
    await made.project("library")
    yield made
    assert await violations(made) == []
    await cache.close()


async def outcome(work: Coroutine[Any, Any, Any]) -> Any:
    """What an operation returns, or the error with which the registry refuses it."""
    try:
        return await work
    except MoorageError as error:
        return error


async def begun(
    db: Database, work: Coroutine[Any, Any, Any], *, others: int = 0
) -> asyncio.Task[Any]:
    """Start `work`; returns when it has ended, or waits for a lock of somebody else.

    `others` wait for locks already.
    """
    task = asyncio.ensure_future(outcome(work))
    locks = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(6000):
        await asyncio.sleep(0.01)
        if task.done():
            return task
        if isinstance(db._transactions, Grouped):  # one writer: it waits for its turn
            if len(db._transactions._turn._waiters or ()) > others:
                return task
            continue
        async with db.read() as tx:
            if (await tx.execute(locks)).scalar_one() > others:
                return task
    raise AssertionError("it neither ends nor waits")


async def meet(
    content: Content, held: Held, first: Coroutine[Any, Any, Any], second: Coroutine[Any, Any, Any]
) -> list[Any]:
    """Hold `first` at its failpoint until `second` comes no further; both outcomes."""
    one = asyncio.ensure_future(outcome(first))
    await asyncio.wait_for(held.reached.wait(), 60)
    two = await begun(content.db, second)
    held.open.set()
    return list(await asyncio.wait_for(asyncio.gather(one, two), 60))


@asynccontextmanager
async def locked(content: Content, *queries: Select[Any]) -> AsyncIterator[None]:
    """Rows that somebody else has locked; on SQLite, everything."""
    async with content.db.write() as tx:
        for query in queries:
            await tx.execute(tx.dialect.for_update(query))
        yield


async def put(content: Content, tag: str, payload: bytes, place: str = REPOSITORY) -> str:
    """Push a manifest; its digest."""
    return (await content.manifests.put(ALICE, place, tag, payload, "")).digest


async def tagged(content: Content, tag: str, place: str = REPOSITORY) -> str | None:
    """What a tag names."""
    try:
        return (await content.pulls.resolve(place, tag)).digest
    except MoorageError:
        return None


async def readable(content: Content, payload: bytes, *blobs: bytes) -> None:
    """The image is there by digest, with all its bytes."""
    assert (await content.pulls.manifest(REPOSITORY, sha256(payload))).payload == payload
    for data in blobs:
        assert await content.read_blob(REPOSITORY, sha256(data)) == data


async def collected(content: Content) -> None:
    """Collect with all leases over, and find nothing left."""
    strict = Content(content.db, content.store, Rules(lease=0, drain=0, trash=0, upload_age=0))
    strict.db.notifier = content.cache
    await strict.sweeper.empty()
    async with content.db.write() as tx:
        await tx.execute(tables.repository_blobs.update().values(lease_until=now()))
    await strict.collect()
    assert await leftovers(content) == []


async def mount(content: Content, target: str = "library/b") -> Any:
    """Mount the blob `layer` from REPOSITORY."""

    async def may(_: str) -> bool:
        return True

    return await content.uploads.mount(ALICE, target, sha256(b"layer"), may, REPOSITORY)
