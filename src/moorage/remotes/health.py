"""The job that looks how every registered registry is."""

import asyncio

from moorage.db.queries import Query
from moorage.jobs import Context, together
from moorage.remotes.records import Registry
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
        wrong: dict[int, str] = {}

        async def look(registry: Registry) -> None:
            async with gate:
                context.check()
                wrong[registry.id] = await self._registries.check(registry)

        while True:
            found = (await self._registries.list(Query(page=page, size=PAGE))).items
            await together(*map(look, found))
            for registry in found:
                looked += 1
                if wrong[registry.id]:
                    ill += 1
                    context.log(f"registry {registry.name}: {wrong[registry.id]}", "WARNING")
            if len(found) < PAGE:
                break
            page += 1
        context.log(f"{looked} registries, {ill} of them unhealthy")
        context.extra = {"registries": looked, "unhealthy": ill}
