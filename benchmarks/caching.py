"""The proxy cache beside its upstream: the first byte of a large blob, and all of it, for many.

python -m benchmarks.caching --clients 64 --size 256     MiB of each blob

Nobody has pulled any of the blobs yet: one client takes some alone, then many take one together,
from the upstream itself and through the cache, by turns. Then the upstream is stopped, and all pull
once more.
"""

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.support.content import sha256
from tests.support.peers import DockerRegistry
from tests.support.serving import Registry
from tests.support.sites import made, moorage, register, remote

from benchmarks.replication import MIB, push
from benchmarks.report import machine
from benchmarks.usage import peak_mib
from moorage.remotes import Remote

BUFFER = 1 << 20
SINGLES, SINGLE = 20, 8
"""Blobs that one client pulls alone, and MiB of each."""


@dataclass(frozen=True)
class Place:
    """Where clients pull from."""

    name: str
    port: int
    prefix: str
    authorization: str = ""

    def request(self, repository: str, digest: str) -> bytes:
        """The request for a blob."""
        head = f"GET /v2/{self.prefix}{repository}/blobs/{digest} HTTP/1.1\r\nhost: localhost\r\n"
        sign = f"authorization: {self.authorization}\r\n" if self.authorization else ""
        return f"{head}{sign}connection: close\r\n\r\n".encode()


async def pull(place: Place, repository: str, digest: str, size: int) -> tuple[float, float]:
    """Seconds to the first byte of a blob, and to its last, from before the connection on."""
    loop = asyncio.get_running_loop()
    buffer = bytearray(BUFFER)
    with socket.socket() as client:
        client.setblocking(False)
        began = time.monotonic()
        await loop.sock_connect(client, ("127.0.0.1", place.port))
        await loop.sock_sendall(client, place.request(repository, digest))
        head = b""
        while b"\r\n\r\n" not in head or head.endswith(b"\r\n\r\n"):
            count = await loop.sock_recv_into(client, buffer)
            assert count, head
            head += buffer[:count]
        first = time.monotonic() - began
        assert head.startswith(b"HTTP/1.1 200"), head[:300]
        got = len(head) - head.index(b"\r\n\r\n") - 4
        while count := await loop.sock_recv_into(client, buffer):
            got += count
            await asyncio.sleep(0)  # the others of this process read as well
        assert got == size, (got, size)
        return first, time.monotonic() - began


def row(clients: int, place: str, size: int, found: Sequence[tuple[float, float]]) -> str:
    """Of the table; clients that pulled at once, or one after the other."""
    firsts = sorted(first * 1000 for first, _ in found)
    high = firsts[min(len(firsts) - 1, round(len(firsts) * 0.95))]
    longest = max(last for _, last in found)
    rate = clients * size / longest / MIB
    return (
        f"| {clients} | {place} | {statistics.median(firsts):.1f} ms | {high:.1f} ms "
        f"| {longest:.2f} s | {rate:,.0f} MiB/s |"
    )


async def fetched(site: Registry) -> int:
    """Bytes that the cache has fetched so far."""
    text = await asyncio.to_thread(_metrics, site)
    lines = [line for line in text.splitlines() if line.startswith("moorage_proxy_fetched_bytes")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines if "_created" not in line))


def _metrics(site: Registry) -> str:
    with urllib.request.urlopen(f"{site.url}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


async def compare(options: argparse.Namespace, folder: Path) -> None:
    """By turns."""
    with ExitStack() as stack:
        site = moorage(folder / "site")
        stack.enter_context(site.running())
        peer = DockerRegistry(folder / "peer").start()
        stack.callback(peer.stop)
        there, here = remote(f"http://{peer.host}"), remote(site)
        pair = b64encode(f"{site.username}:{site.password}".encode()).decode()
        direct = Place("upstream", peer.port, "")
        through = Place("cache", site.port, "cache/", f"Basic {pair}")
        number = register(site, "peer", "docker-registry", f"http://{peer.host}")
        made(site, "/projects", {"project_name": "cache", "registry_id": number})
        small, large = SINGLE * MIB, int(options.size * MIB)
        singles = [(f"one-{turn}", small) for turn in range(SINGLES)]
        crowds = [(f"many-{turn}", large) for turn in range(options.rounds)]
        kept = {name: await image(there, here, name, size) for name, size in (*singles, *crowds)}
        alone: dict[str, list[tuple[float, float]]] = {}
        for name, size in singles:
            for place in (direct, through):
                took = await pull(place, f"library/{name}", kept[name], size)
                alone.setdefault(place.name, []).append(took)
        for place in (direct, through):
            print(row(1, place.name, small, alone[place.name]), flush=True)
        for name, size in crowds:
            for place in (direct, through):
                works = (
                    pull(place, f"library/{name}", kept[name], size) for _ in range(options.clients)
                )
                print(row(options.clients, place.name, size, await asyncio.gather(*works)))
        moved = await fetched(site)
        peer.stop()
        name, size = crowds[-1]
        works = (pull(through, f"library/{name}", kept[name], size) for _ in range(options.clients))
        found = await asyncio.gather(*works)
        print(row(options.clients, "cache, upstream stopped", size, found))
        total = len(singles) * small + len(crowds) * large
        print(f"\nFetched {moved / MIB:.0f} MiB for blobs of {total / MIB:.0f} MiB;")
        print(f"memory of the cache at most {peak_mib([site.pid]):.0f} MiB")
        await there.close()
        await here.close()


async def image(there: Remote, here: Remote, name: str, size: int) -> str:
    """An image of which the cache knows the manifest and no blob; its layer's digest."""
    data = os.urandom(size)
    await push(there, f"library/{name}", "v1", [data])
    await here.manifest(f"cache/library/{name}", "v1")
    return sha256(data)


def main() -> None:
    """In a folder of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.caching", description=__doc__)
    parser.add_argument("--size", type=float, default=256, help="MiB of each blob")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    folder = Path(tempfile.mkdtemp(prefix="caching-"))
    try:
        print(machine())
        print("| clients | from | first byte, median | p95 | all of it | together |")
        print("|---:|---|---:|---:|---:|---:|")
        asyncio.run(compare(parser.parse_args(), folder))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
