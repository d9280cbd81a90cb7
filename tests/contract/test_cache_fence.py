"""The fence that replicas look at: in the database, and its double in memory."""

import asyncio
import time

import pytest
from tests.support.fences import MemoryFence

from moorage.cache.fence import Fence
from moorage.db import Database
from moorage.roles.fence import DatabaseFence

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "database"])
def fence(request: pytest.FixtureRequest, database: Database) -> Fence:
    """A fence that nobody has looked at yet."""
    return MemoryFence() if request.param == "memory" else DatabaseFence(database)


async def test_a_new_fence_has_no_server_and_is_open(fence: Fence) -> None:
    """Looking makes it, once: everybody sees the same generation."""
    states = await asyncio.gather(*(fence.read() for _ in range(3)))
    assert len({state.generation for state in states}) == 1
    assert {state.server for state in states} == {""}
    assert all(state.remaining <= 0 for state in states)


async def test_the_first_server_is_chosen_once(fence: Fence) -> None:
    """Of two who choose, both use what the first chose, under the generation that is."""
    before = await fence.read()
    first, second = await asyncio.gather(fence.choose("a"), fence.choose("b"))
    assert first.server == second.server
    assert {first.generation, second.generation} == {before.generation}
    assert first.remaining <= 0


async def test_a_suspension_renews_the_generation(fence: Fence) -> None:
    """It keeps the server unless another is given, and lasts as long as it says."""
    chosen = await fence.choose("a")
    began = time.monotonic()
    suspended = await fence.suspend(2)
    assert suspended.server == "a"
    assert suspended.generation != chosen.generation
    assert suspended.remaining <= 2
    assert (await fence.read()).generation == suspended.generation
    async with asyncio.timeout(60):
        while (await fence.read()).remaining > 0:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert time.monotonic() - began > 1.5


async def test_a_suspension_is_never_shortened(fence: Fence) -> None:
    """A shorter one leaves the end where it is, also when the server changes."""
    await fence.suspend(3000)
    moved = await fence.suspend(1, "b")
    assert moved.server == "b"
    assert moved.remaining > 2000
    assert (await fence.read()).remaining > 2000
