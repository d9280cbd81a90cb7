"""Replicas of a cache: one of them downloads a blob, as far as they know of one another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from moorage.artifacts.uploads import Uploads
from moorage.config.redis import RedisSettings
from moorage.errors import StorageFull
from moorage.proxy import Alone, RedisLeases, Turn
from tests.protocol.proxycache import THERE, Cache
from tests.protocol.registry import Registry
from tests.support.content import sha256
from tests.support.otherregistry import OtherRegistry
from tests.support.redis_server import RedisServer
from tests.support.requirements import require

pytestmark = pytest.mark.anyio
DATA = bytes(range(256)) * 4000


@pytest.fixture
async def other() -> AsyncIterator[OtherRegistry]:
    async with OtherRegistry().serving() as found:
        found.push(THERE, "v1", layers=(DATA,))
        yield found


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


@pytest.fixture
def redis(tmp_path: Path) -> RedisServer:
    require("redis-server")
    return RedisServer(tmp_path / "redis").start()


async def leases(redis: RedisServer) -> RedisLeases:
    """Of one replica, connected."""
    made = RedisLeases(RedisSettings(url=redis.url))
    async with asyncio.timeout(60):
        while not made.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return made


async def replicas(
    registry: Registry, other: OtherRegistry, stack: AsyncExitStack, *turns: Turn
) -> list[Cache]:
    """So many replicas of one cache, which have the manifest."""
    first = await Cache(registry, other).fill()
    await first.get("manifests/v1")
    await first.through.close()
    found = []
    for turn in turns:
        made = Cache(registry, other).open(turn)
        stack.push_async_callback(made.through.close)
        found.append(made)
    return found


async def until(there: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not there():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def get(cache: Cache) -> asyncio.Task[bytes]:
    async def body() -> bytes:
        answer = await cache.get(f"blobs/{sha256(DATA)}")
        assert answer.status == 200
        return bytes(answer.body)

    return asyncio.create_task(body())


async def test_one_download_for_all_replicas(
    registry: Registry, other: OtherRegistry, stack: AsyncExitStack, redis: RedisServer
) -> None:
    """The second one waits, and has it as soon as the first one stored it."""
    stack.callback(redis.kill)
    turns = [Turn(await leases(redis), 20) for _ in range(2)]
    one, two = await replicas(registry, other, stack, *turns)
    other.pause = asyncio.Event()
    first = get(one)
    await until(lambda: other.asked("GET", sha256(DATA)))
    others = [get(two) for _ in range(4)]
    await asyncio.sleep(0.5)  # long enough to ask, if it would
    assert not any(each.done() for each in others)
    other.pause.set()
    other.pause = None
    assert {await each for each in (first, *others)} == {DATA}
    assert len(other.asked("GET", sha256(DATA))) == 1


async def test_a_replica_waits_for_no_longer_than_it_may(
    registry: Registry, other: OtherRegistry, stack: AsyncExitStack, redis: RedisServer
) -> None:
    """A download elsewhere that does not come on holds nobody up for ever."""
    stack.callback(redis.kill)
    turns = [Turn(await leases(redis), 20), Turn(await leases(redis), 0.3)]
    one, two = await replicas(registry, other, stack, *turns)
    other.pause = asyncio.Event()
    first = get(one)
    await until(lambda: other.asked("GET", sha256(DATA)))
    stuck, other.pause = other.pause, None
    assert await get(two) == DATA
    assert not first.done()
    stuck.set()
    assert await first == DATA


async def test_what_a_dead_replica_began_is_taken_over(
    registry: Registry, other: OtherRegistry, stack: AsyncExitStack, redis: RedisServer
) -> None:
    """One that ends in the middle leaves the lease to the next."""
    stack.callback(redis.kill)
    turns = [Turn(await leases(redis), 20) for _ in range(2)]
    one, two = await replicas(registry, other, stack, *turns)
    other.pause = asyncio.Event()
    first = get(one)
    await until(lambda: other.asked("GET", sha256(DATA)))
    second = get(two)
    other.pause = None
    await one.through.close()
    assert await second == DATA
    await asyncio.gather(first, return_exceptions=True)


@pytest.mark.parametrize("known", [True, False])
async def test_without_redis_each_replica_downloads(
    registry: Registry,
    other: OtherRegistry,
    stack: AsyncExitStack,
    redis: RedisServer,
    known: bool,
) -> None:
    """Whether there is none, or it went away: the same bytes, at the price of a download."""
    turns = [Turn(await leases(redis) if known else Alone(), 20) for _ in range(2)]
    redis.kill()
    one, two = await replicas(registry, other, stack, *turns)
    other.pause = asyncio.Event()
    both = [get(one), get(two)]
    await until(lambda: len(other.asked("GET", sha256(DATA))) == 2)
    other.pause.set()
    other.pause = None
    assert [await each for each in both] == [DATA, DATA]
    assert (await two.get(f"blobs/{sha256(DATA)}")).body == DATA


class Counted(Alone):
    """Leases that another replica holds, or leaves to this one."""

    def __init__(self, ours: bool) -> None:
        self.ours = ours
        self.log: list[str] = []

    async def take(self, key: str) -> bool:
        self.log.append("take")
        return self.ours

    async def free(self, key: str) -> None:
        self.log.append("free")


async def test_nobody_waits_for_a_lease_to_store_nothing(
    registry: Registry, other: OtherRegistry, stack: AsyncExitStack
) -> None:
    """What the quota has no room for is fetched at once."""
    leases = Counted(ours=False)
    (one,) = await replicas(registry, other, stack, Turn(leases, 3600))
    await one.full()
    assert await asyncio.wait_for(get(one), 60) == DATA
    assert leases.log == []


async def test_nobody_holds_a_lease_who_stores_nothing(
    registry: Registry,
    other: OtherRegistry,
    stack: AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is free as soon as the store has refused."""
    leases = Counted(ours=True)
    (one,) = await replicas(registry, other, stack, Turn(leases, 3600))

    async def refusing(*arguments: object, **more: object) -> None:
        raise StorageFull("full")

    monkeypatch.setattr(Uploads, "push", refusing)
    stuck = other.pause = asyncio.Event()
    waiting = get(one)
    await until(lambda: leases.log == ["take", "free"])
    assert not waiting.done()
    stuck.set()
    assert await waiting == DATA
