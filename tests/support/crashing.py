"""A process that does everything a registry does, until a failpoint ends it.

    python -m tests.support.crashing work  LOG    everything once; a line in LOG for each promise
    python -m tests.support.crashing check LOG    what LOG promises is there, nothing else is

The settings come from the environment, as a server's. `check` prints what is wrong, if anything.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from tests.support import crashing_jobs
from tests.support.content import ALICE, Content, body, image, sha256

from moorage import failpoints
from moorage.artifacts.rules import Rules
from moorage.blobstore import open as open_store
from moorage.clock import SystemClock
from moorage.config.loading import load
from moorage.db import connect, tables
from moorage.db.migrator import migrate
from moorage.errors import Conflict, MoorageError
from moorage.events import Outbox
from moorage.gc import Sweeper

LEASE = 0.05
CONFIG, SHARED, FIRST, SECOND = b"{}", b"shared layer" * 100, b"one" * 1000, b"two" * 2000
IMAGE_A = image(CONFIG, [SHARED, FIRST])
IMAGE_B = image(CONFIG, [SHARED, SECOND])
BLOBS = {sha256(data): data for data in (CONFIG, SHARED, FIRST, SECOND, b"left", b"cancelled")}

Promise = Callable[..., None]


@asynccontextmanager
async def content() -> AsyncIterator[Content]:
    settings = load(os.environ)
    db = connect(settings.database, data_dir=settings.data_dir, clock=SystemClock())
    await migrate(db)
    store = open_store(settings.storage, data_dir=settings.data_dir)
    rules = Rules(lease=LEASE, drain=0, trash=600, upload_age=600)
    try:
        yield Content(db, store, rules)
    finally:
        await store.close()
        await db.close()


async def work(here: Content, promise: Promise) -> None:
    """Pass every failpoint of a push, a delete and a collection; may run again after a crash."""
    if await here.scalar(select(func.count()).select_from(tables.projects)) == 0:
        await here.project("library")
    await _push(here, "library/a", promise)
    await here.manifests.put(ALICE, "library/a", "v1", IMAGE_A, "")
    promise("image", "library/a", "v1", sha256(IMAGE_A))
    await _mount(here)
    await here.push_blob("library/b", CONFIG)
    await here.push_blob("library/b", SECOND)
    await here.manifests.put(ALICE, "library/b", "v1", IMAGE_B, "")
    promise("image", "library/b", "v1", sha256(IMAGE_B))
    promise("deleting", "library/b", "v1")
    await here.manifests.delete(ALICE, "library/b", sha256(IMAGE_B))
    promise("restoring", "library/b", "v1", sha256(IMAGE_B))
    await here.manifests.restore(ALICE, "library/b", sha256(IMAGE_B))
    promise("image", "library/b", "v1", sha256(IMAGE_B))
    await _leave(here)
    await _forget_some(here, promise)
    await Outbox(here.db, {}).dispatch()
    await crashing_jobs.work(here.db, promise)


async def _push(here: Content, repository: str, promise: Promise) -> None:
    await here.push_blob(repository, CONFIG)
    promise("blob", repository, sha256(CONFIG))
    for data in (SHARED, FIRST):
        upload = await here.uploads.start(ALICE, repository)
        half = len(data) // 2
        for start, part in ((0, data[:half]), (half, data[half:])):
            await here.uploads.append(
                ALICE, repository, upload.id, body(part), start=start, length=len(part)
            )
        await here.uploads.finish(ALICE, repository, upload.id, sha256(data), None)
        promise("blob", repository, sha256(data))
    await asyncio.sleep(LEASE)
    await here.uploads.renew(repository, sha256(FIRST))


async def _mount(here: Content) -> None:
    async def may(_: str) -> bool:
        return True

    await here.uploads.mount(ALICE, "library/b", sha256(SHARED), may, "library/a")


async def _leave(here: Content) -> None:
    """One session is given up, one is never heard of again."""
    for data, cancelled in ((b"cancelled", True), (b"left", False)):
        upload = await here.uploads.start(ALICE, "library/a")
        await here.uploads.append(
            ALICE, "library/a", upload.id, body(data), start=0, length=len(data)
        )
        if cancelled:
            await here.uploads.cancel(ALICE, "library/a", upload.id)


async def _forget_some(here: Content, promise: Promise) -> None:
    """Delete for good, and collect."""
    promise("deleting", "library/b", "v1")
    await here.manifests.delete(ALICE, "library/b", sha256(IMAGE_B))
    promise("deleted", "library/b", "v1")
    await asyncio.sleep(LEASE)
    await _collect(here)


async def _collect(here: Content) -> None:
    strict = Content(here.db, here.store, Rules(lease=0, drain=0, trash=0, upload_age=0))
    strict.sweeper = Sweeper(here.db, here.store, retry=0)  # a claim of the dead is free at once
    await strict.collect()


async def check(here: Content, promises: list[list[str]]) -> list[str]:
    """The invariants: nothing promised is lost, nothing else is kept, the quota is exact."""
    images: dict[tuple[str, str], str] = {}
    unsure: set[tuple[str, str]] = set()
    for kind, repository, *rest in promises:
        if kind == "image":
            images[repository, rest[0]] = rest[1]
            unsure.discard((repository, rest[0]))
        elif kind in ("deleting", "restoring"):
            unsure.add((repository, rest[0]))
        elif kind == "deleted":
            images.pop((repository, rest[0]), None)
            unsure.discard((repository, rest[0]))
    wrong = []
    await asyncio.sleep(LEASE)
    await _collect(here)
    for (repository, tag), digest in images.items():
        if (repository, tag) in unsure and not await _tagged(here, repository, tag):
            continue
        wrong += await _read(here, repository, tag, digest)
    if await here.keys() != await here.live_keys():
        wrong.append(f"left over: {await here.keys() ^ await here.live_keys()}")
    wrong += await _quota(here)
    return wrong + await crashing_jobs.check(here.db, promises)


async def _tagged(here: Content, repository: str, tag: str) -> bool:
    try:
        await here.pulls.resolve(repository, tag)
    except MoorageError:
        return False
    return True


async def _read(here: Content, repository: str, tag: str, digest: str) -> list[str]:
    """I1 and I3: every byte of an image."""
    try:
        manifest = await here.pulls.manifest(repository, tag)
        if sha256(manifest.payload) != digest:
            return [f"{repository}:{tag} is {sha256(manifest.payload)}"]
        for known, data in BLOBS.items():
            named = known.encode() in manifest.payload
            if named and await here.read_blob(repository, known) != data:
                return [f"{repository}@{known} is damaged"]
    except MoorageError as error:
        return [f"{repository}:{tag} is lost: {error!r}"]
    return []


async def _quota(here: Content) -> list[str]:
    """I6: after a collection only manifests and what they name count."""
    t = tables
    rows: dict[str, int] = {}
    async with here.db.read() as tx:
        for query in (
            select(t.manifests.c.digest, t.manifests.c.payload_size.label("size")),
            select(t.manifest_blobs.c.digest, t.manifest_blobs.c.size),
        ):
            rows |= {row.digest: row.size for row in await tx.execute(query)}
        used = (await tx.execute(select(t.quotas.c.used))).scalar_one_or_none() or 0
    return [] if used == sum(rows.values()) else [f"quota {used}, recount {sum(rows.values())}"]


async def main(verb: str, log: Path, promises: list[list[str]]) -> int:
    """Returns the exit status."""

    def promise(*words: Any) -> None:
        with log.open("a") as stream:
            stream.write(json.dumps(words) + "\n")

    async with content() as here:
        if verb == "work":
            failpoints.arm(os.environ.get("MOORAGE_FAILPOINTS", ""))
            try:
                await work(here, promise)
            except Conflict:
                return 1
            return 0
        wrong = await check(here, promises)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    path = Path(sys.argv[2])
    path.touch()
    made = [json.loads(line) for line in path.read_text().splitlines()]
    sys.exit(asyncio.run(main(sys.argv[1], path, made)))
