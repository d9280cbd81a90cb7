"""Artifacts of `team/app` as a guest sees them."""

import asyncio
from typing import Any

from tests.api.world import World

from moorage.blobstore.memory import MemoryStore

APP = "/projects/team/repositories/app/artifacts"
MODEL = "application/vnd.cncf.model.config.v1+json"
DOC = "application/vnd.cncf.model.doc.v1."
PATH = "org.cncf.model.filepath"
IMAGE_CONFIG = {
    "architecture": "arm64",
    "os": "linux",
    "created": "2026-01-02T03:04:05Z",
    "config": {
        "Env": ["PATH=/bin"],
        "Cmd": [],
        "User": 7,
        "Labels": {"maintainer": "nia", "note": "\u0000é"},
        "Secret": "of no field that is shown",
    },
    "history": [
        {"created": "2026-01-02T03:04:05Z", "created_by": "COPY . /", "empty_layer": False},
        {"created_by": "CMD", "empty_layer": True, "other": 1},
        "no step",
    ],
}


async def get(world: World, path: str, status: int = 200, name: str = "guest") -> Any:
    """The answer under the artifacts of `team/app`, which has that status."""
    answer = await world.call(name, "GET", f"{APP}{path}")
    assert answer.status_code == status, answer.text
    return answer


async def shown(world: World, reference: str) -> Any:
    """One artifact."""
    return (await get(world, f"/{reference}")).json()


class Counting(MemoryStore):
    """Counts reads; ends them with `failure`, or holds them until the `gate` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def read(self, key: str, start: int = 0, end: int | None = None) -> Any:
        self.reads.append(len(self.objects[key]))
        if self.failure is not None:
            raise self.failure
        if self.gate is not None:
            await self.gate.wait()
        async for piece in super().read(key, start, end):
            yield piece


def counted(world: World) -> Counting:
    """The store that attributes and additions are read from, from now on."""
    counting = Counting()
    assert isinstance(world.content.store, MemoryStore)
    counting.objects = world.content.store.objects
    services = world.services
    services.attributes._store = services.additions._store = counting
    return counting
