"""What real connections do to `/v2`: short, slow, broken and eager clients on a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from moorage.blobstore.memory import MemoryWriter
from moorage.distribution import Options
from moorage.oci import digest as digests
from tests.protocol.client import Client
from tests.protocol.registry import Registry
from tests.protocol.server import connected, request, serving

pytestmark = pytest.mark.anyio

REPO = "team/app"
START = f"/v2/{REPO}/blobs/uploads/"
BODY = bytes(range(250)) * 4000
DIGEST = digests.of(BODY)


@pytest.fixture
def basic(registry: Registry) -> str:
    """Credentials of a maintainer."""
    return registry.client("dev").authorization or ""


async def begin(dev: Client) -> str:
    """Open a session."""
    return (await dev.ask("POST", START, length=0)).location


async def offset(dev: Client, where: str) -> int:
    """How many bytes of a session are safe."""
    value = (await dev.ask("GET", where)).header("range") or ""
    return int(value.removeprefix("0-")) + 1 if value != "0-0" else 0


async def settled(dev: Client, where: str, least: int) -> int:
    """The offset, once it reached `least`."""
    for _ in range(1000):
        found = await offset(dev, where)
        if found >= least:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"only {found} bytes were kept")


async def test_a_body_that_stops_short(
    registry: Registry, dev: Client, basic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client closes within its body: what arrived is kept, and it goes on from there."""
    where = await begin(dev)
    original, arrived = MemoryWriter.write, asyncio.Event()

    async def write(self: MemoryWriter, data: bytes) -> None:
        await original(self, data)
        arrived.set()

    monkeypatch.setattr(MemoryWriter, "write", write)
    async with serving(registry.app) as port:
        async with connected(port) as wire:
            await wire.send(request("PATCH", where, basic, f"Content-Length: {len(BODY)}"))
            await wire.send(BODY[:300_000])
            await asyncio.wait_for(arrived.wait(), 60)
        kept = await settled(dev, where, 1)
        assert 0 < kept <= 300_000
        async with connected(port) as wire:
            rest = BODY[kept:]
            span = f"Content-Range: {kept}-{len(BODY) - 1}"
            head = request(
                "PUT", f"{where}?digest={DIGEST}", basic, span, f"Content-Length: {len(rest)}"
            )
            await wire.send(head, rest)
            reply = await wire.reply()
            assert (reply.status, reply.headers["docker-content-digest"]) == (201, DIGEST)
            await wire.send(request("GET", reply.headers["location"], basic))
            assert (await wire.reply()).body == BODY


async def test_a_push_in_one_request_that_stops_short(
    registry: Registry, dev: Client, basic: str
) -> None:
    """Half a blob is no blob, and its bytes do not stay."""
    async with serving(registry.app) as port, connected(port) as wire:
        await wire.send(request("POST", f"{START}?digest={DIGEST}", basic, "Content-Length: 5000"))
        await wire.send(BODY[:4000])
        await asyncio.sleep(0.1)
        await wire.close()
        for _ in range(1000):
            await asyncio.sleep(0.02)
            if not registry.store.objects:
                break
    assert (await dev.ask("HEAD", f"/v2/{REPO}/blobs/{DIGEST}")).status == 404


@pytest.mark.parametrize("drip", [False, True])
async def test_a_body_that_stands_still(
    registry: Registry, dev: Client, basic: str, drip: bool
) -> None:
    """A client that sends nothing, or a byte now and then, is given up and can resume."""
    where = await begin(dev)
    app = registry.reopened(Options(patience=1, min_rate=1000))
    async with serving(app) as port, connected(port) as wire:
        await wire.send(request("PATCH", where, basic, f"Content-Length: {len(BODY)}"))
        await wire.send(BODY[:10_000])

        async def trickle() -> None:
            for i in range(200):
                await asyncio.sleep(0.05)
                await wire.send(BODY[10_000 + i : 10_001 + i])

        trickling = asyncio.ensure_future(trickle()) if drip else None
        reply = await wire.reply()
        assert reply.status == 408
        if trickling:
            assert not trickling.done()  # it would go on for ten seconds, of which one is enough
            trickling.cancel()
    assert await settled(dev, where, 10_000) < 11_000


