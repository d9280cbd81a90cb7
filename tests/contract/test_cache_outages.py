"""Redis is killed, hangs, forgets, is demoted: slower, never wrong, and well again by itself."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from tests.support.caching import (
    CALM,
    HASTY,
    NUMBER,
    Loads,
    calm_cache,
    look_up,
    pump,
    shared_cache,
    until_healthy,
)
from tests.support.fences import MemoryFence
from tests.support.redis_server import RedisServer
from tools.ports import free_port

from moorage.cache.redis import RedisCache
from moorage.errors import DatabaseUnavailable

pytestmark = pytest.mark.anyio

KEY = NUMBER.key("a")


@pytest.fixture
def fence() -> MemoryFence:
    """What both replicas look at."""
    return MemoryFence()


@pytest.fixture
async def replicas(
    own_redis: RedisServer, fence: MemoryFence
) -> AsyncIterator[tuple[RedisCache, RedisCache]]:
    """Two replicas on one Redis."""
    pair = shared_cache(own_redis.url, fence), shared_cache(own_redis.url, fence)
    await until_healthy(*pair)
    yield pair
    for cache in pair:
        await cache.close()


async def write(cache: RedisCache, loads: Loads, value: int) -> float:
    """A whole write; how many seconds it took."""
    began = time.monotonic()
    await cache.before_commit([KEY])
    loads.value = value
    await cache.after_commit([KEY])
    return time.monotonic() - began


async def hits(cache: RedisCache, loads: Loads) -> bool:
    """Whether a second read is answered without the database."""
    await look_up(cache, loads)
    await pump(cache)
    before = loads.count
    assert await look_up(cache, loads) == loads.value
    return loads.count == before


async def until_hits(*caches: RedisCache, loads: Loads, seconds: float = 60) -> None:
    """Wait until each cache answers from Redis again."""
    deadline = time.monotonic() + seconds
    for cache in caches:
        while not await hits(cache, loads):
            assert time.monotonic() < deadline, cache.health()
            await asyncio.sleep(0.05)


async def test_replicas_share_values_and_writes(own_redis: RedisServer, fence: MemoryFence) -> None:
    """What one replica loaded the other reads, until one of them writes."""
    one, two = calm_cache(own_redis.url, fence), calm_cache(own_redis.url, fence)
    await until_healthy(one, two)
    loads = Loads(1)
    await until_hits(one, loads=loads)
    before = loads.count
    assert await look_up(two, loads) == 1
    assert loads.count == before
    await write(two, loads, 2)
    assert await look_up(one, loads) == 2
    for cache in (one, two):
        await cache.close()


async def test_a_killed_redis_costs_no_answer(
    own_redis: RedisServer, replicas: tuple[RedisCache, RedisCache], fence: MemoryFence
) -> None:
    """Reads go to the database at once; the first write waits for the replicas, the next do not."""
    one, two = replicas
    loads = Loads(1)
    await until_hits(one, loads=loads)
    own_redis.kill()
    async with asyncio.timeout(60):  # there is no Redis to wait for
        assert await look_up(two, loads) == 1
    first = await write(one, loads, 2)
    assert await look_up(two, loads) == 2
    assert fence.suspensions > 0
    assert median([await write(one, loads, value) for value in range(3, 9)]) < first
    assert one.health()["status"] == "degraded"
    assert two.health()["status"] == "degraded"
    own_redis.start()
    await until_healthy(one, two)
    await until_hits(one, two, loads=loads)
    assert min([await write(two, loads, value) for value in (8, 9, 10)]) < HASTY.wait
    assert await look_up(one, loads) == 10


async def test_a_writer_looks_at_the_fence_when_the_watch_could_not(
    own_redis: RedisServer, fence: MemoryFence
) -> None:
    """A database that was silent kept the watch; the first write after that suspends nobody."""
    pace = replace(CALM, trust=2.0, wait=2.5)
    cache = shared_cache(own_redis.url, fence, pace, timeout_ms=5000)
    await until_healthy(cache)
    loads = Loads(1)
    held = fence.stuck = asyncio.Event()  # as a look whose connection leads nowhere
    await asyncio.sleep(pace.trust * 1.5)
    assert fence.stuck is not held
    assert cache.health()["status"] == "degraded"
    await write(cache, loads, 2)
    assert fence.suspensions == 0
    assert await look_up(cache, loads) == 2
    held.set()
    await cache.close()


async def test_a_hung_redis_delays_one_read_at_most(
    own_redis: RedisServer, replicas: tuple[RedisCache, RedisCache]
) -> None:
    """A read waits for its budget, the next ones not at all; a write is seen when Redis wakes."""
    one, two = replicas
    loads = Loads(1)
    await until_hits(one, two, loads=loads)
    own_redis.hang()
    try:
        async with asyncio.timeout(60):  # Redis itself would never answer
            assert await look_up(one, loads) == 1
        before, taken = loads.count, []
        for _ in range(50):
            began = time.monotonic()
            await look_up(one, loads)
            taken.append(time.monotonic() - began)
        assert loads.count == before + 50
        assert median(taken) < 0.05  # half a budget
        await write(one, loads, 2)
    finally:
        own_redis.resume()
    for _ in range(100):
        assert await look_up(two, loads) == 2
        await asyncio.sleep(0.005)
    await until_hits(one, two, loads=loads)


async def test_a_writer_cut_off_alone_is_seen_by_the_others(
    own_redis: RedisServer, replicas: tuple[RedisCache, RedisCache], fence: MemoryFence
) -> None:
    """A replica without Redis writes; the one that still has it must not answer from it."""
    _, two = replicas
    loads = Loads(1)
    await until_hits(two, loads=loads)
    alone = shared_cache(f"redis://127.0.0.1:{free_port()}", fence)
    try:
        await write(alone, loads, 2)
        assert await look_up(two, loads) == 2
        assert min([await write(alone, loads, value) for value in (5, 4, 3)]) < HASTY.wait
        assert await look_up(two, loads) == 3
    finally:
        await alone.close()
    await until_hits(two, loads=loads)


async def test_a_flush_in_the_middle_of_a_write_keeps_nothing_old(
    own_redis: RedisServer, fence: MemoryFence
) -> None:
    """The mark is lost before the commit; a reader that reads the old row leaves nothing."""
    pace = replace(CALM, settle=60)  # which the commit must not outlast
    one, two = (shared_cache(own_redis.url, fence, pace, timeout_ms=5000) for _ in range(2))
    await until_healthy(one, two)
    loads = Loads(1)
    await until_hits(one, two, loads=loads)
    await one.before_commit([KEY])
    own_redis.flush()
    assert not await hits(two, loads)  # nothing is filled while a mark may have been lost
    loads.gate.clear()
    slow = asyncio.create_task(look_up(two, loads))
    await pump(two)
    loads.value = 2
    await one.after_commit([KEY])
    loads.gate.set()
    await slow
    await pump(two)
    assert await look_up(one, loads) == 2
    assert await look_up(two, loads) == 2
    for cache in (one, two):
        await cache.close()


async def test_an_evicted_mark_keeps_nothing_old(
    own_redis: RedisServer, fence: MemoryFence
) -> None:
    """Redis drops the mark alone; a reader keeps the old row, and the writer deletes that."""
    one, two = calm_cache(own_redis.url, fence), calm_cache(own_redis.url, fence)
    await until_healthy(one, two)
    loads = Loads(1)
    await until_hits(one, two, loads=loads)
    await one.before_commit([KEY])
    own_redis.command("DEL", f"{{moorage}}:{fence.generation}:{KEY}")
    assert await hits(two, loads)
    loads.value = 2
    await one.after_commit([KEY])
    assert await look_up(two, loads) == 2
    for cache in (one, two):
        await cache.close()


async def test_what_another_version_kept_is_loaded_anew(
    own_redis: RedisServer, replicas: tuple[RedisCache, RedisCache], fence: MemoryFence
) -> None:
    """A value that cannot be decoded is as good as none, and is replaced."""
    one, _ = replicas
    loads = Loads(1)
    own_redis.command("SET", f"{{moorage}}:{fence.generation}:{KEY}", "Vno number")
    assert await look_up(one, loads) == 1
    await until_hits(one, loads=loads)


async def test_a_demoted_redis_is_left(
    own_redis: RedisServer,
    replicas: tuple[RedisCache, RedisCache],
    tmp_path: Path,
) -> None:
    """A replica of another server refuses marks; readers leave it too, and come back later."""
    one, two = replicas
    loads = Loads(1)
    await until_hits(one, two, loads=loads)
    other = RedisServer(tmp_path / "other").start()
    try:
        own_redis.demote(other.port)
        await write(one, loads, 2)
        assert await look_up(two, loads) == 2
        own_redis.demote(0)
        await until_hits(one, two, loads=loads)
    finally:
        other.kill()


async def test_a_restarted_redis_brings_nothing_back(
    own_redis: RedisServer, replicas: tuple[RedisCache, RedisCache]
) -> None:
    """What a restart restores from disk is of another time and is never read."""
    one, two = replicas
    loads = Loads(1)
    await until_hits(one, loads=loads)
    assert "OK" in own_redis.command("SAVE")
    await write(one, loads, 2)
    own_redis.kill()
    own_redis.start()
    for _ in range(20):
        assert await look_up(two, loads) == 2
        await asyncio.sleep(0.02)
    await until_hits(one, two, loads=loads)


async def test_without_redis_and_database_a_write_fails(
    own_redis: RedisServer, replicas: tuple[RedisCache, RedisCache], fence: MemoryFence
) -> None:
    """Nobody can be told, so the transaction must not commit; readers stop using Redis too."""
    one, two = replicas
    loads = Loads(1)
    await until_hits(one, two, loads=loads)
    fence.broken = True
    own_redis.kill()
    with pytest.raises(DatabaseUnavailable):
        await one.before_commit([KEY])
    await one.close()


async def test_a_lost_fence_stops_the_use_of_redis(
    replicas: tuple[RedisCache, RedisCache], fence: MemoryFence
) -> None:
    """A replica that cannot see suspensions does not read what others may have stopped reading."""
    one, _ = replicas
    loads = Loads(1)
    await until_hits(one, loads=loads)
    fence.broken = True
    await asyncio.sleep(HASTY.trust + 0.1)
    assert not await hits(one, loads)
    assert one.health()["status"] == "degraded"
    fence.broken = False
    await until_hits(one, loads=loads)


async def test_a_dead_writers_mark_vanishes(own_redis: RedisServer, fence: MemoryFence) -> None:
    """A writer that dies between mark and commit keeps readers at the database only for a while."""
    pace = type(HASTY)(**{**HASTY.__dict__, "mark": 3.0})
    one, two = (shared_cache(own_redis.url, fence, pace) for _ in range(2))
    await until_healthy(one, two)
    loads = Loads(1)
    await one.before_commit([KEY])
    await one.close()
    assert not await hits(two, loads)
    await until_hits(two, loads=loads)
    await two.close()


_OTHER = """
import asyncio, sys
from tests.support.caching import NUMBER, Loads, calm_cache, until_healthy
from tests.support.fences import MemoryFence

