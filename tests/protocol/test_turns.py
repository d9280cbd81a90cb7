"""Large answers that are sent at the same time, to clients that read as fast as they are sent."""

import asyncio
import base64
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message

from moorage.distribution.turns import AT_ONCE, Turns
from tests.protocol.client import Client
from tests.protocol.registry import PASSWORD, Registry

pytestmark = pytest.mark.anyio

REPO = "team/app"
PIECES = 32
CROWD = 8


async def fetch(registry: Registry, digest: str, told: Callable[[int], None]) -> None:
    """A blob, by a client who never makes the server wait; `told` hears of each piece."""
    pair = base64.b64encode(f"dev:{PASSWORD}".encode())
    path = f"/v2/{REPO}/blobs/{digest}"
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"registry.test"), (b"authorization", b"Basic " + pair)],
        "client": ("203.0.113.7", 4711),
        "extensions": {},
    }

    async def receive() -> Message:
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits that long")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            told(len(message["body"]))

    await registry.app(scope, receive, send)


async def test_who_comes_late_does_not_wait_for_those_who_came_before(
    registry: Registry, dev: Client
) -> None:
    """The first byte is there while all others are in the middle, and they are side by side."""
    large = await dev.push_blob(REPO, b"x" * (PIECES << 20))
    small = await dev.push_blob(REPO, b"small")
    for digest in (large, small):  # what is known of it, and of the caller, is in memory
        assert (await dev.ask("HEAD", f"/v2/{REPO}/blobs/{digest}")).status == 200
    got: Counter[int] = Counter()
    seen: list[Counter[int]] = []

    def counts(number: int) -> Callable[[int], None]:
        return lambda size: got.update({number: 1 if size else 0})

    crowd = [asyncio.create_task(fetch(registry, large, counts(each))) for each in range(CROWD)]
    async with asyncio.timeout(120):
        while len(got) < CROWD:  # noqa: ASYNC110 - each has its first piece
            await asyncio.sleep(0)
        late = asyncio.create_task(fetch(registry, small, lambda size: seen.append(Counter(got))))
        await asyncio.gather(late, *crowd)
    assert dict(got) == dict.fromkeys(range(CROWD), PIECES)
    (then,) = seen
    assert max(then.values()) < PIECES
    assert max(then.values()) - min(then.values()) <= 2


async def test_a_turn_that_nobody_takes_any_more_holds_nobody_up() -> None:
    """A client left while its next piece was due."""
    turns = Turns()
    order: list[int] = []

    async def one(number: int) -> None:
        with turns.sending():
            await asyncio.sleep(0)
            await turns.take()
            order.append(number)

    tasks = [asyncio.create_task(one(each)) for each in range(AT_ONCE * 3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[1].cancel()
    async with asyncio.timeout(120):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, *range(2, AT_ONCE * 3)]
