"""One collection over a database of so many blobs; a process of its own, so that its peak is too.

Of ten blobs one is referenced by a manifest, two were pushed for a manifest that never came, and
seven are what a deleted manifest left. All are candidates and no lease runs. The job is the one
that an operator starts, in a real worker with its beat, its log and its progress; only the store
is a stand-in, which takes any key and forgets it.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import case, func, insert, literal, select, text, update
from tests.support.content import Content
from tests.support.jobs import ask, tasks_of, worker, working

from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.db import Database, connect
from moorage.db import tables as t
from moorage.db.migrator import migrate
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.gc.job import KIND, GarbageJob, Options
from moorage.jobs import Kind, NewTask
from moorage.jobs.records import FINAL

BATCH = 10_000
PROJECTS, REPOSITORIES = 10, 10  # of one project

# A blob's size is its number plus this: what the rows beside it are is derived from it.
BASE = 1000


class NothingStore(MemoryStore):
    """Any key exists; deletes are counted."""

    driver = "nothing"

    def __init__(self) -> None:
        super().__init__()
        self.deleted = 0
        self.requests = 0

    async def delete(self, keys: Sequence[str]) -> None:
        self.deleted += len(keys)
        self.requests += 1


# --- rows


async def fill(db: Database, count: int) -> None:
    """Blobs, links, references and candidates; `count` is a multiple of 1000."""
    content = Content(db, NothingStore())
    projects = [await content.project(f"p{number}") for number in range(PROJECTS)]
    for start in range(0, count, BATCH):
        await db.run(_blobs, range(start, min(start + BATCH, count)))
    await db.run(_around, projects, count)


async def _blobs(tx: Tx, numbers: range) -> None:
    rows = []
    for number in numbers:
        name = hashlib.sha256(str(number).encode()).hexdigest()
        key = f"blobs/{name[-2:]}/{name[-48:]}"
        rows.append({"digest": f"sha256:{name}", "size": BASE + number, "storage_key": key})
    await tx.execute(insert(t.blobs), rows)


async def _around(tx: Tx, projects: Sequence[int], count: int) -> None:
    names = [(project, f"p{at}/r{n}") for at, project in enumerate(projects)
             for n in range(REPOSITORIES)]  # fmt: skip
    rows = [{"project_id": project, "name": name} for project, name in names]
    await tx.execute(insert(t.repositories), rows)
    first = (await tx.execute(select(func.min(t.repositories.c.id)))).scalar_one()
    number = t.blobs.c.size - BASE
    place = first + number % 100
    pending = (number % 10).in_([1, 2])
    link = select(place, t.blobs.c.digest, from_now(-60), case((pending, True), else_=False))
    columns = ["repository_id", "digest", "lease_until", "pending"]
    await tx.execute(insert(t.repository_blobs).from_select(columns, link))
    project = projects[0] + (number % 100) // REPOSITORIES
    counted = select(project, t.blobs.c.digest, t.blobs.c.size).where(pending)
    columns = ["project_id", "digest", "size"]
    await tx.execute(insert(t.project_content).from_select(columns, counted))
    used = select(func.coalesce(func.sum(t.project_content.c.size), 0)).where(
        t.project_content.c.project_id == t.quotas.c.project_id
    )
    await tx.execute(update(t.quotas).values(used=used.scalar_subquery()))
    await _manifests(tx, first, count)
    due = select(t.blobs.c.digest, from_now(-60), literal("benchmark"))
    columns = ["digest", "review_after", "reason"]
    await tx.execute(insert(t.gc_candidates).from_select(columns, due))


async def _manifests(tx: Tx, first: int, count: int) -> None:
    """Of ten blobs each; those of a repository whose number ends with a nought."""
    made = count // 100
    for start in range(0, made, BATCH):
        rows = [
            {
                "id": each + 1,
                "repository_id": first + each % 10 * 10,
                "digest": "sha256:" + hashlib.sha256(f"manifest {each}".encode()).hexdigest(),
                "media_type": "application/vnd.oci.image.manifest.v1+json",
                "payload": b"{}",
                "payload_size": 2,
                "total_size": 0,
            }
            for each in range(start, min(start + BATCH, made))
        ]
        await tx.execute(insert(t.manifests), rows)
    number = t.blobs.c.size - BASE
    manifest = (number // 1000) * 10 + (number % 100) // 10 + 1
    held = select(manifest, t.blobs.c.digest, t.blobs.c.size).where(number % 10 == 0)
    columns = ["manifest_id", "digest", "size"]
    await tx.execute(insert(t.manifest_blobs).from_select(columns, held))


# --- the collection


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def _peak() -> Iterator[list[int]]:
    """Bytes of memory: before, and at most meanwhile."""
    found, over = [_resident(), 0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            found[1] = max(found[1], _resident())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


async def collect(db: Database, workers: int) -> dict[str, Any]:
    """Run one; what it did and took."""
    store = NothingStore()
    job = GarbageJob(db, store, Rules(drain=0, trash=0), window=0)
    made = await ask(db, NewTask(KIND, Options(workers=workers).dump()), vendor=KIND)
    with _peak() as memory:
        began, cpu = time.monotonic(), time.process_time()
        async with working(worker(db, Kind(KIND, job, limit=1))):
            told = ""
            while True:
                (task,) = await tasks_of(db, made)
                if task.status in FINAL:
                    break
                if task.check_in != told:
                    told = task.check_in
                    print(f"  {time.monotonic() - began:6.1f} s  {told}", file=sys.stderr)
                await asyncio.sleep(0.25)
        lasted, cpu = time.monotonic() - began, time.process_time() - cpu
    assert task.status == "Success", task.status_message
    return {
        "seconds": lasted,
        "cpu": cpu,  # seconds of this process, without PostgreSQL's
        "collected": task.extra["purged_blobs"],
        "deleted": store.deleted,
        "requests": store.requests,
        "memory_before": memory[0],
        "memory_peak": memory[1],
    }


@contextlib.asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncIterator[Database]:
    """The database of a URL, migrated."""
    settings = DatabaseSettings(url=SecretStr(url))
    db = connect(settings, data_dir=folder, clock=SystemClock())
    try:
        await migrate(db)
        yield db
    finally:
        await db.close()


async def main(url: str, folder: Path, count: int, workers: int) -> dict[str, Any]:
    """Fill and collect."""
    async with opened(url, folder) as db:
        await fill(db, count)
        async with db.write() as tx:
            await tx.execute(text("ANALYZE"))
        found = await collect(db, workers)
        async with db.read() as tx:
            left = (await tx.execute(select(func.count()).select_from(t.blobs))).scalar_one()
            used = (await tx.execute(select(func.sum(t.quotas.c.used)))).scalar_one()
            rest = [
                (await tx.execute(select(func.count()).select_from(table))).scalar_one()
                for table in (t.blob_trash, t.gc_candidates)
            ]
        assert (left, rest, int(used)) == (count // 10, [0, 0], 0), (left, rest, used)
        return {"blobs": count, **found}


if __name__ == "__main__":
    _, at, where, how_many, side_by_side = sys.argv
    done = asyncio.run(main(at, Path(where), int(how_many), int(side_by_side)))
    print(json.dumps(done))
