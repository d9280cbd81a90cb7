"""Readers of a blob that a cache does not keep: they come and go, also while it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from moorage.proxy import downloads
from moorage.remotes import Remote
from tests.protocol.proxycache import APP, THERE, Cache
from tests.protocol.registry import Registry
from tests.support.content import sha256
from tests.support.otherregistry import OtherRegistry

pytestmark = pytest.mark.anyio
DATA = bytes(range(256)) * 40_000
DIGEST = sha256(DATA)


@pytest.fixture
async def cache(registry: Registry) -> AsyncIterator[Cache]:
    """One that is full, of a registry that stops after the first byte of a blob."""
    async with OtherRegistry().serving() as other:
        other.push(THERE, "v1", layers=(DATA,))
        made = await Cache(registry, other).fill()
        await made.get("manifests/v1")
        await made.full()
        other.pause = asyncio.Event()
        yield made
        await made.through.close()


async def reader(cache: Cache) -> Any:
    """One that has the first byte."""
    found = cache.through.content(await cache.through.blob(APP, DIGEST), 0, len(DATA))
    assert await anext(found) == DATA[:1]
    return found


async def rest(found: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in found])


def go_on(cache: Cache) -> None:
    """Let the registry behind send the rest."""
    assert cache.other.pause is not None
    cache.other.pause.set()


def fetched(cache: Cache) -> float:
    """Bytes of downloads that have ended."""
    return cache.counted("moorage_proxy_fetched_bytes_total")


async def until(there: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not there():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("linger", [0.0, 3600.0])
async def test_nothing_is_fetched_for_readers_that_left(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, linger: float
) -> None:
    """Once they had the time to come back, as one does that reads range by range."""
    monkeypatch.setattr(downloads, "LINGER", linger)
    await (await reader(cache)).aclose()
    go_on(cache)
    await until(lambda: fetched(cache))
    assert (fetched(cache) < len(DATA)) is (linger == 0)
    assert cache.counted("moorage_proxy_unkept_total", reason="quota") == (linger > 0)


async def test_a_reader_is_enough(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was the first one or came later."""
    monkeypatch.setattr(downloads, "LINGER", 0.0)
    first, second = await reader(cache), await reader(cache)
    await first.aclose()
    go_on(cache)
    assert await rest(second) == DATA[1:]
    assert len(cache.other.asked("GET", DIGEST)) == 1


async def test_who_comes_when_the_last_one_has_left_gets_another_download(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the failure of the one that ends, which takes nothing from the next one."""
    monkeypatch.setattr(downloads, "LINGER", 0.0)
    whole, closing, closed = Remote.blob, asyncio.Event(), asyncio.Event()

    async def blob(self: Remote, *arguments: Any, **more: Any) -> AsyncIterator[bytes]:
        try:
            async for part in whole(self, *arguments, **more):
                yield part
        finally:
            closing.set()
            await closed.wait()

    monkeypatch.setattr(Remote, "blob", blob)
    await (await reader(cache)).aclose()
    go_on(cache)
    await asyncio.wait_for(closing.wait(), 60)
    cache.other.pause = asyncio.Event()
    second = await reader(cache)
    assert not fetched(cache)
    closed.set()
    await until(lambda: fetched(cache))
    third = await reader(cache)
    go_on(cache)
    assert [await rest(second), await rest(third)] == [DATA[1:]] * 2
    assert len(cache.other.asked("GET", DIGEST)) == 2
