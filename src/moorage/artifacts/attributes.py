"""`extra_attrs` of artifacts: what their configs say, read once and then kept in their rows.

    listed ─► rows without attributes ─► payloads ─► configs (outside of any transaction) ─► kept

A push does not read what it pushes, so the first who looks does. A page reads no more than there
is room and time for; what is left out is read by the next.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson
from sqlalchemy import case, select, update

from moorage.artifacts import contents, types
from moorage.artifacts.entries import Artifact
from moorage.artifacts.records import Blob
from moorage.artifacts.room import fitting
from moorage.artifacts.types import Processor
from moorage.artifacts.types.processor import MAX_CONFIG, Document, parse, text
from moorage.blobstore.base import BlobStore
from moorage.db.engine import Database
from moorage.db.tables import manifest_children, manifests
from moorage.db.transactions import Tx
from moorage.errors import BlobUnknown, Unavailable
from moorage.oci import media_types

ROOM = 8 << 20
"""Bytes of manifests, and again of configs, that one answer reads for the first time."""
SECONDS = 5.0
"""How long one answer waits for configs."""
PARALLEL = 8
"""Configs that one process reads at a time."""

MAX_CARRIER = 64 << 10
"""Bytes of a manifest that an index names for its config."""

NOTHING = "{}"


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the attributes of one artifact come from."""

    id: int
    processor: Processor
    manifest: Document
    config: Blob | None  # None: there is nothing to read


class Attributes:
    """Fills in what the configs of artifacts say."""

    def __init__(self, db: Database, store: BlobStore) -> None:
        self._db = db
        self._store = store
        self._slots = asyncio.Semaphore(PARALLEL)

    async def fill(self, artifacts: Sequence[Artifact]) -> list[Artifact]:
        """The same artifacts with their attributes, as far as there is room and time."""
        missing = [artifact.id for artifact in artifacts if artifact.extra_attrs is None]
        found = await self._find(missing) if missing else {}
        return [replace(a, extra_attrs=found[a.id]) if a.id in found else a for a in artifacts]

    async def _find(self, ids: Sequence[int]) -> Mapping[int, str]:
        async with self._db.read() as tx:
            sources, found = await _sources(tx, ids)
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
                for source in sources:
                    group.create_task(self._read(source, found))
        if found:
            with suppress(Unavailable):  # the answer does not need it; the next one reads again
                await self._db.run(_keep, found)
        return found

    async def _read(self, source: _Source, found: dict[int, str]) -> None:
        config: Document = {}
        if source.config is not None:
            try:
                async with self._slots:
                    config = parse(await contents.read(self._store, source.config))
            except (BlobUnknown, Unavailable):
                return  # maybe next time
        found[source.id] = _render(source, config)


def _render(source: _Source, config: Document) -> str:
    assert source.processor.attributes is not None
    try:
        return orjson.dumps(source.processor.attributes(source.manifest, config)).decode()
    except orjson.JSONEncodeError:  # nested deeper than anything that is meant to be read
        return NOTHING


async def _sources(tx: Tx, ids: Sequence[int]) -> tuple[list[_Source], dict[int, str]]:
    """Where attributes come from, and those that need no source; a query of each kind for all."""
    query = select(
        manifests.c.id,
        manifests.c.media_type,
        manifests.c.config_media_type,
        manifests.c.artifact_type,
        manifests.c.payload_size,
    ).where(manifests.c.id.in_(ids), manifests.c.extra_attrs.is_(None))
    sizes, processors, found = {}, {}, {}
    for row in await tx.execute(query):
        processor = types.processor_of(row.media_type, row.config_media_type, row.artifact_type)
        if processor.attributes is None:
            found[row.id] = NOTHING
        else:
            sizes[row.id], processors[row.id] = row.payload_size, processor
    wanted = [manifest_id for manifest_id in ids if manifest_id in processors]
    wanted = wanted[: fitting((sizes[manifest_id] for manifest_id in wanted), ROOM)]
    if not wanted:
        return [], found
    payloads = select(manifests.c.id, manifests.c.payload).where(manifests.c.id.in_(wanted))
    own = {row.id: (row.id, parse(row.payload)) for row in await tx.execute(payloads)}
    children = {}
    for manifest_id, (_, document) in own.items():
        config_child = processors[manifest_id].config_child
        if config_child is not None and (digest := config_child(document)):
            children[manifest_id] = digest
    elsewhere = await _carriers(tx, children)
    carriers = {i: elsewhere.get(i, own[i]) for i in wanted if i in own}
    configs = await _configs(tx, carriers)
    return [
        _Source(manifest_id, processors[manifest_id], own[manifest_id][1], configs[manifest_id])
        for manifest_id in wanted
        if manifest_id in configs
    ], found


async def _carriers(tx: Tx, children: Mapping[int, str]) -> dict[int, tuple[int, Document]]:
    """By the index, the child that carries its config: its id and its manifest."""
    if not children:
        return {}
    query = (
        select(manifest_children.c.parent_id, manifests.c.id, manifests.c.digest)
        .add_columns(manifests.c.payload)
        .join(manifests, manifests.c.id == manifest_children.c.child_id)
        .where(
            manifest_children.c.parent_id.in_(children),
            manifests.c.digest.in_(set(children.values())),
            manifests.c.payload_size <= MAX_CARRIER,
        )
    )
    return {
        row.parent_id: (row.id, parse(row.payload))
        for row in await tx.execute(query)
        if children[row.parent_id] == row.digest
    }


async def _configs(tx: Tx, carriers: Mapping[int, tuple[int, Document]]) -> dict[int, Blob | None]:
    """The configs to read, None where there is nothing in one; as many as there is room for."""
    descriptors = {
        manifest_id: document.get("config") or {} for manifest_id, (_, document) in carriers.items()
    }
    named = {
        manifest_id: text(descriptor, "digest")
        for manifest_id, descriptor in descriptors.items()
        if descriptor
        and descriptor["mediaType"] != media_types.EMPTY
        and 0 < descriptor["size"] <= MAX_CONFIG
    }
    configs: dict[int, Blob | None] = {i: None for i in carriers if i not in named}
    held = await contents.blobs_of(tx, [carriers[i][0] for i in named], sorted(set(named.values())))
    there = [
        (i, blob) for i, name in named.items() if (blob := held.get(carriers[i][0], {}).get(name))
    ]
    configs.update(there[: fitting((blob.size for _, blob in there), ROOM)])
    return configs


async def _keep(tx: Tx, found: Mapping[int, str]) -> None:
    """Write attributes into their rows; rows that somebody holds are left for another time."""
    query = select(manifests.c.id).where(
        manifests.c.id.in_(found), manifests.c.extra_attrs.is_(None)
    )
    free = tx.dialect.for_update(query.order_by(manifests.c.id), skip_locked=True)
    ids = (await tx.execute(free)).scalars().all()
    if ids:
        values = case({i: found[i] for i in ids}, value=manifests.c.id)
        kept = update(manifests).where(manifests.c.id.in_(ids)).values(extra_attrs=values)
        await tx.execute(kept)
