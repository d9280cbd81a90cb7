"""What pushes and the collector expect of PostgreSQL's locks, and of the indexes of both databases.

A collector locks a blob's row FOR UPDATE and looks for references in its next statement; whoever
adds a reference locks the row FOR KEY SHARE first.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, delete, exc, insert, select, text
from tests.support.databases import PostgresServer

from moorage.clock import SystemClock
from moorage.db import Database, Tx, connect, tables
from moorage.db.types import from_now, now
from moorage.errors import DatabaseUnavailable

pytestmark = pytest.mark.anyio

DIGEST = "sha256:" + "a" * 64
BLOB = select(tables.blobs.c.digest).where(tables.blobs.c.digest == DIGEST)
REFERENCES = select(tables.repository_blobs.c.repository_id).where(
    tables.repository_blobs.c.digest == DIGEST
)


@pytest.fixture
async def db(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Database]:
    """A database with one blob, and one repository that does not refer to it."""
    settings = postgres_server.settings(postgres_server.fresh())
    database = connect(settings, data_dir=tmp_path, clock=SystemClock())
    async with database.write() as tx:
        await tx.execute(insert(tables.users).values(id=1, username="owner"))
        await tx.execute(insert(tables.projects).values(id=1, name="library", owner_id=1))
        await tx.execute(insert(tables.repositories).values(id=1, project_id=1, name="library/app"))
        await tx.execute(new_blob(tx, "first"))
    yield database
    await database.close()


def new_blob(tx: Tx, key: str) -> Any:
    row = tx.dialect.insert(tables.blobs).values(digest=DIGEST, size=1, storage_key=key)
    return row.on_conflict_do_nothing().returning(tables.blobs.c.storage_key)


def reference() -> Any:
    row = insert(tables.repository_blobs)
    return row.values(repository_id=1, digest=DIGEST, lease_until=from_now(60), pending=True)


async def waiting(db: Database, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start `work`, and return it when the server says that it waits for a lock."""
    task = asyncio.ensure_future(work)
    query = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(6000):
        async with db.read() as tx:
            if (await tx.execute(query)).scalar_one():
                return task
        assert not task.done(), task
        await asyncio.sleep(0.01)
    raise AssertionError("it does not wait")


async def test_a_push_waits_for_the_collector(db: Database) -> None:
    """And then finds the blob gone; two pushes do not wait for one another."""

    async def push() -> list[Any]:
        async with db.write() as tx:
            return list((await tx.execute(tx.dialect.for_key_share(BLOB))).all())

    async with db.write() as collector:
        await collector.execute(collector.dialect.for_update(BLOB))
        task = await waiting(db, push())
        await collector.execute(delete(tables.blobs))
    assert await task == []
    async with db.write() as one, db.write() as two:
        await one.execute(new_blob(one, "second"))
        for tx in (one, two):
            await tx.execute(tx.dialect.for_key_share(select(tables.users.c.id)))


async def test_the_collector_sees_what_it_waited_for(db: Database) -> None:
    """In the statement after the lock; a statement that waits keeps its old view."""

    async def collect() -> list[Any]:
        async with db.write() as tx:
            await tx.execute(tx.dialect.for_update(BLOB))
            return list((await tx.execute(REFERENCES)).all())

    async def trap() -> None:
        async with db.write() as tx:
            await tx.execute(delete(tables.blobs).where(~REFERENCES.exists()))

    async with db.write() as push:
        await push.execute(push.dialect.for_key_share(BLOB))
        await push.execute(reference())
        task = await waiting(db, collect())
    assert len(await task) == 1
    async with db.write() as tx:
        await tx.execute(delete(tables.repository_blobs))
    async with db.write() as push:
        await push.execute(reference())
        task = await waiting(db, trap())
    with pytest.raises(exc.IntegrityError):
        await task  # it would have deleted the blob: the foreign key is the second belt


async def test_a_reference_to_a_blob_that_is_being_deleted_fails(db: Database) -> None:
    """The foreign key waits for the deleter, and refuses then."""

    async def push() -> None:
        async with db.write() as tx:
            await tx.execute(reference())

    async with db.write() as collector:
        await collector.execute(collector.dialect.for_update(BLOB))
        task = await waiting(db, push())
        await collector.execute(delete(tables.blobs))
    with pytest.raises(exc.IntegrityError):
        await task


@pytest.mark.parametrize("deleted", [True, False])
async def test_an_insert_waits_for_the_deleter(db: Database, deleted: bool) -> None:
    """ON CONFLICT DO NOTHING inserts if the row is gone in the end, and nothing otherwise."""

    async def push() -> str | None:
        async with db.write() as tx:
            key: str | None = (await tx.execute(new_blob(tx, "second"))).scalar_one_or_none()
            return key

    async with db.engine.connect() as collector:
        await collector.execute(delete(tables.blobs))
        task = await waiting(db, push())
        await (collector.commit() if deleted else collector.rollback())
    assert await task == ("second" if deleted else None)


