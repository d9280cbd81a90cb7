"""From one installation straight into an empty one: other database, other store, or both.

    schema ─► objects, compared with their digests ─► rows, table by table, in batches ─► ids
           ─► both databases compared ─► the target may be started

The row `arriving` of `properties` says how far the rows are; it changes in the transaction of each
batch. Until it is gone no process starts on the target, and a run that was killed goes on where it
ended. The source is only read.
"""

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import orjson
import sqlalchemy as sa

from moorage import failpoints
from moorage.blobstore.base import BlobStore
from moorage.db import migrator
from moorage.db.engine import Database
from moorage.db.migrator import ARRIVING
from moorage.db.tables import blob_trash, blobs, properties, upload_segments, workers
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.errors import Conflict
from moorage.moving import rows
from moorage.moving.backup import Tell
from moorage.moving.objects import Copied, Copier, Wanted
from moorage.moving.rows import Form

_BATCH = 2000
_SEEN = 60.0
_FINGERPRINT = "secret_key_fingerprint"


class Transfer:
    """Of everything in `source` and its store."""

    def __init__(self, source: Database, target: Database) -> None:
        self._source = source
        self._target = target

    async def run(
        self, store: BlobStore | None, target_store: BlobStore | None, tell: Tell
    ) -> dict[str, Any]:
        """Move everything, or go on with it; without stores the objects stay where they are.

        Raises Conflict when the source is in use, the target is not empty, or they differ after
        all.
        """
        await self._check_source()
        await self._begin()
        missing: dict[str, str] = {}
        copied = Copied()
        if store is not None and target_store is not None:
            copied = await self._copy(store, target_store, tell)
            missing = copied.failed
        written = await self._rows(tell)
        compared = await self._compare(tell)
        await self._target.run(self._finish, sorted(missing))
        return {
            "rows": compared,
            "rows_now": written,
            "objects": copied.objects + copied.there,
            "size": copied.size + copied.there_size,
            "objects_now": copied.objects,
            "missing": missing,
        }

    async def _check_source(self) -> None:
        state = await migrator.status(self._source)
        if state.newer or not state.ready:
            raise Conflict("the source has another schema than this version: migrate it first")
        query = sa.select(workers.c.id).where(workers.c.seen_at > from_now(-_SEEN)).limit(1)
        if self._source.dialect.name == "postgresql":
            async with self._source.read() as tx:
                if (busy := (await tx.execute(query)).scalar_one_or_none()) is not None:
                    raise Conflict(f"the source is being served (worker {busy}): stop everything")

    async def _begin(self) -> None:
        """The target's schema, empty and marked as this source's; or a run to go on with."""
        state = await migrator.status(self._target)
        if state.newer:
            raise Conflict("the target has the schema of a newer version")
        async with self._source.read() as tx:
            source = await _property(tx, _FINGERPRINT) or ""
        if state.current is not None:
            async with self._target.read() as tx:
                known = await _property(tx, ARRIVING)
                used = await rows.used(tx)
            if known is not None:
                if json.loads(known)["source"] != source:
                    raise Conflict("something else is being moved into the target")
                return
            if used:
                raise Conflict(
                    f"the target is in use (it has {', '.join(used)}): give an empty one"
                )
        await migrator.migrate(self._target)

        async def mark(tx: Tx) -> None:
            await rows.clear(tx, [form.name for form in rows.forms(without=())])
            mark = json.dumps({"source": source, "table": "", "key": None})
            await tx.execute(sa.insert(properties).values(name=ARRIVING, value=mark))

        await self._target.run(mark)

    # --- objects

    async def _copy(self, store: BlobStore, target: BlobStore, tell: Tell) -> Copied:
        async with self._source.read() as tx:
            total = 0
            for table in (blobs, blob_trash, upload_segments):
                query = sa.select(sa.func.count()).select_from(table)
                total += int((await tx.execute(query)).scalar_one())

        def told(done: Copied) -> None:
            tell("objects", done.objects + done.there + len(done.failed), total)

        return await Copier(store, target).run(self._wanted(), told)

    async def _wanted(self) -> AsyncIterator[Wanted]:
        for table, condition in (
            (blobs, blobs.c.state == "live"),
            (blob_trash, blob_trash.c.digest.is_not(None) & ~blob_trash.c.sweeping),
            (upload_segments, upload_segments.c.size.is_not(None)),
        ):
            last = ""
            columns = table.c.storage_key, table.c.digest, table.c.size
            query = sa.select(*columns).where(condition).order_by(table.c.storage_key)
            while True:
                async with self._source.read() as tx:
                    page = query.where(table.c.storage_key > last).limit(_BATCH)
                    found = (await tx.execute(page)).all()
                if not found:
                    break
                last = found[-1].storage_key
                for row in found:
                    yield Wanted(row.storage_key, row.digest, row.size)

    # --- rows

    async def _rows(self, tell: Tell) -> int:
        async with self._target.read() as tx:
            mark = json.loads(await _property(tx, ARRIVING) or "{}")
        forms = rows.forms()
        names = [form.name for form in forms]
        start = names.index(mark["table"]) if mark["table"] in names else 0
        total, written = None, 0
        for form in forms[start:]:
            last = mark["key"] if form.name == mark["table"] else None
            while True:
                async with self._source.read() as tx:
                    batch = await rows.read_behind(tx, form, last, _BATCH)
                if not batch:
                    break
                last = rows.key_of(form, batch[-1])
                state = {"source": mark["source"], "table": form.name, "key": last}
                await self._target.run(_put, form, batch, json.dumps(state))
                written += len(batch)
                tell("rows", written, total)
        await failpoints.reach("move.rows")
        return written

    async def _compare(self, tell: Tell) -> int:
        """How many rows both have; raises Conflict when one differs."""
        total = 0
        for form in rows.forms():
            ours = await _checksum(self._source, form, tell)
            theirs = await _checksum(self._target, form, tell)
            if ours != theirs:
                raise Conflict(
                    f"the table {form.name} differs: {ours[0]} rows here, {theirs[0]} there; was "
                    "something written meanwhile? Begin again with an empty target"
                )
            total += ours[0]
        return total

    async def _finish(self, tx: Tx, missing: list[str]) -> None:
        forms = rows.forms()
        async with self._source.read() as source:
            given = await rows.counters(source, forms)
        await rows.go_on_counting(tx, forms, given, 0)
        await rows.note_missing(tx, missing)
        await tx.execute(sa.delete(properties).where(properties.c.name == ARRIVING))


async def _put(tx: Tx, form: Form, batch: list[rows.Row], mark: str) -> None:
    await rows.insert(tx, form, batch)
    noted = sa.update(properties).where(properties.c.name == ARRIVING)
    await tx.execute(noted.values(value=mark, updated_at=now()))
    await failpoints.reach("move.batch")


async def _checksum(db: Database, form: Form, tell: Tell) -> tuple[int, int]:
    """How many rows, and a checksum that no order of theirs changes."""
    count = total = 0
    names = [name for name, _ in form.columns]
    async with db.snapshot() as tx:
        async for batch in rows.read(tx, form):
            for row in batch:
                if form.name == properties.name and row[names.index("name")] == ARRIVING:
                    continue
                digest = hashlib.blake2b(orjson.dumps(form.encode(row)), digest_size=16)
                total = (total + int.from_bytes(digest.digest())) & ((1 << 128) - 1)
                count += 1
            tell("comparing", count, None)
    return count, total


async def _property(tx: Tx, name: str) -> str | None:
    query = sa.select(properties.c.value).where(properties.c.name == name)
    return (await tx.execute(query)).scalar_one_or_none()
