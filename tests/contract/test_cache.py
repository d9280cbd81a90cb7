"""What every cache promises, in memory and in Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.caching import NUMBER, Loads, calm_cache, look_up, pump, until_healthy
from tests.support.fences import MemoryFence

from moorage.cache.base import Cache
from moorage.cache.local import LocalCache
from moorage.clock import SystemClock

pytestmark = pytest.mark.anyio

KEY = NUMBER.key("a")


@pytest.fixture(params=["local", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    """A cache that is ready."""
    if request.param == "local":
        made: Cache = LocalCache(SystemClock(), entries=100, size=10**6, expire_seconds=60)
    else:
        server = request.getfixturevalue("redis_server")
        made = calm_cache(server.url, MemoryFence())
        await until_healthy(made)
        await pump(made)
    yield made
    await made.close()


async def write(cache: Cache, loads: Loads, value: int | None) -> None:
    """A whole write."""
    await cache.before_commit([KEY])
    loads.value = value
    await cache.after_commit([KEY])


async def test_a_value_is_loaded_once(cache: Cache) -> None:
    """The second reader gets what the first one loaded."""
    loads = Loads()
    assert [await look_up(cache, loads) for _ in range(3)] == [1, 1, 1]
    assert loads.count == 1


async def test_absence_is_never_kept(cache: Cache) -> None:
    """What is not there is asked for each time."""
    loads = Loads(None)
    assert await look_up(cache, loads) is None
    loads.value = 5
    assert await look_up(cache, loads) == 5


async def test_readers_of_one_key_share_one_load(cache: Cache) -> None:
    """Readers that come while a load runs wait for it, if nobody has written since."""
    loads = Loads()
    loads.gate.clear()
    first = asyncio.create_task(look_up(cache, loads))
    await pump(cache)
    others = [asyncio.create_task(look_up(cache, loads)) for _ in range(20)]
    await pump(cache)
    loads.gate.set()
    assert set(await asyncio.gather(first, *others)) == {1}
    assert loads.count == 1


async def test_a_failed_load_fails_all_who_wait_and_nobody_after(cache: Cache) -> None:
    """A failure is told to everybody who shared the load, and is not kept."""
    gate = asyncio.Event()

    async def fails() -> int:
        await gate.wait()
        raise LookupError("no")

    tasks = [asyncio.create_task(look_up(cache, fails)) for _ in range(3)]
    await pump(cache)
    gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    assert await look_up(cache, Loads(7)) == 7


async def test_a_reader_that_goes_away_stops_nobody(cache: Cache) -> None:
    """Cancelling the reader that began a load leaves it to the others."""
    loads = Loads()
    loads.gate.clear()
    tasks = [asyncio.create_task(look_up(cache, loads)) for _ in range(3)]
    await pump(cache)
    tasks[0].cancel()
    await pump(cache)
    loads.gate.set()
    assert await asyncio.gather(*tasks[1:]) == [1, 1]
    assert loads.count == 1


async def test_a_load_that_a_write_overtook_is_not_kept(cache: Cache) -> None:
    """A slow reader answers with what it read, and leaves nothing behind."""
    loads = Loads(1)
    loads.gate.clear()
    slow = asyncio.create_task(look_up(cache, loads))
    await pump(cache)
    await write(cache, loads, 2)
    loads.gate.set()
    assert await slow == 1
    await pump(cache)
    assert await look_up(cache, loads) == 2


async def test_nothing_is_read_or_kept_under_a_mark(cache: Cache) -> None:
    """Between `before_commit` and `after_commit` every reader asks the database."""
    loads = Loads(1)
    await look_up(cache, loads)
    await cache.before_commit([KEY])
    assert cache.peek(NUMBER, KEY) is None
    assert await look_up(cache, loads) == 1
    loads.value = 2
    assert await look_up(cache, loads) == 2
    await cache.after_commit([KEY])
    assert loads.count == 3
    assert await look_up(cache, loads) == 2


async def test_a_load_from_before_the_mark_is_not_kept_under_it(cache: Cache) -> None:
    """It ends while a writer is about to commit, and must not hide the commit from readers."""
    loads = Loads(1)
    loads.gate.clear()
    slow = asyncio.create_task(look_up(cache, loads))
    await pump(cache)
    await cache.before_commit([KEY])
    loads.gate.set()
    assert await slow == 1
    await pump(cache)
    loads.value = 2
    assert await look_up(cache, loads) == 2
    await cache.after_commit([KEY])


async def test_a_rollback_leaves_the_old_value(cache: Cache) -> None:
    """A write that did not commit costs one load."""
    loads = Loads(1)
    await look_up(cache, loads)
    await write(cache, loads, 1)
    assert [await look_up(cache, loads) for _ in range(2)] == [1, 1]
    assert loads.count == 2


async def test_the_first_writer_leaves_the_mark_of_the_second(cache: Cache) -> None:
    """While one of two overlapping writers is about to commit, nothing is kept."""
    loads = Loads(1)
    await cache.before_commit([KEY])
    await cache.before_commit([KEY])
    await cache.after_commit([KEY])
    for _ in range(2):
        assert await look_up(cache, loads) == 1
    assert loads.count == 2
    await cache.after_commit([KEY])
    for _ in range(2):
        assert await look_up(cache, loads) == 1
    assert loads.count == 3


async def test_an_unknown_outcome_leaves_the_mark(cache: Cache) -> None:
    """A commit that may still happen keeps readers at the database."""
    loads = Loads(1)
    await cache.before_commit([KEY])
    await cache.after_commit([KEY], settled=False)
    for _ in range(2):
        assert await look_up(cache, loads) == 1
    assert loads.count == 2


async def test_writers_touch_many_keys_at_once(cache: Cache) -> None:
    """All keys of a write are marked and lifted together."""
    keys = [NUMBER.key(number) for number in range(1000)]
    loads = Loads(1)
    await cache.through(NUMBER, keys[0], loads)
    await cache.through(NUMBER, keys[999], loads)
    await cache.before_commit(keys)
    loads.value = 2
    await cache.after_commit(keys)
    assert await cache.through(NUMBER, keys[0], loads) == 2
    assert await cache.through(NUMBER, keys[999], loads) == 2
