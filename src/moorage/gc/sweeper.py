"""Deletes objects whose time in the trash is over (G2, G3).

    claim (nobody can bring the key back) ─► delete the objects ─► delete the rows

A key is used once ever, so a claim that was left behind by a crash is simply swept again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, exists, select, update

from moorage import failpoints
from moorage.artifacts import adopted
from moorage.blobstore.base import BlobStore
from moorage.db.engine import Database
from moorage.db.tables import artifact_trash, blob_trash, blobs
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.errors import StorageUnavailable

RETRY = 60.0
"""Seconds after which a claim counts as left behind, and a failed delete is tried again."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one run did."""

    objects: int = 0
    size: int = 0  # bytes, as far as the rows know them


class Sweeper:
    """Empties the trash in batches."""

    def __init__(
        self, db: Database, store: BlobStore, batch: int = 1000, retry: float = RETRY
    ) -> None:
        self._db = db
        self._store = store
        self._batch = batch
        self._retry = retry

    async def run_once(self) -> Swept:
        """Delete one batch; raises StorageUnavailable after noting it on the rows."""
        claimed = await self._db.run(self._claim)
        if not claimed:
            return Swept()
        await failpoints.reach("sweep.claimed")
        keys = list(claimed)
        try:
            await self._store.delete(keys)
        except StorageUnavailable as error:
            await self._db.run(self._note, keys, error.message)
            raise
        await failpoints.reach("sweep.deleted")
        await self._db.run(self._forget, keys)
        await failpoints.reach("sweep.committed")
        return Swept(len(keys), sum(claimed.values()))

    async def empty(self) -> None:
        """Let everything in the trash be deleted at once; nothing in it can be restored then."""
        await self._db.run(_empty)

    async def _claim(self, tx: Tx) -> dict[str, int]:
        """Keys that are due, with their sizes; claimed ones are tried again after a while."""
        live = exists().where(blobs.c.storage_key == blob_trash.c.storage_key)
        query = (
            select(blob_trash.c.storage_key, blob_trash.c.size)
            .where(
                blob_trash.c.not_before <= now(),
                ~live,
                adopted.deletable(blob_trash.c.storage_key),
            )
            .order_by(blob_trash.c.not_before)
            .limit(self._batch)
        )
        rows = (await tx.execute(tx.dialect.for_update(query, skip_locked=True))).all()
        claimed = {row.storage_key: row.size or 0 for row in rows}
        if claimed:
            mine = blob_trash.c.storage_key.in_(list(claimed))
            values = {
                "sweeping": True,
                "tries": blob_trash.c.tries + 1,
                "not_before": from_now(self._retry),
            }
            await tx.execute(update(blob_trash).where(mine).values(values))
        return claimed

    async def _forget(self, tx: Tx, keys: Sequence[str]) -> None:
        await tx.execute(delete(blob_trash).where(blob_trash.c.storage_key.in_(keys)))

    async def _note(self, tx: Tx, keys: Sequence[str], message: str) -> None:
        mine = blob_trash.c.storage_key.in_(keys)
        await tx.execute(update(blob_trash).where(mine).values(error=message))


async def _empty(tx: Tx) -> None:
    await tx.execute(delete(artifact_trash))
    waiting = blob_trash.c.not_before > now(), ~blob_trash.c.sweeping
    await tx.execute(update(blob_trash).where(*waiting).values(not_before=now()))