async def test_a_slow_store_is_not_the_clients_fault(
    registry: Registry, dev: Client, basic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience counts only the time that was spent waiting for the client."""
    where = await begin(dev)
    original, slow = MemoryWriter.write, 0

    async def write(self: MemoryWriter, data: bytes) -> None:
        nonlocal slow
        slow += 1
        if slow < 4:
            await asyncio.sleep(1.3)
        await original(self, data)

    monkeypatch.setattr(MemoryWriter, "write", write)
    app = registry.reopened(Options(patience=1, min_rate=1))
    async with serving(app) as port, connected(port) as wire:
        head = request("PATCH", where, basic, f"Content-Length: {len(BODY)}")
        await wire.send(head, BODY)
        assert (await wire.reply()).status == 202
    assert slow > 1


async def test_a_store_slows_its_client_down(
    registry: Registry, dev: Client, basic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing is written, nothing more than a few buffers is read."""
    where = await begin(dev)
    original, gate, taken = MemoryWriter.write, asyncio.Event(), 0

    async def write(self: MemoryWriter, data: bytes) -> None:
        nonlocal taken
        taken += len(data)
        await gate.wait()
        await original(self, data)

    monkeypatch.setattr(MemoryWriter, "write", write)
    async with serving(registry.app) as port, connected(port) as wire:
        size, sent = 64 << 20, 0
        wire.writer.transport.set_write_buffer_limits(high=1 << 16)
        await wire.send(request("PATCH", where, basic, f"Content-Length: {size}"))
        with suppress(TimeoutError):
            while sent < size:
                async with asyncio.timeout(0.5):
                    await wire.send(bytes(1 << 16))
                sent += 1 << 16
        assert sent < size // 2
        assert taken < 1 << 20
        gate.set()


async def test_requests_in_a_row_without_waiting(
    registry: Registry, dev: Client, basic: str
) -> None:
    """Pipelined requests are answered in their order, on one connection."""
    digest = await dev.push_image(REPO, "v1")
    async with serving(registry.app) as port, connected(port) as wire:
        await wire.send(
            request("GET", f"/v2/{REPO}/manifests/v1", basic)
            + request("HEAD", f"/v2/{REPO}/manifests/v1", basic)
            + request("GET", f"/v2/{REPO}/manifests/none", basic)
            + request("GET", "/v2/", None)
            + request("GET", f"/v2/{REPO}/manifests/{digest}", basic)
        )
        replies = [await wire.reply(head=i == 1) for i in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 404, 401, 200]
    assert replies[0].body == replies[4].body
    assert replies[1].headers["content-length"] == str(len(replies[0].body))


async def test_a_client_that_asks_first(registry: Registry, basic: str) -> None:
    """Expect: 100-continue gets its 100 when the bytes are wanted, else the refusal at once."""
    expect = ("Expect: 100-continue", f"Content-Length: {len(BODY)}")
    async with serving(registry.app) as port:
        async with connected(port) as wire:
            await wire.send(request("POST", f"{START}?digest={DIGEST}", basic, *expect))
            assert (await wire.reply()).status == 100
            await wire.send(BODY)
            assert (await wire.reply()).status == 201
        async with connected(port) as wire:
            await wire.send(request("POST", f"{START}?digest={DIGEST}", None, *expect))
            reply = await wire.reply()
            assert (reply.status, reply.headers["connection"]) == (401, "close")
            assert await wire.ended()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_refused_upload_is_read_to_its_end(
    registry: Registry, basic: str, method: str
) -> None:
    """The client sends everything, reads the 401, and the connection serves its next request."""
    target = START if method == "POST" else f"{START}00000000-0000-0000-0000-000000000000"
    async with serving(registry.app) as port, connected(port) as wire:
        body = BODY * 5
        await wire.send(request(method, target, None, f"Content-Length: {len(body)}"), body)
        reply = await wire.reply()
        assert reply.status == 401
        assert reply.headers["www-authenticate"].startswith("Bearer ")
        await wire.send(request("GET", "/v2/", basic))
        assert (await wire.reply()).status == 200


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_refused_upload_without_end(registry: Registry, chunked: bool) -> None:
    """Only so much is read: then the connection closes, after the answer was sent."""
    app = registry.reopened(Options(drain_bytes=1 << 20, drain_seconds=1))
    async with serving(app) as port, connected(port) as wire:
        form = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {1 << 40}"
        await wire.send(request("POST", START, None, form))
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (401, "close")
        block = b"10000\r\n" + bytes(1 << 16) + b"\r\n" if chunked else bytes(1 << 16)
        sent, most = 0, 64 << 20
        with suppress(ConnectionError):
            while sent < most:
                await wire.send(block)
                sent += len(block)
        assert sent < most


async def test_a_manifest_too_large_is_refused_before_it_is_sent(
    registry: Registry, basic: str
) -> None:
    """The announced length is enough to say 413."""
    async with serving(registry.app) as port, connected(port) as wire:
        head = ("Content-Type: application/json", f"Content-Length: {1 << 30}")
        await wire.send(request("PUT", f"/v2/{REPO}/manifests/v1", basic, *head))
        assert (await wire.reply()).status == 413


async def test_a_store_that_ends_early_breaks_the_connection(
    registry: Registry, dev: Client, basic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client never takes a truncated blob for a whole one."""
    digest = await dev.push_blob(REPO, BODY)

    async def half(key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        yield BODY[: len(BODY) // 2]

    monkeypatch.setattr(registry.store, "read", half)
    async with serving(registry.app) as port, connected(port) as wire:
        await wire.send(request("GET", f"/v2/{REPO}/blobs/{digest}", basic))
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.reply()


async def test_a_reader_that_leaves_stops_the_reading(
    registry: Registry, dev: Client, basic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read from the store for somebody who has gone, and it is let go of."""
    digest = await dev.push_blob(REPO, bytes(32 << 20))
    read, closed = 0, asyncio.Event()

    async def counted(key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        nonlocal read
        try:
            for _ in range(32):
                yield bytes(1 << 20)
                read += 1
        finally:
            closed.set()

    monkeypatch.setattr(registry.store, "read", counted)
    async with serving(registry.app) as port, connected(port) as wire:
        await wire.send(request("GET", f"/v2/{REPO}/blobs/{digest}", basic))
        await wire.reader.readexactly(100_000)
        await wire.close()
        async with asyncio.timeout(60):
            await closed.wait()
    assert read < 30


@pytest.mark.parametrize(
    "target", ["/v2/team/\xff/manifests/v1", "/v2/team/a b/manifests/v1", "/v2/\x00"]
)
async def test_targets_that_are_no_targets(registry: Registry, basic: str, target: str) -> None:
    """Raw bytes that no URL holds get a 4xx, from the server or from us."""
    async with serving(registry.app) as port, connected(port) as wire:
        await wire.send(request("GET", target, basic))
        assert (await wire.reply()).status in (400, 404, 405)
