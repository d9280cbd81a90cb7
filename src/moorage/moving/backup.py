"""A backup: rows as of one moment, then the objects that they name, in a folder or a bucket.

    backups/<id>/rows/<table>-0001.jsonl.gz     what the database said, readable without it
    backups/<id>/objects-0001.jsonl.gz          key, digest and size of each object
    backups/<id>/secret_key                     only where that was asked for
    backups/<id>/backup.json                    written last: a backup without it does not count
    objects/<storage key>                       bytes, shared by all backups at this place

Keys are used once, so an object that is there is the right one: each backup copies what is new
since the one before. The rows come first: what is deleted while objects are copied stays for
`gc.trash_seconds`, and what is pushed meanwhile belongs to the next backup.

The rows are read through one snapshot and written as text, not by `pg_dump` or `VACUUM INTO`: a
backup of either database can be put back into the other one, by any version that knows its schema,
and no program of the right version has to be there.
"""

import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from moorage import __version__, failpoints
from moorage.blobstore.base import BlobStore
from moorage.clock import Clock
from moorage.db.engine import Database
from moorage.db.migrator import status
from moorage.db.tables import blob_trash, blobs, properties
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import BlobUnknown, Conflict, NotFound
from moorage.moving import dumps, rows
from moorage.moving.objects import Copied, Copier, Wanted
from moorage.oci import digest as digests

FORM = 1
ROOT = "backups/"
OBJECTS = "objects/"
MARKS = "pruning/"
"""Below it there is something while old backups are deleted: `moving.pruning`."""
LAST = "last_backup"
"""The row of `properties` that says when the last one was made."""

_FINGERPRINT = "secret_key_fingerprint"
_BATCH = 1000

Tell = Callable[[str, int, int | None], None]
"""Told of a stage, how many are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup, as its `backup.json` tells."""

    id: str
    created_at: str
    facts: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """What a list shows."""
        objects = self.facts["objects"]
        return {
            "id": self.id,
            "created_at": self.created_at,
            "version": self.facts["version"],
            "revision": self.facts["revision"],
            "rows": sum(table["rows"] for table in self.facts["tables"]),
            "objects": objects["count"],
            "size": objects["size"],
            "copied": objects["copied"],
            "copied_size": objects["copied_size"],
            "damaged": len(self.facts["failed"]),
            "secret_key": self.facts["secret_key"],
        }


