"""Replications in this process, between a registry without faces and one over a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from sqlalchemy import func, select
from tests.support.accounts import SECRET_KEY
from tests.support.content import ALICE, Content
from tests.support.invariants import violations
from tests.support.jobs import ended, tasks_of, worker, working
from tests.support.otherregistry import OtherRegistry

from moorage.access.secretbox import SecretBox
from moorage.artifacts.rules import Rules
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import LocalCache
from moorage.clock import SystemClock
from moorage.db import tables
from moorage.db.engine import Database
from moorage.events import Outbox
from moorage.jobs import Kind, LocalBell
from moorage.outgoing import Guard
from moorage.projects.projects import Projects
from moorage.remotes import Registries, RegistrySettings
from moorage.replication import KIND, PLAN, Here, MoveJob, PlanJob, Replicating, hear
from moorage.replication.hearing import FACTS
from moorage.replication.policies import ReplicationPolicies
from moorage.replication.records import Settings


@dataclass
class Site:
    """Content here, a registry there, and the policies between both."""

    content: Content
    other: OtherRegistry
    tries: int = 1
    plans: int = 1  # tries of one
    registry_id: int = 0
    made: int = 0
    bell: LocalBell = field(default_factory=LocalBell)

    async def fill(self) -> "Site":
        """Register the other one."""
        guard = Guard((ip_network("127.0.0.0/8"),))
        db, content = self.content.db, self.content
        self.registries = Registries(db, SecretBox(SECRET_KEY), guard)
        said = RegistrySettings(name="other", kind="docker-registry", url=self.other.url)
        self.registry_id = await self.registries.create(ALICE, said)
        self.here = Here(db, content.pulls, content.uploads, content.manifests, Projects(db))
        self.both = Replicating(db, self.registries, self.here)
        self.policies = ReplicationPolicies(db, self.bell)
        self.outbox = Outbox(db, {fact: [hear] for fact in FACTS})
        return self

    def kinds(self) -> tuple[Kind, ...]:
        """What a worker does here."""
        move = Kind(KIND, MoveJob(self.both), tries=self.tries, backoff=0.05)
        return Kind(PLAN, PlanJob(self.both), tries=self.plans, backoff=0.05), move

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Let a worker work."""
        async with working(worker(self.content.db, *self.kinds(), bell=self.bell)):
            yield

    async def settle(self, but: int = 0) -> None:
        """Until what happened was told, and all that it began has ended, but for so many runs."""
        while await self.outbox.dispatch():
            pass
        query = select(func.count()).where(tables.executions.c.ended_at.is_(None))
        async with asyncio.timeout(120):
            while await self.content.scalar(query) > but:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def policy(self, direction: str, **more: Any) -> int:
        """Make a policy, push or pull."""
        side = "target_id" if direction == "push" else "source_id"
        self.made += 1
        said = {"name": f"{direction} {self.made}", side: self.registry_id, **more}
        return await self.policies.create(ALICE, Settings(**said))

    async def run(self, policy_id: int, seconds: float = 60) -> tuple[Any, list[Any]]:
        """Replicate now; the execution and those of its tasks that moved something."""
        execution = await self.policies.start(ALICE, policy_id)
        found = await ended(self.content.db, execution, seconds)
        tasks = await tasks_of(self.content.db, execution)
        return found, [task for task in tasks if task.kind == KIND]


@asynccontextmanager
async def replicating(
    database: Database, there: OtherRegistry | None = None
) -> AsyncIterator[Site]:
    """A site with the project `library`, and a registry; at the end every invariant holds."""
    cache = LocalCache(SystemClock(), entries=1000, size=1 << 20, expire_seconds=3600)
    content = Content(database, MemoryStore(), Rules(lease=3600, drain=0, trash=3600), cache)
    await content.project("library")
    async with (there or OtherRegistry()).serving() as other:
        yield await Site(content, other).fill()
    assert await violations(content) == []
    await cache.close()
