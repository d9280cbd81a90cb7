"""A project that is a cache of another registry, as tests look at it."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import insert, select, update

from moorage.access.secretbox import SecretBox
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.rules import Rules
from moorage.artifacts.uploads import Uploads
from moorage.db import tables
from moorage.db.types import now
from moorage.distribution import Distribution
from moorage.distribution.mirrors import Mirrors
from moorage.distribution.proxied import Proxied
from moorage.outgoing import Guard
from moorage.proxy import Proxies, Through, ThroughListing, ThroughManifests, Turn
from moorage.remotes import Registries
from moorage.telemetry.proxies import ProxyCounters
from tests.protocol.registry import Registry
from tests.support.otherregistry import OtherRegistry

APP = "hub/library/app"
THERE = "library/app"


class Cache:
    """A registry with the project `hub`, a cache of `other`."""

    def __init__(self, registry: Registry, other: OtherRegistry) -> None:
        self.registry = registry
        self.other = other
        self.moment = 0.0
        self.figures = CollectorRegistry()
        self.counters = ProxyCounters(self.figures)

    async def fill(self, kind: str = "docker-registry", **metadata: str) -> "Cache":
        db = self.registry.db
        async with db.write() as tx:
            made = insert(tables.registries).values(name="x", kind=kind, url=self.other.url)
            registry_id = (await tx.execute(made.returning(tables.registries.c.id))).scalar_one()
            row = insert(tables.projects).values(name="hub", owner_id=1, public=True)
            project = (await tx.execute(row.returning(tables.projects.c.id))).scalar_one()
            await tx.execute(insert(tables.quotas).values(project_id=project, hard=-1))
            cached = {"project_id": project, "registry_id": registry_id}
            await tx.execute(insert(tables.project_registries).values(cached))
            for name, value in metadata.items():
                said = {"project_id": project, "name": name, "value": value, "updated_at": now()}
                await tx.execute(insert(tables.project_metadata).values(said))
        return self.open()

    def open(self, turn: Turn | None = None) -> "Cache":
        """Let a replica begin to serve it."""
        db, parts = self.registry.db, self.registry.parts
        rules = replace(Rules(), sparse=True)
        registries = Registries(db, SecretBox("x"), Guard((ip_network("127.0.0.0/8"),)))
        self.through = Through(
            db,
            Proxies(db, parts["grants"], registries, lambda: self.moment, self.counters),
            parts["pulls"],
            Uploads(db, self.registry.store, rules),
            Manifests(db, rules),
            60.0,
            turn=turn,
        )
        self.app = Distribution(
            **parts,
            proxied=Proxied(
                self.through,
                ThroughListing(db, self.through),
                ThroughManifests(db, rules).bound(self.through),
            ),
            mirrors=Mirrors({"docker.io": "hub"}, {"hub.example": "hub"}),
        )
        self.client = self.registry.client("guest", app=self.app)
        self.admin = self.registry.client("admin", app=self.app)
        return self

    async def full(self) -> None:
        """Leave no room in its quota."""
        hub = select(tables.projects.c.id).where(tables.projects.c.name == "hub")
        quota = update(tables.quotas).where(tables.quotas.c.project_id == hub.scalar_subquery())
        async with self.registry.db.write() as tx:
            await tx.execute(quota.values(hard=tables.quotas.c.used))

    async def get(self, path: str, repository: str = APP, **headers: str) -> Any:
        return await self.client.ask("GET", f"/v2/{repository}/{path}", headers=headers)

    def counted(self, name: str, **labels: str) -> float:
        """What a counter of the project has come to."""
        return self.figures.get_sample_value(name, {"project": "hub", **labels}) or 0.0
