"""What an image is made of, layer by layer: size, the command that made it, and who shares it.

manifest.layers   ─► digest, media type, size
config.history    ─► the command of each, and the steps that made no layer
manifest_blobs    ─► how many other artifacts of the repository hold the same bytes
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import bindparam, func, select

from moorage.artifacts import contents, types
from moorage.artifacts.contents import Stored
from moorage.blobstore.base import BlobStore
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import manifest_blobs, manifests
from moorage.db.transactions import Tx
from moorage.errors import BlobUnknown, Invalid, TooLarge

MAX_LAYERS = 1000
MAX_STEPS = 2000
"""Of a build; whoever pushes a config of a million steps gets layers without commands."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, or one step of the build without a layer; then its digest is empty."""

    digest: str
    media_type: str
    size: int  # bytes
    command: str
    created: str
    shared: int  # other artifacts of the repository that hold it, where that was asked for


class Layers:
    """Reads the layers of artifacts."""

    def __init__(self, db: Database, store: BlobStore) -> None:
        self._db = db
        self._store = store

    async def of(self, repository: str, reference: str, *, shared: bool) -> Sequence[Layer]:
        """The layers of an artifact, the lowest first; an index has none of its own.

        With `shared` every artifact that holds one of them is counted: of a base image, most.
        Raises RepositoryUnknown, ManifestUnknown.
        """
        async with self._db.read() as tx:
            row = await contents.find(tx, repository, reference)
            held = (await contents.blobs_of(tx, [row.id])).get(row.id, {})
            holders = await _shared(tx, row.repository_id, row.id) if shared else {}
        stored = Stored(self._store, row.payload, held)
        layers = _listed(stored.manifest.get("layers"))
        return _joined(layers, await _history(stored, row), holders)


async def _shared(tx: Tx, repository_id: int, manifest_id: int) -> Mapping[str, int]:
    """How many other manifests of the repository hold each blob of this one."""
    found = await tx.select(_HOLDERS, repository_id=repository_id, manifest_id=manifest_id)
    return {row.digest: row.holders for row in found}


_mine = manifest_blobs.alias("mine")
_HOLDERS = Prepared(
    lambda _: (
        select(manifest_blobs.c.digest, func.count().label("holders"))
        .join(_mine, _mine.c.digest == manifest_blobs.c.digest)
        .join(manifests, manifests.c.id == manifest_blobs.c.manifest_id)
        .where(
            _mine.c.manifest_id == bindparam("manifest_id"),
            manifests.c.repository_id == bindparam("repository_id"),
            manifests.c.id != bindparam("manifest_id"),
        )
        .group_by(manifest_blobs.c.digest)
    )
)


async def _history(stored: Stored, row: Any) -> Sequence[Mapping[str, Any]]:
    """The steps of the build; none where the config does not tell any, or cannot be read."""
    processor = types.processor_of(row.media_type, row.config_media_type, row.artifact_type)
    reader = processor.additions.get("build_history")
    if reader is None:
        return ()
    try:
        pieces = [piece async for piece in (await reader(stored)).pieces]
    except (BlobUnknown, Invalid, TooLarge):
        return ()
    steps = orjson.loads(b"".join(pieces))
    if len(steps) > MAX_STEPS:
        return ()
    return [step for step in steps if isinstance(step, dict)]


def _listed(layers: Any) -> list[Mapping[str, Any]]:
    if not isinstance(layers, list):
        return []
    return [each for each in layers[:MAX_LAYERS] if isinstance(each, dict)]


def _joined(
    layers: list[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]], shared: Mapping[str, int]
) -> Sequence[Layer]:
    """Steps and layers side by side; where they do not fit each other, layers without commands."""
    filled = [step for step in steps if not step.get("empty_layer")]
    if len(filled) != len(layers):
        return [_layer(layer, {}, shared) for layer in layers]
    rest = iter(layers)
    return [_layer({} if step.get("empty_layer") else next(rest), step, shared) for step in steps]


def _layer(layer: Mapping[str, Any], step: Mapping[str, Any], shared: Mapping[str, int]) -> Layer:
    digest, size = layer.get("digest"), layer.get("size")
    return Layer(
        digest=digest if isinstance(digest, str) else "",
        media_type=str(layer.get("mediaType", "")),
        size=size if isinstance(size, int) else 0,
        command=str(step.get("created_by", "")),
        created=str(step.get("created", "")),
        shared=shared.get(digest, 0) if isinstance(digest, str) else 0,
    )
