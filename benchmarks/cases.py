"""What is measured. Each case does its work against one registry and tells how much it was.

A case has a unit: `requests` per second, or `bytes` per second. Preparation, such as making
content that was never pushed before, happens before the clock starts.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from tests.support.clients import Skopeo
from tests.support.images import image

from benchmarks.servers import Contents, Server
from benchmarks.wire import Wire, expect, heads, push

MIB = 1 << 20


@dataclass(frozen=True)
class Work:
    """How much was done in how long."""

    amount: float  # requests, or bytes
    seconds: float
    cpu: float  # seconds of the server's processes

    @property
    def rate(self) -> float:
        """Amount in one second."""
        return self.amount / self.seconds


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    unit: Literal["requests", "bytes"]
    run: Callable[[Server, Contents, float], Work]  # the float: seconds it should take, about
    proxied: bool = False  # measured behind nginx too
    recorded: bool = False  # measured on PostgreSQL too


@contextmanager
def stopwatch(server: Server) -> Iterator[list[float]]:
    """Two figures when the block ends: wall seconds, and CPU seconds of the server."""
    figures: list[float] = []
    cpu, began = server.cpu(), time.perf_counter()
    yield figures
    wall = time.perf_counter() - began
    figures += [wall, server.cpu() - cpu]


def reference_of(by: str, contents: Contents) -> str:
    """The path of the benchmark's manifest, by tag or by digest."""
    reference = "v1" if by == "tag" else contents.manifest
    return f"/v2/{contents.repository}/manifests/{reference}"


def manifest_get(by: str) -> Callable[[Server, Contents, float], Work]:
    """wrk on one manifest, 16 connections; every answer must be a success."""

    def run(server: Server, contents: Contents, seconds: float) -> Work:
        headers = [part for line in server.headers().splitlines() if line for part in ("-H", line)]
        accept = ["-H", "Accept: application/vnd.oci.image.manifest.v1+json"]
        command = ["wrk", "-t1", "-c16", f"-d{max(1, round(seconds))}", *headers, *accept]
        url = server.url + reference_of(by, contents)
        with stopwatch(server) as figures:
            done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
        if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            raise RuntimeError(done.stdout)
        found = re.search(r"(\d+) requests in ([\d.]+)s", done.stdout)
        assert found, done.stdout
        return Work(int(found[1]), float(found[2]), figures[1])

    return run


def manifest_head(by: str) -> Callable[[Server, Contents, float], Work]:
    """HEAD of one manifest on 16 connections."""

    def run(server: Server, contents: Contents, seconds: float) -> Work:
        path, headers = reference_of(by, contents), server.headers()
        with stopwatch(server) as figures:
            count = heads(server.host, headers, path, 16, seconds)
        return Work(count, *figures)

    return run


def blob_get(size: int, connections: int) -> Callable[[Server, Contents, float], Work]:
    """GETs of one blob on some connections, for a while."""

    def run(server: Server, contents: Contents, seconds: float) -> Work:
        path = f"/v2/{contents.repository}/blobs/{contents.blobs[size]}"
        until = time.perf_counter() + seconds

        def fetch(wire: Wire) -> int:
            head, count = wire.head("GET", path), 0
            while time.perf_counter() < until:
                expect(wire.ask(head), 200)
                count += 1
            wire.close()
            return count

        wires = [Wire(server.host, server.headers()) for _ in range(connections)]
        with stopwatch(server) as figures, ThreadPoolExecutor(connections) as pool:
            count = sum(pool.map(fetch, wires))
        return Work(count * size, *figures)

    return run


def push_small(steps: tuple[str, ...]) -> Callable[[Server, Contents, float], Work]:
    """Pushes of 10 KiB blobs that nobody has pushed before, on 8 connections."""

    def run(server: Server, contents: Contents, seconds: float) -> Work:
        bodies = [os.urandom(10 << 10) for _ in range(round(250 * seconds))]
        named = [("sha256:" + hashlib.sha256(body).hexdigest(), body) for body in bodies]
        wires = [Wire(server.host, server.headers()) for _ in range(8)]
        until = time.perf_counter() + 2 * seconds

        def send(number: int) -> int:
            count = 0
            for digest, body in named[number :: len(wires)]:
                if time.perf_counter() > until:
                    break
                push(wires[number], contents.repository, digest, body, steps)
                count += 1
            wires[number].close()
            return count

        with stopwatch(server) as figures, ThreadPoolExecutor(len(wires)) as pool:
            count = sum(pool.map(send, range(len(wires))))
        return Work(count, *figures)

    return run


def push_large(size: int, streams: int) -> Callable[[Server, Contents, float], Work]:
    """One large blob on each of some connections, as clients send layers: POST, PATCH, PUT."""

    def run(server: Server, contents: Contents, seconds: float) -> Work:
        files = [contents.fresh(size, number) for number in range(streams)]
        wires = [Wire(server.host, server.headers()) for _ in files]

        def send(number: int) -> None:
            digest, path = files[number]
            push(wires[number], contents.repository, digest, path, ("POST", "PATCH", "PUT"))
            wires[number].close()

        os.sync()  # what earlier cases left to write is not this one's burden
        with stopwatch(server) as figures, ThreadPoolExecutor(streams) as pool:
            list(pool.map(send, range(streams)))
        return Work(size * streams, *figures)

    return run


def skopeo(verb: str) -> Callable[[Server, Contents, float], Work]:
    """skopeo pushes or pulls an image of ten layers of 4 MiB."""

    def run(server: Server, contents: Contents, seconds: float) -> Work:
        home = server.home()
        seed = os.urandom(8).hex()
        folder = contents.folder / seed
        source = image(folder / "source", seed=seed, layers=10, size=4 * MIB)
        reference = f"{server.host}/{contents.repository}-{seed}:v1"
        client = Skopeo()
        os.sync()
        with stopwatch(server) as figures:
            client.push(home, source, reference)
        if verb == "pull":
            with stopwatch(server) as figures:
                client.pull(home, reference, folder / "pulled")
        shutil.rmtree(folder)
        return Work(1, *figures)

    return run


CASES = (
    Case("manifest GET by tag", "requests", manifest_get("tag"), proxied=True),
    Case("manifest GET by digest", "requests", manifest_get("digest")),
    Case("manifest HEAD by tag", "requests", manifest_head("tag")),
    Case("manifest HEAD by digest", "requests", manifest_head("digest")),
    Case("blob GET 1 MiB", "bytes", blob_get(MIB, 4), proxied=True),
    Case("blob GET 256 MiB", "bytes", blob_get(256 * MIB, 1), proxied=True),
    Case("blob push 10 KiB (POST, PUT)", "requests", push_small(("POST", "PUT")), recorded=True),
    Case(
        "blob push 10 KiB (POST, PATCH, PUT)",
        "requests",
        push_small(("POST", "PATCH", "PUT")),
        recorded=True,
    ),
    Case("blob push 256 MiB, one stream", "bytes", push_large(256 * MIB, 1), proxied=True),
    Case("blob push 256 MiB, three streams", "bytes", push_large(256 * MIB, 3)),
    Case("skopeo push, ten layers of 4 MiB", "requests", skopeo("push")),
    Case("skopeo pull, ten layers of 4 MiB", "requests", skopeo("pull")),
)