class Backups:
    """Those at one place."""

    def __init__(self, place: BlobStore, clock: Clock) -> None:
        self.place = place
        self._clock = clock

    async def create(
        self, db: Database, store: BlobStore, tell: Tell, *, secret_key: str | None = None
    ) -> Backup:
        """Make one, while others write.

        Raises Conflict where this version knows too little, and while `prune` is at work.
        """
        state = await status(db)
        if state.newer or not state.ready:
            raise Conflict("this version's schema is not the database's: use the version that runs")
        await self._unmarked()
        began = self._clock.now()
        name = f"{began.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        facts: dict[str, Any] = {
            "form": FORM,
            "id": name,
            "created_at": began.astimezone(UTC).isoformat(timespec="seconds"),
            "version": __version__,
            "revision": state.current,
            "database": db.dialect.name,
            "secret_key": secret_key is not None,
        }
        async with db.snapshot() as tx:
            await self._dump(tx, name, facts, tell)
        await failpoints.reach("backup.dumped")
        await self._unmarked()  # now that what is needed is named: see `moving.pruning`
        copied = await self._copy(store, facts, tell)
        objects = facts["objects"]
        objects |= {"copied": copied.objects, "copied_size": copied.size}
        facts["failed"] = copied.failed
        if secret_key is not None:
            part = await dumps.put(self.place, f"{ROOT}{name}/secret_key", secret_key.encode())
            facts["secret_key_part"] = part
        facts["finished_at"] = self._clock.now().astimezone(UTC).isoformat(timespec="seconds")
        await failpoints.reach("backup.copied")
        for part in objects["parts"]:
            if await self.place.size(part["key"]) is None:
                raise Conflict(f"{part['key']} was deleted meanwhile: begin again")
        text = json.dumps(facts, sort_keys=True).encode()
        whole = text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"
        await dumps.put(self.place, f"{ROOT}{name}/backup.json", whole)
        await db.run(_note, began, self._clock.now())
        return Backup(name, facts["created_at"], facts)

    async def _unmarked(self) -> None:
        async for _ in self.place.scan(MARKS):
            raise Conflict(
                "old backups are being deleted at this place; wait, or run `moorage backup prune` "
                "again if it was killed"
            )

    async def _dump(self, tx: Tx, name: str, facts: dict[str, Any], tell: Tell) -> None:
        forms = rows.forms(without=rows.LEFT_OUT_OF_BACKUPS)
        tables = []
        written = 0
        for form in forms:
            lines = dumps.Lines(self.place, f"{ROOT}{name}/rows/{form.name}")
            async for batch in rows.read(tx, form):
                await lines.write(map(form.encode, batch))
                tell("rows", written + lines.count, None)
            await lines.finish()
            written += lines.count
            tables.append({**asdict(form), "rows": lines.count, "parts": lines.parts})
        facts["tables"] = tables
        facts["counters"] = await rows.counters(tx, forms)
        query = select(properties.c.value).where(properties.c.name == _FINGERPRINT)
        facts["secret_key_fingerprint"] = (await tx.execute(query)).scalar_one_or_none()
        lines = dumps.Lines(self.place, f"{ROOT}{name}/objects")
        size = 0
        for source in (
            select(blobs.c.storage_key, blobs.c.digest, blobs.c.size).where(
                blobs.c.state == "live"
            ),
            select(blob_trash.c.storage_key, blob_trash.c.digest, blob_trash.c.size).where(
                blob_trash.c.digest.is_not(None), ~blob_trash.c.sweeping
            ),
        ):
            streamed = source.execution_options(yield_per=_BATCH)
            async with tx.connection.stream(streamed) as result:
                async for found in result.partitions():
                    await lines.write([row.storage_key, row.digest, row.size] for row in found)
                    size += sum(int(row.size or 0) for row in found)
        await lines.finish()
        facts["objects"] = {"count": lines.count, "size": size, "parts": lines.parts}

    async def _copy(self, store: BlobStore, facts: dict[str, Any], tell: Tell) -> Copied:
        total = facts["objects"]["count"]

        def told(done: Copied) -> None:
            tell("objects", done.objects + done.there + len(done.failed), total)

        copier = Copier(store, self.place, below=OBJECTS)
        return await copier.run(wanted(self.place, facts), told)

    async def every(self) -> list[Backup]:
        """Those that are complete, the newest first."""
        names = set()
        async for each in self.place.scan(ROOT):
            path = each.key.split("/")
            if path[-1] == "backup.json":
                names.add(path[-2])
        return [await self.find(name) for name in sorted(names, reverse=True)]

    async def find(self, name: str = "") -> Backup:
        """One by its id, or the newest; raises NotFound, Conflict when it is damaged."""
        if not name:
            found = await self.every()
            if not found:
                raise NotFound("there is no complete backup at this place")
            return found[0]
        try:
            whole = await dumps.get(self.place, f"{ROOT}{name}/backup.json")
        except (BlobUnknown, ValueError):
            raise NotFound(f"no complete backup {name} at this place") from None
        text, _, checksum = whole.rstrip(b"\n").rpartition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() != checksum:
            raise Conflict(f"backup.json of {name} is damaged")
        facts = json.loads(text)
        if facts["form"] != FORM:
            raise Conflict(f"backup {name} was made by a later version; use that one")
        return Backup(facts["id"], facts["created_at"], facts)

    async def verify(self, backup: Backup, tell: Tell, *, deep: bool) -> list[str]:
        """Compare everything with its checksum, and objects with their length; `deep`: by digest.

        What is wrong, a line each.
        """
        facts = backup.facts
        parts = [part for table in facts["tables"] for part in table["parts"]]
        wrong = await self._checked(parts)
        lists = await self._checked(facts["objects"]["parts"])
        wrong += lists
        wrong += [f"{key}: {why} when it was to be copied" for key, why in facts["failed"].items()]
        if lists:
            return wrong  # nobody knows which objects there should be
        done = 0
        async for each in wanted(self.place, facts):
            done += 1
            tell("objects", done, facts["objects"]["count"])
            if each.key in facts["failed"]:
                continue
            if said := await _examined(self.place, each, deep=deep):
                wrong.append(f"{each.key}: {said}")
        return wrong

    async def _checked(self, parts: Sequence[dumps.Part]) -> list[str]:
        return [said for part in parts if (said := await dumps.check(self.place, part))]


async def _examined(place: BlobStore, each: Wanted, *, deep: bool) -> str:
    size = await place.size(OBJECTS + each.key)
    if size is None:
        return "missing"
    if each.size is not None and size != each.size:
        return f"{size} bytes instead of {each.size}"
    if not deep:
        return ""
    algorithm, _ = digests.parse(each.digest)
    hasher = digests.hasher(algorithm)
    async for piece in place.read(OBJECTS + each.key):
        hasher.update(piece)
    same = f"{algorithm}:{hasher.hexdigest()}" == each.digest
    return "" if same else "its bytes have another digest"


async def wanted(place: BlobStore, facts: dict[str, Any]) -> AsyncIterator[Wanted]:
    """The objects of a backup."""
    async for batch in dumps.read(place, facts["objects"]["parts"], _BATCH):
        for key, digest, size in batch:
            yield Wanted(key, digest, size)


async def _note(tx: Tx, began: datetime, ended: datetime) -> None:
    """Step: remember when backups are made, for the doctor."""
    query = select(properties.c.value).where(properties.c.name == LAST)
    known = json.loads((await tx.execute(query)).scalar_one_or_none() or "{}")
    before = known.get("at")
    interval = (began - datetime.fromisoformat(before)).total_seconds() if before else None
    value = json.dumps(
        {
            "at": began.isoformat(),
            "seconds": (ended - began).total_seconds(),
            "interval": interval,
        }
    )
    insert = tx.dialect.insert(properties).values(name=LAST, value=value)
    await tx.execute(
        insert.on_conflict_do_update(
            index_elements=["name"], set_={"value": value, "updated_at": now()}
        )
    )
