"""The three kinds of work, through nginx: a manifest, a pull, a push."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support import content
from tests.support.content import sha256
from tests.support.images import MANIFEST

from benchmarks.servers import REPOSITORY, Server
from benchmarks.wire import Wire, WireError, expect, push

LAYERS = 5  # and a config
LAYER = 64 << 10  # bytes
CLIENTS = 12
ACCEPT = f"Accept: {MANIFEST}\r\n"


@dataclass(frozen=True)
class Image:
    """What a client pushes: its blobs by digest, and the manifest."""

    blobs: Sequence[tuple[str, bytes]]
    manifest: bytes


def image() -> Image:
    """An image that nobody has pushed."""
    config, *layers = (os.urandom(512), *(os.urandom(LAYER) for _ in range(LAYERS)))
    blobs = [(sha256(body), body) for body in (config, *layers)]
    return Image(blobs, content.image(config, layers))


def push_image(wire: Wire, made: Image, tag: str) -> None:
    """As clients do: ask for each blob, push what is not there, then the manifest."""
    for digest, body in made.blobs:
        expect(wire.ask(wire.head("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}")), 404)
        push(wire, REPOSITORY, digest, body, ("POST", "PUT"))
    length = f"Content-Type: {MANIFEST}\r\nContent-Length: {len(made.manifest)}\r\n"
    head = wire.head("PUT", f"/v2/{REPOSITORY}/manifests/{tag}", length)
    expect(wire.ask(head, made.manifest), 201)


def pull_image(wire: Wire, store: Wire, made: Image, tag: str) -> None:
    """The manifest, and each blob from where the registry sends the client."""
    expect(wire.ask(wire.head("GET", f"/v2/{REPOSITORY}/manifests/{tag}", ACCEPT)), 200)
    for digest, _ in made.blobs:
        head = wire.head("GET", f"/v2/{REPOSITORY}/blobs/{digest}")
        place = urlsplit(expect(wire.ask(head), 307))
        expect(store.ask(store.head("GET", f"{place.path}?{place.query}")), 200)


# --- for a while; each returns how many were done


def manifests(server: Server, store: str, seconds: float) -> int:
    """GETs of a manifest by its tag."""
    lines = [line for line in (server.headers() + ACCEPT).splitlines() if line]
    headers = [part for line in lines for part in ("-H", line)]
    url = f"{server.url}/v2/{REPOSITORY}/manifests/kept"
    command = ["wrk", "-t1", "-c32", f"-d{round(seconds)}", *headers, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"(\d+) requests in", done.stdout)
    if not found or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise WireError(done.stdout)
    return int(found[1])


def pulls(server: Server, store: str, seconds: float) -> int:
    """Pulls of one image."""
    made = image()
    wire = Wire(server.host, server.headers())
    push_image(wire, made, "pulled")
    wire.close()

    def work(wire: Wire, number: int) -> None:
        other = Wire(store)
        pull_image(wire, other, made, "pulled")
        other.close()

    return repeat(server, seconds, work)


def pushes(server: Server, store: str, seconds: float) -> int:
    """Pushes of images, each with a tag of its own."""
    return repeat(
        server, seconds, lambda wire, number: push_image(wire, image(), f"t{os.urandom(6).hex()}")
    )


def repeat(
    server: Server, seconds: float, work: Callable[[Wire, int], None], clients: int = CLIENTS
) -> int:
    """Let each client do its work again and again; how often it was done.

    `work` takes the client's connection and number.
    """
    wires = [Wire(server.host, server.headers()) for _ in range(clients)]
    until = time.perf_counter() + seconds

    def each(wire: Wire, number: int) -> int:
        count = 0
        while time.perf_counter() < until:
            work(wire, number)
            count += 1
        wire.close()
        return count

    with ThreadPoolExecutor(clients) as threads:
        return sum(threads.map(each, wires, range(clients)))


def prepare(server: Server) -> None:
    """Push the image that `manifests` asks for."""
    wire = Wire(server.host, server.headers())
    push_image(wire, image(), "kept")
    wire.close()


WORK: dict[str, Callable[[Server, str, float], int]] = {
    "manifest GET by tag": manifests,
    "pull of six blobs": pulls,
    "push of six blobs": pushes,
}
