"""Putting a backup back, into an installation that nobody has used.

    the backup is whole ─► secret_key fits ─► database and store are empty ─► schema of the backup
    ─► objects ─► every row in one transaction ─► schema of this version

Until that transaction has committed the database holds nothing, so that a restore that was killed
is simply begun again; objects that it had copied are left as they are.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from moorage import failpoints
from moorage.access.secretbox import SecretBox
from moorage.blobstore.base import BlobStore
from moorage.db import migrator
from moorage.db.engine import Database, unhurried
from moorage.db.transactions import Tx
from moorage.errors import Conflict
from moorage.moving import backup as backups
from moorage.moving import dumps, rows
from moorage.moving.backup import OBJECTS, Backup, Tell
from moorage.moving.objects import Copied, Copier

LEAP = 10_000
"""Ids that are left out: they may have been given out after the backup, and be in tokens still."""

_BATCH = 1000


class Restore:
    """Of one backup at one place."""

    def __init__(self, place: BlobStore, backup: Backup) -> None:
        self._place = place
        self._backup = backup
        self._facts = backup.facts

    async def secret_key(self, known: str | None, file: Path) -> str | None:
        """The key to write into `file`, where the backup has it and none is `known`.

        Raises Conflict when the one that is there is not that of the backup.
        """
        expected = self._facts["secret_key_fingerprint"]
        if known is not None:
            if expected is not None and SecretBox(known).fingerprint != expected:
                raise Conflict(
                    "auth.secret_key is not the one of the backup: its secrets could not be read"
                )
            return None
        if not self._facts["secret_key"]:
            raise Conflict(
                f"the backup is without its secret key: set auth.secret_key, or put it into {file}"
            )
        return (await dumps.content(self._place, self._facts["secret_key_part"])).decode()

    async def run(
        self,
        db: Database,
        store: BlobStore,
        tell: Tell,
        *,
        objects: bool = True,
        keep: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Put everything back; without `objects` only the rows, onto the store as it is.

        `keep` is called before the rows are there, for what they cannot be read without.
        Raises Conflict when the target is not empty or the backup not whole, SchemaTooNew.
        """
        revision = self._facts["revision"]
        await self._check_target(db, store, revision, objects=objects)
        await migrator.migrate(db, to=revision)
        if objects:
            copied = await self._copy(store, tell)
            missing = copied.failed
        else:
            copied = Copied()
            missing = await self._missing(store, tell)
        await failpoints.reach("refill.objects")
        missing = {**self._facts["failed"], **missing}
        keep()
        async with unhurried(db) as own:
            written = await own.run(self._fill, sorted(missing), tell)
        await migrator.migrate(db)
        return {
            "backup": self._backup.id,
            "created_at": self._backup.created_at,
            "rows": written,
            "objects": copied.objects + copied.there,
            "size": copied.size + copied.there_size,
            "missing": len(missing),
        }

    async def _check_target(
        self, db: Database, store: BlobStore, revision: str, *, objects: bool
    ) -> None:
        known = migrator.revisions()
        if revision not in known:
            raise Conflict(
                f"the backup has schema {revision}, which this version does not know: use version "
                f"{self._facts['version']} or a later one"
            )
        current = (await migrator.status(db)).current
        if current is not None:
            if current not in known or known.index(current) > known.index(revision):
                raise Conflict(
                    f"the database has schema {current} already, the backup {revision}: give an "
                    "empty database"
                )
            async with db.read() as tx:
                if used := await rows.used(tx):
                    raise Conflict(
                        f"the database is in use (it has {', '.join(used)}): give an empty one"
                    )
        if objects:
            await self._check_store(store)

    async def _check_store(self, store: BlobStore) -> None:
        """Nothing is there but what an earlier run of this restore put there."""
        ours: set[str] | None = None
        async for each in store.scan():
            if ours is None:
                ours = {one.key async for one in backups.wanted(self._place, self._facts)}
            if each.key not in ours:
                raise Conflict(
                    f"the blob storage is not empty (it holds {each.key}): give an empty one, or "
                    "restore the database only"
                )

    async def _copy(self, store: BlobStore, tell: Tell) -> Copied:
        total = self._facts["objects"]["count"]

        def told(done: Copied) -> None:
            tell("objects", done.objects + done.there + len(done.failed), total)

        copier = Copier(self._place, store, from_below=OBJECTS)
        return await copier.run(backups.wanted(self._place, self._facts), told)

    async def _missing(self, store: BlobStore, tell: Tell) -> dict[str, str]:
        found: dict[str, str] = {}
        done = 0
        async for each in backups.wanted(self._place, self._facts):
            size = await store.size(each.key)
            if size is None or (each.size is not None and size != each.size):
                found[each.key] = "missing" if size is None else "another length"
            done += 1
            tell("objects", done, self._facts["objects"]["count"])
        return found

    async def _fill(self, tx: Tx, missing: list[str], tell: Tell) -> int:
        if tx.dialect.name == "postgresql":
            await tx.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        if used := await rows.used(tx):
            raise Conflict(f"the database has been used meanwhile (it has {', '.join(used)})")
        await rows.clear(tx, [table["name"] for table in self._facts["tables"]])
        total = sum(table["rows"] for table in self._facts["tables"])
        written = 0
        forms = []
        for table in self._facts["tables"]:
            form = rows.form_of(table)
            forms.append(form)
            async for batch in dumps.read(self._place, table["parts"], _BATCH):
                await rows.insert(tx, form, list(map(form.decode, batch)))
                written += len(batch)
                tell("rows", written, total)
        await rows.go_on_counting(tx, forms, self._facts["counters"], LEAP)
        await rows.note_missing(tx, missing)
        await failpoints.reach("refill.rows")
        return written
