"""Tidies up after clients that never came back."""

from dataclasses import dataclass

from sqlalchemy import delete, exists, select

from moorage import failpoints
from moorage.artifacts import blobs, sessions
from moorage.artifacts.rules import Rules
from moorage.db.engine import Database
from moorage.db.tables import (
    artifact_trash,
    manifests,
    repositories,
    repository_blobs,
    tags,
    uploads,
)
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now


@dataclass(frozen=True, slots=True)
class Tidied:
    """What one run did."""

    uploads: int = 0  # abandoned sessions that were ended
    artifacts: int = 0  # deleted artifacts that can no longer be restored
    repositories: int = 0  # empty repositories that never held a manifest

    def __add__(self, other: "Tidied") -> "Tidied":
        return Tidied(
            self.uploads + other.uploads,
            self.artifacts + other.artifacts,
            self.repositories + other.repositories,
        )


class Janitor:
    """Ends what rests for too long."""

    def __init__(self, db: Database, rules: Rules, batch: int = 100) -> None:
        self._db = db
        self._rules = rules
        self._batch = batch

    async def run_once(self) -> Tidied:
        """One batch of each kind."""
        ended = await self._db.run(self._end_uploads)
        await failpoints.reach("janitor.committed")
        artifacts = await self._db.run(self._empty_trash)
        return Tidied(ended, artifacts, await self._db.run(self._drop_repositories))

    async def _end_uploads(self, tx: Tx) -> int:
        expired = await sessions.expired(tx, self._rules, self._batch)
        keys: set[str] = set()
        for upload_id in expired:
            keys |= (await blobs.end_upload(tx, upload_id)).keys()
        # A writer that slept all this time may still be writing: its bytes go after `drain`.
        await blobs.discard_keys(tx, sorted(keys), self._rules.drain)
        await failpoints.reach("janitor.expiring")
        return len(expired)

    async def _empty_trash(self, tx: Tx) -> int:
        query = (
            select(artifact_trash.c.id)
            .where(artifact_trash.c.expires_at <= now())
            .limit(self._batch)
        )
        ids = (await tx.execute(tx.dialect.for_update(query, skip_locked=True))).scalars().all()
        await tx.execute(delete(artifact_trash).where(artifact_trash.c.id.in_(ids)))
        return len(ids)

    async def _drop_repositories(self, tx: Tx) -> int:
        """Repositories that are hidden and hold nothing at all."""
        used = [
            exists().where(table.c.repository_id == repositories.c.id)
            for table in (manifests, tags, repository_blobs, uploads, artifact_trash)
        ]
        query = (
            select(repositories.c.id)
            .where(
                repositories.c.pushed_at.is_(None),
                repositories.c.updated_at < from_now(-self._rules.upload_age),
                *(~held for held in used),
            )
            .limit(self._batch)
        )
        ids = (await tx.execute(tx.dialect.for_update(query, skip_locked=True))).scalars().all()
        await tx.execute(delete(repositories).where(repositories.c.id.in_(ids)))
        return len(ids)