async def main(url, generation, server):
    fence = MemoryFence()
    fence.generation, fence.server = generation, server
    cache = calm_cache(url, fence)
    await until_healthy(cache)
    for line in sys.stdin:
        print(await cache.through(NUMBER, "number:a", Loads(int(line))), flush=True)
    await cache.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def here() -> Path:
    """The folder from which the other process finds these tests."""
    return Path(__file__).parents[2]


async def test_another_process_reads_what_this_one_kept(
    own_redis: RedisServer, fence: MemoryFence, here: Path
) -> None:
    """Values, marks and deletes pass between processes."""
    cache = calm_cache(own_redis.url, fence)
    await until_healthy(cache)
    loads = Loads(1)
    await until_hits(cache, loads=loads)
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _OTHER, own_redis.url, fence.generation, fence.server),
        cwd=here,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdin is not None
    assert other.stdout is not None

    async def ask(row: int) -> int:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(b"%d\n" % row)
        return int(await other.stdout.readline())

    try:
        assert await ask(99) == 1  # kept by this process, so the row is not asked for
        await cache.before_commit([KEY])
        assert await ask(98) == 98  # marked: the row is
        await cache.after_commit([KEY])
        assert await ask(97) == 97
        assert await look_up(cache, loads) == 97  # filled by the other
    finally:
        other.stdin.close()
        await other.wait()
        await cache.close()
