"""How the parts are, under Harbor's names.

what this process does          its own probes: database, storage, redis
the database                    whether commits wait for a standby, too
another role, with its URL      its `/readyz`
jobservice, without one         whether a worker was seen in the database
any other role                  not known, so not told
"""

import asyncio
from collections.abc import Mapping

import httpx2

from moorage.config.health import HealthSettings
from moorage.db.engine import Database
from moorage.errors import MoorageError
from moorage.jobs.dashboard import Dashboard
from moorage.ops import Operations
from moorage.outgoing import EVERYWHERE, Guard
from moorage.roles.faces import Role

_SECONDS = 3.0
_BYTES = 1 << 16


class Health:
    """Asks every part at once."""

    def __init__(
        self,
        operations: Operations,
        role: Role,
        settings: HealthSettings,
        dashboard: Dashboard,
        db: Database,
    ) -> None:
        self._operations = operations
        self._role = role
        self._workers = dashboard
        self._db = db
        urls = {
            "core": settings.core_url,
            "registry": settings.registry_url,
            "jobservice": settings.jobservice_url,
            "portal": settings.portal_url,
        }
        self._urls = {name: url.rstrip("/") for name, url in urls.items() if url}
        # Addresses of the operator's own choice, which are inside as a rule.
        self._guard = Guard(EVERYWHERE, settings.ca_file)

    async def check(self) -> Mapping[str, str]:
        """Component to what is wrong with it; what is not built or not configured is left out."""
        asked = asyncio.gather(*map(self._ready, self._urls.values()))
        own = await self._operations.check()
        found = dict(zip(self._urls, await asked, strict=True))
        database, storage = own.get("database", ""), own.get("storage", "")
        parts = {"database": database or await self._standby(), "storage": storage}
        if "redis" in own:
            parts["redis"] = own["redis"]
        if self._role.core:
            parts["core"] = ""
        if self._role is Role.ALL:
            parts |= {"registry": storage, "jobservice": database, "portal": ""}
        elif "jobservice" not in found and not database:
            parts["jobservice"] = await self._working()
        parts |= found
        if "registry" in parts:  # what deletes blobs is in there as well
            parts["registryctl"] = parts["registry"]
        return parts

    async def _standby(self) -> str:
        """Reads go on without a standby, so a process is ready; nothing that is pushed is kept."""
        try:
            async with asyncio.timeout(_SECONDS):
                waiting = await self._db.commits_waiting()
        except (MoorageError, TimeoutError):
            return ""
        return f"{waiting} commits wait for a synchronous standby" if waiting else ""

    async def _working(self) -> str:
        try:
            return "" if await self._workers.workers() else "no process was seen for a minute"
        except MoorageError as error:
            return error.message

    async def _ready(self, url: str) -> str:
        try:
            async with self._guard.client(seconds=_SECONDS, limit=_BYTES) as client:
                answer = await client.get(f"{url}/readyz")
        except MoorageError as error:
            return error.message
        except httpx2.HTTPError:
            return "it does not answer"
        if answer.status_code == 200:
            return ""
        return f"it is not ready: it answers {answer.status_code}"
