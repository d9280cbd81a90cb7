"""Additions of an artifact: its build history, a file out of its package, its bill of materials.

artifact ─► processor ─┬─ reader ─────────────────────► Addition
                       └─ attached ─► newest accessory ─► its reader
"""

import asyncio
from typing import Any

from moorage.artifacts import contents, types
from moorage.artifacts.contents import Stored
from moorage.artifacts.types import Addition
from moorage.artifacts.types.processor import Reader
from moorage.blobstore.base import BlobStore
from moorage.db.engine import Database
from moorage.db.tables import manifests
from moorage.db.transactions import Tx
from moorage.errors import Invalid, NotFound

PARALLEL = 4
"""Additions that one process makes at a time: an archive costs a thread, a document memory."""


class Additions:
    """Reads additions."""

    def __init__(self, db: Database, store: BlobStore) -> None:
        self._db = db
        self._store = store
        self._slots = asyncio.Semaphore(PARALLEL)

    async def read(self, repository: str, reference: str, name: str) -> Addition:
        """The addition of that name.

        Raises RepositoryUnknown, ManifestUnknown; Invalid when artifacts of this type have none of
        that name, or when it cannot be read; NotFound when this one has none; TooLarge.
        """
        async with self._db.read() as tx:
            row = await contents.find(tx, repository, reference)
            row, reader = await _reader(tx, row, name)
            held = (await contents.blobs_of(tx, [row.id])).get(row.id, {})
        async with self._slots:
            return await reader(Stored(self._store, row.payload, held))


async def _reader(tx: Tx, row: Any, name: str) -> tuple[Any, Reader]:
    """The manifest that the addition is made of, and who makes it."""
    processor = types.processor_of(row.media_type, row.config_media_type, row.artifact_type)
    if name in processor.additions:
        return row, processor.additions[name]
    if name not in processor.attached:
        raise Invalid(f"artifacts of the type {processor.type} have no addition {name}")
    newest = (
        contents.rows()
        .where(
            manifests.c.repository_id == row.repository_id,
            manifests.c.subject_digest == row.digest,
            manifests.c.artifact_type.in_(types.SBOMS),
        )
        .order_by(manifests.c.pushed_at.desc(), manifests.c.id.desc())
        .limit(1)
    )
    accessory = (await tx.execute(newest)).one_or_none()
    if accessory is None:
        raise NotFound(f"nothing that is attached to {row.digest} is its {name}")
    return accessory, types.PROCESSORS[accessory.artifact_type].additions[name]
