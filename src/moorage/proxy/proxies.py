"""Which projects are a cache, and how each reaches its registry.

A project is one from its creation on, or never. So the names are kept in a set of this process,
renewed every few seconds: a request for any other project costs no more than a look into it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from weakref import WeakValueDictionary

from sqlalchemy import select

from moorage import patterns
from moorage.db.engine import Database
from moorage.db.tables import project_metadata, project_registries, projects
from moorage.errors import Invalid, RepositoryUnknown
from moorage.oci.names import project_of
from moorage.projects.grants import Grants
from moorage.remotes import Registries, Remote
from moorage.remotes.adapters import HUB
from moorage.remotes.registrations import UNHEALTHY
from moorage.remotes.throttle import FREE, KILOBITS, Throttle
from moorage.telemetry.proxies import ProxyCounters

KEPT = 10.0
"""Seconds for which what an administrator set of a project is believed."""
PAUSED = 10.0
"""Seconds for which a registry that did not answer is not asked for what is here."""
TRIES, IDLE = 2, 30.0
FORMER = 600.0
"""Seconds after which the connections of a registry that was changed are closed, unless in use."""


@dataclass(eq=False)
class Upstream:
    """The registry behind one project."""

    project: str
    remote: Remote
    registry_id: int
    renewed: datetime
    healthy: bool = True
    pattern: str = ""
    pattern_kind: str = patterns.DOUBLESTAR
    most: int = 0  # downloads of one repository at once; 0: any number
    referrers: bool = False
    keeps: bool = False  # what the registry does not have any more
    throttle: Throttle = FREE
    running: dict[str, int] = field(default_factory=dict)
    down_until: float = 0.0
    lists: dict[str, tuple[float, list[str]]] = field(default_factory=dict)  # when, and tags
    asking: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def reachable(self, moment: float) -> bool:
        """Whether it makes sense to ask: who has a copy does not wait for one that is down."""
        return self.healthy and self.down_until <= moment

    def name(self, repository: str) -> str:
        """What the registry calls a repository; raises RepositoryUnknown behind the filter."""
        name = repository.partition("/")[2]
        if self.pattern:
            try:
                matched = patterns.compile(self.pattern_kind, self.pattern).matches(name)
            except Invalid:  # nothing is let through by what nobody can read
                matched = False
            if not matched:
                raise RepositoryUnknown(
                    f"{repository} is not let through by the repository filter of the project",
                    detail={"name": repository},
                )
        if self.remote.endpoint.kind == HUB and "/" not in name:
            return f"library/{name}"
        return name


class Proxies:
    """Every project that is a cache."""

    def __init__(
        self,
        db: Database,
        grants: Grants,
        registries: Registries,
        monotonic: Callable[[], float] = time.monotonic,
        counters: ProxyCounters | None = None,
    ) -> None:
        self._db = db
        self._grants = grants
        self._registries = registries
        self.monotonic = monotonic
        self.counters = counters or ProxyCounters()
        self.names: set[str] = set()
        self.loaded = False
        self._known: dict[str, tuple[Upstream, float]] = {}
        self._former: list[tuple[Upstream, float]] = []
        self._loading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def refresh(self) -> None:
        """Learn what other processes made and deleted."""
        query = select(projects.c.name).join(
            project_registries, project_registries.c.project_id == projects.c.id
        )
        async with self._db.read() as tx:
            found = set((await tx.execute(query)).scalars())
        self.names |= found
        self.names &= found
        self.loaded = True
        for project in set(self._known) - found:
            self._retire(self._known.pop(project)[0])
        await self._close_former()

    async def learn(self, repository: str) -> bool:
        """Whether a repository is in such a project, also in one that was made just now."""
        project = project_of(repository)
        if project in self.names:
            return True
        ref = await self._grants.project(project)
        if ref is None or not ref.registry_id:
            return False
        self.names.add(project)
        return True

    async def of(self, repository: str) -> Upstream:
        """The registry behind a repository; raises RepositoryUnknown."""
        project = project_of(repository)
        known = self._known.get(project)
        if known is not None and known[1] > self.monotonic():
            return known[0]
        async with self._loading.setdefault(project, asyncio.Lock()):
            known = self._known.get(project)
            if known is not None and known[1] > self.monotonic():
                return known[0]
            upstream = await self._load(project, known[0] if known else None)
            self._known[project] = upstream, self.monotonic() + KEPT
            return upstream

    async def close(self) -> None:
        """Close every connection."""
        for upstream, _ in [*self._former, *self._known.values()]:
            await upstream.remote.close()
        self._former.clear()
        self._known.clear()

    def _retire(self, upstream: Upstream) -> None:
        """Somebody may still be asking it something: it is closed later."""
        self._former.append((upstream, self.monotonic() + FORMER))

    async def _close_former(self) -> None:
        moment = self.monotonic()
        over = [each for each, until in self._former if until <= moment and not each.running]
        self._former = [pair for pair in self._former if pair[0] not in over]
        for upstream in over:
            await upstream.remote.close()

    async def _load(self, project: str, before: Upstream | None) -> Upstream:
        query = (
            select(projects.c.id, project_registries.c.registry_id)
            .join(project_registries, project_registries.c.project_id == projects.c.id)
            .where(projects.c.name == project)
        )
        async with self._db.read() as tx:
            row = (await tx.execute(query)).one_or_none()
            if row is None:
                raise RepositoryUnknown(f"project {project} not found", detail={"name": project})
            said = select(project_metadata.c.name, project_metadata.c.value)
            said = said.where(project_metadata.c.project_id == row.id)
            values = {each.name: each.value for each in await tx.execute(said)}
        registry = await self._registries.get(row.registry_id)
        same = before is not None and (before.registry_id, before.renewed) == (
            registry.id,
            registry.updated_at,
        )
        if before is not None and same:
            upstream = before
        else:
            told = partial(self.counters.asked, project)
            remote = self._registries.remote(registry, tries=TRIES, idle=IDLE, told=told)
            upstream = Upstream(project, remote, registry.id, registry.updated_at)
            if before is not None:
                self._retire(before)
        upstream.healthy = registry.status != UNHEALTHY
        _set(upstream, values)
        return upstream


def _set(upstream: Upstream, values: Mapping[str, str]) -> None:
    upstream.pattern = values.get("proxy_cache_filter_pattern", "")
    upstream.pattern_kind = values.get("proxy_cache_filter_kind") or patterns.DOUBLESTAR
    upstream.most = max(int(values.get("max_upstream_conn") or 0), 0)
    upstream.referrers = values.get("proxy_referrer_api") == "true"
    upstream.keeps = values.get("proxy_cache_local_on_not_found") == "true"
    rate = max(int(values.get("proxy_speed_kb") or 0), 0) * KILOBITS
    if rate != upstream.throttle.rate:
        upstream.throttle = Throttle(rate)
