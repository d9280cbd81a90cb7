"""A registry without faces: the domain on a real database and any store."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select

from moorage.access.principals import Principal
from moorage.artifacts.listing import Listing
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.pulls import Pulls
from moorage.artifacts.rules import Rules
from moorage.artifacts.statistics import PullCounts
from moorage.artifacts.uploads import Uploads
from moorage.blobstore.base import BlobStore
from moorage.cache.base import Cache
from moorage.cache.local import NoCache
from moorage.cache.lru import BytesLRU
from moorage.db import tables
from moorage.db.engine import Database
from moorage.gc import Collector, Janitor, Sweeper
from moorage.oci import media_types

ALICE = Principal("user", 1, "alice")
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def sha256(data: bytes) -> str:
    """The digest of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def body(*parts: bytes) -> AsyncIterator[bytes]:
    """A request body that arrives in these parts."""
    for part in parts:
        yield part


def descriptor(data: bytes, media_type: str = LAYER) -> dict[str, Any]:
    """What a manifest says of content."""
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def image(config: bytes, layers: Iterable[bytes], **more: Any) -> bytes:
    """An OCI image manifest."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_MANIFEST,
            "config": descriptor(config, CONFIG),
            "layers": [descriptor(layer) for layer in layers],
            **more,
        }
    ).encode()


def index(children: Iterable[bytes], **more: Any) -> bytes:
    """An OCI image index of manifests given by their bytes."""
    entries = [descriptor(child, json.loads(child)["mediaType"]) for child in children]
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": entries,
            **more,
        }
    ).encode()


@dataclass
class Content:
    """All of `artifacts` and `gc` over one database and one store."""

    db: Database
    store: BlobStore
    rules: Rules = field(default_factory=Rules)
    cache: Cache = field(default_factory=NoCache)

    def __post_init__(self) -> None:
        self.db.notifier = self.cache
        self.counts = PullCounts(self.db)
        self.uploads = Uploads(self.db, self.store, self.rules)
        self.manifests = Manifests(self.db, self.rules)
        self.pulls = Pulls(self.db, self.store, self.cache, self.counts, BytesLRU(1 << 20))
        self.listing = Listing(self.db)
        self.collector = Collector(self.db, self.rules)
        self.sweeper = Sweeper(self.db, self.store)
        self.janitor = Janitor(self.db, self.rules)

    async def project(self, name: str, hard: int = -1) -> int:
        """Make a project with a quota; returns its id."""
        async with self.db.write() as tx:
            owner = select(tables.users.c.id).order_by(tables.users.c.id).limit(1)
            owner_id = (await tx.execute(owner)).scalar_one_or_none()
            if owner_id is None:
                user = insert(tables.users).values(username="alice").returning(tables.users.c.id)
                owner_id = (await tx.execute(user)).scalar_one()
            row = insert(tables.projects).values(name=name, owner_id=owner_id)
            project_id = (await tx.execute(row.returning(tables.projects.c.id))).scalar_one()
            await tx.execute(insert(tables.quotas).values(project_id=project_id, hard=hard))
        return int(project_id)

    async def push_blob(self, repository: str, data: bytes) -> str:
        """Push a blob in one request; returns its digest."""
        digest = sha256(data)
        await self.uploads.push(ALICE, repository, digest, body(data), length=len(data))
        return digest

    async def push_image(
        self,
        repository: str,
        tag: str,
        config: bytes = b"{}",
        layers: Iterable[bytes] = (b"layer",),
        **more: Any,
    ) -> bytes:
        """Push an image with its blobs; returns its manifest."""
        for data in (config, *layers):
            await self.push_blob(repository, data)
        manifest = image(config, layers, **more)
        await self.manifests.put(ALICE, repository, tag, manifest, media_types.OCI_MANIFEST)
        return manifest

    async def read_blob(self, repository: str, digest: str) -> bytes:
        """All bytes of a blob."""
        blob = await self.pulls.blob(repository, digest)
        return b"".join([data async for data in self.pulls.content(blob)])

    async def collect(self) -> None:
        """Run every collector until none finds anything."""
        while (await self.collector.run_once(ignore_review=True)).reviewed:
            pass
        while any(vars_of(await self.janitor.run_once())):
            pass
        while (await self.sweeper.run_once()).objects:
            pass

    async def scalar(self, query: Any) -> Any:
        """One value of one row."""
        async with self.db.read() as tx:
            return (await tx.execute(query)).scalar_one()

    async def used(self, project_id: int) -> int:
        """What the quota counts, in bytes."""
        quota = select(tables.quotas.c.used).where(tables.quotas.c.project_id == project_id)
        return int(await self.scalar(quota))

    async def keys(self) -> set[str]:
        """Every object in the store."""
        return {found.key async for found in self.store.scan()}

    async def live_keys(self) -> set[str]:
        """Every key that a blob has."""
        async with self.db.read() as tx:
            return set((await tx.execute(select(tables.blobs.c.storage_key))).scalars())


def vars_of(record: Any) -> tuple[int, ...]:
    """The counts in a frozen record."""
    return tuple(getattr(record, name) for name in record.__slots__)