async def test_a_collector_passes_over_what_is_held(db: Database) -> None:
    """SKIP LOCKED."""
    async with db.write() as push, db.write() as collector:
        await push.execute(push.dialect.for_key_share(BLOB))
        skipping = collector.dialect.for_update(BLOB, skip_locked=True)
        assert (await collector.execute(skipping)).all() == []
    async with db.write() as collector:
        assert len((await collector.execute(skipping)).all()) == 1


async def test_a_deadlock_is_repeated(db: Database) -> None:
    """One of the two transactions loses, and then succeeds."""
    met = asyncio.Barrier(2)
    runs = []

    async def crossing(tx: Tx, first: Any, second: Any) -> None:
        runs.append(first)
        await tx.execute(tx.dialect.for_update(select(first)))
        if len(runs) <= 2:
            await met.wait()
        await tx.execute(tx.dialect.for_update(select(second)))

    async with db.write() as tx:
        await tx.execute(text("ALTER ROLE postgres SET deadlock_timeout = '50ms'"))
    try:
        await asyncio.gather(
            db.run(crossing, tables.users.c.id, tables.projects.c.id),
            db.run(crossing, tables.projects.c.id, tables.users.c.id),
        )
    finally:
        async with db.write() as tx:
            await tx.execute(text("ALTER ROLE postgres RESET deadlock_timeout"))
    assert len(runs) == 3


async def test_a_lock_timeout_is_repeated(db: Database) -> None:
    """Until the lock is free."""
    runs = []

    async def impatient(tx: Tx) -> None:
        runs.append(tx)
        await tx.execute(text("SET LOCAL lock_timeout = '20ms'"))
        await tx.execute(tx.dialect.for_update(BLOB))

    async with db.write() as tx:
        await tx.execute(tx.dialect.for_update(BLOB))
        with pytest.raises(DatabaseUnavailable):
            await db.run(impatient)
    assert len(runs) > 1
    await db.run(impatient)


_TAGS, _MANIFESTS, _TRASH = tables.tags.c, tables.manifests.c, tables.blob_trash.c
HOT: dict[str, Select[Any]] = {
    "repository": select(tables.repositories.c.id).where(tables.repositories.c.name == "a/b"),
    "tag": select(_TAGS.manifest_id).where(_TAGS.repository_id == 1, _TAGS.name == "latest"),
    "tags": select(_TAGS.name)
    .where(_TAGS.repository_id == 1, _TAGS.name > "a")
    .order_by(_TAGS.name)
    .limit(10),
    "manifest": select(_MANIFESTS.payload).where(
        _MANIFESTS.repository_id == 1, _MANIFESTS.digest == DIGEST
    ),
    "referrers": select(_MANIFESTS.digest).where(
        _MANIFESTS.repository_id == 1, _MANIFESTS.subject_digest == DIGEST
    ),
    "blob": select(tables.blobs.c.storage_key)
    .join(tables.repository_blobs)
    .where(
        tables.repository_blobs.c.repository_id == 1, tables.repository_blobs.c.digest == DIGEST
    ),
    "references": select(tables.manifest_blobs.c.manifest_id).where(
        tables.manifest_blobs.c.digest == DIGEST
    ),
    "candidates": select(tables.gc_candidates.c.digest)
    .where(tables.gc_candidates.c.review_after < now())
    .order_by(tables.gc_candidates.c.review_after)
    .limit(10),
    "trash": select(_TRASH.storage_key)
    .where(_TRASH.not_before < now())
    .order_by(_TRASH.not_before)
    .limit(10),
    "uploads": select(tables.uploads.c.id).where(tables.uploads.c.updated_at < from_now(-60)),
    "user": select(tables.users.c.id).where(tables.users.c.username == "admin"),
}


async def test_lookups_of_every_request_have_an_index(database: Database) -> None:
    """However large a table grows: none is read whole, and none is sorted."""
    for name, query in HOT.items():
        compiled = query.compile(
            database.engine.sync_engine, compile_kwargs={"literal_binds": True}
        )
        async with database.write() as tx:
            if tx.dialect.name == "postgresql":
                # The tables are empty: their size must not decide.
                await tx.execute(text("SET LOCAL enable_seqscan = off"))
                await tx.execute(text("SET LOCAL enable_sort = off"))
                explain = f"EXPLAIN {compiled}"
            else:
                explain = f"EXPLAIN QUERY PLAN {compiled}"
            rows = (await tx.connection.exec_driver_sql(explain)).all()
        plan = "\n".join(str(row[-1]) for row in rows)
        assert "Seq Scan" not in plan, (name, plan)
        assert "SCAN" not in plan, (name, plan)
        assert "Sort" not in plan, (name, plan)
        assert "TEMP B-TREE" not in plan, (name, plan)
