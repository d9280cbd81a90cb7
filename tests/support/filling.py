"""Many repositories that docker-registry itself writes, from pushes over lines that stay open.

    fill(folder, 10_000, 10)         then folder/registry is what years of pushes leave
    tags_of(10_000, 10)              what its tags mean

Several processes of it write into one folder. Each repository mounts its layers from the first
one and uploads the config of each image, as clients do.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.content import sha256
from tests.support.images import INDEX, MANIFEST
from tests.support.legacy import LAYERS, Repository, repositories
from tests.support.peers import DockerRegistry

BASE = "project0/base"  # where every layer is uploaded

Tags = dict[tuple[str, str], bytes]


class Line:
    """One connection to a registry."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> "Line":
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(
        self, wanted: int, method: str, path: str, body: bytes = b"", media_type: str = ""
    ) -> Mapping[str, str]:
        """The headers of an answer with the wanted status; RuntimeError of any other."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
        head += f"Content-Type: {media_type or 'application/octet-stream'}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): text for name, _, text in (each.partition(": ") for each in lines)}
        told = await self._reader.readexactly(int(headers.get("content-length", 0)))
        if int(first.split()[1]) != wanted:
            raise RuntimeError(f"{method} {path}: {first}\n{told.decode()}")
        return headers

    async def blob(self, repository: str, data: bytes) -> None:
        """Upload one."""
        begun = await self.ask(202, "POST", f"/v2/{repository}/blobs/uploads/")
        where = urlsplit(begun["location"])
        await self.ask(201, "PUT", f"{where.path}?{where.query}&digest={sha256(data)}", data)

    async def repository(self, made: Repository) -> None:
        """Push all of its images and tags."""
        for layer in made.layers:
            mount = f"mount={sha256(layer)}&from={BASE}"
            await self.ask(201, "POST", f"/v2/{made.name}/blobs/uploads/?{mount}")
        for config in made.configs:
            await self.blob(made.name, config)
        for (name, tag), payload in made.tags.items():
            kind = INDEX if payload is made.index else MANIFEST
            await self.ask(201, "PUT", f"/v2/{name}/manifests/{tag}", payload, kind)


async def _push(ports: Sequence[int], left: Iterator[Repository], clients: int) -> None:
    first = await Line(ports[0]).open()
    for layer in LAYERS:
        await first.blob(BASE, layer)
    await first.close()

    async def some(port: int) -> None:
        line = await Line(port).open()
        try:
            for each in left:
                await line.repository(each)
        finally:
            await line.close()

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(some(ports[number % len(ports)]))


def fill(folder: Path, count: int, each: int, *, processes: int = 4, clients: int = 16) -> None:
    """Push so many repositories with so many manifests each; no process is left."""
    with ExitStack() as stack:
        ports = []
        for number in range(processes):
            peer = DockerRegistry(folder / f"peer-{number}", root=folder / "registry")
            stack.callback(peer.stop)
            ports.append(peer.start().port)
        push(ports, count, each, clients=clients)


def push(ports: Sequence[int], count: int, each: int, *, clients: int = 16) -> None:
    """The same, to registries that run."""
    asyncio.run(_push(ports, repositories(count, each), clients))


def tags_of(count: int, each: int) -> Tags:
    """Repository and tag, and the bytes of the manifest."""
    return {
        tag: payload for made in repositories(count, each) for tag, payload in made.tags.items()
    }
