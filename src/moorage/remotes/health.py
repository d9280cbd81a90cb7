"""The job that looks how every registered registry is."""

import asyncio

from moorage.db.queries import Query
from moorage.jobs import Context
from moorage.remotes.registrations import Registries

KIND = "REGISTRY_HEALTH"
CRON = "0 */5 * * * *"
AT_ONCE = 8
PAGE = 100


class HealthJob:
    """The handler; what it finds is shown with the registries."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries

    async def __call__(self, context: Context) -> None:
        gate = asyncio.Semaphore(AT_ONCE)
        page, looked, ill = 1, 0, 0

        async def look(registry: object) -> str:
            async with gate:
                context.check()
                return await self._registries.check(registry)  # type: ignore[arg-type]

        while True:
            found = (await self._registries.list(Query(page=page, size=PAGE))).items
            for registry, wrong in zip(found, await asyncio.gather(*map(look, found)), strict=True):
                looked += 1
                if wrong:
                    ill += 1
                    context.log(f"registry {registry.name}: {wrong}", "WARNING")
            if len(found) < PAGE:
                break
            page += 1
        context.log(f"{looked} registries, {ill} of them unhealthy")
        context.extra = {"registries": looked, "unhealthy": ill}
