"""Replication beside `skopeo sync`, and the proxy cache under many clients, each in one run.

python -m benchmarks.remotes replication --artifacts 60 --size 4     MiB of each artifact
python -m benchmarks.remotes proxy --clients 64 --size 256           MiB of the one blob
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

from tests.support.content import image, sha256
from tests.support.peers import DockerRegistry
from tests.support.serving import Registry
from tests.support.sites import made, moorage, register, remote, replicate

from benchmarks.usage import peak_mib
from moorage.oci import media_types
from moorage.remotes import Remote

MIB = 1 << 20


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.remotes", description=__doc__)
    parser.add_argument("what", choices=("replication", "proxy"))
    parser.add_argument("--artifacts", type=int, default=60)
    parser.add_argument("--size", type=float, default=4, help="MiB")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


async def push(client: Remote, repository: str, tag: str, size: int) -> str:
    """An image of one random layer; the layer's digest."""
    data = os.urandom(size)

    async def read(start: int, end: int) -> AsyncIterator[bytes]:
        for at in range(start, end, MIB):
            yield data[at : min(end, at + MIB)]

    async def config(start: int, end: int) -> AsyncIterator[bytes]:
        yield b"{}"[start:end]

    await client.push_blob(repository, sha256(data), size, read)
    await client.push_blob(repository, sha256(b"{}"), 2, config)
    await client.put_manifest(repository, tag, image(b"{}", (data,)), media_types.OCI_MANIFEST)
    return sha256(data)


async def ours(source: Registry, folder: Path, pull: bool) -> tuple[float, float]:
    """Seconds that a policy takes from one registry into an empty one, and the most MiB in use."""
    with ExitStack() as stack:
        target = moorage(folder)
        stack.enter_context(target.running())
        here, there = (target, source) if pull else (source, target)
        number = register(here, folder.name, "harbor", there.url, there)
        side = "src_registry" if pull else "dest_registry"
        body = {
            "name": folder.name,
            side: {"id": number},
            "filters": [{"type": "name", "value": "library/**"}],
            "enabled": True,
        }
        policy = made(here, "/replication/policies", body)
        began = time.monotonic()
        run = await replicate(here, policy, 1800)
        seconds = time.monotonic() - began
        assert run["status"] == "Succeed", run
        return seconds, peak_mib([here.pid])


async def theirs(source: Registry, folder: Path) -> float:
    """Seconds of `skopeo sync` from one registry into an empty one."""
    with ExitStack() as stack:
        target = moorage(folder)
        stack.enter_context(target.running())
        command = [
            *("skopeo", "sync", "--all", "--src", "docker", "--dest", "docker"),
            *("--src-tls-verify=false", "--dest-tls-verify=false"),
            f"--src-creds={source.username}:{source.password}",
            f"--dest-creds={target.username}:{target.password}",
            *(f"{source.host}/library/set", f"{target.host}/library"),
        ]
        environment = {**os.environ, "XDG_DATA_HOME": str(folder / "xdg")}
        began = time.monotonic()
        await asyncio.to_thread(
            subprocess.run, command, check=True, env=environment, capture_output=True
        )
        return time.monotonic() - began


async def replication(options: argparse.Namespace, folder: Path) -> None:
    """Rounds by turns: pull, skopeo, push."""
    with ExitStack() as stack:
        source = moorage(folder / "source")
        stack.enter_context(source.running())
        client = remote(source)
        for number in range(options.artifacts):
            await push(client, "library/set", f"v{number}", int(options.size * MIB))
        await client.close()
        found: dict[str, list[float]] = {"pull": [], "push": [], "skopeo sync": []}
        most = 0.0
        for turn in range(options.rounds):
            for name, seconds in found.items():
                place = folder / f"{name.replace(' ', '-')}-{turn}"
                if name == "skopeo sync":
                    seconds.append(await theirs(source, place))
                else:
                    took, used = await ours(source, place, name == "pull")
                    seconds.append(took)
                    most = max(most, used)
                shutil.rmtree(place)
        total = options.artifacts * options.size
        reference = statistics.median(found["skopeo sync"])
        for name, seconds in found.items():
            middle = statistics.median(seconds)
            rates = f"{total / middle:.0f} MiB/s, {reference / middle:.2f} x skopeo sync"
            print(f"{name}: {middle:.1f} s of {total} MiB, {rates}; all {seconds}", flush=True)
        print(f"most memory of the process that replicates: {most:.0f} MiB")


async def first_byte(client: Remote, repository: str, digest: str, size: int) -> float:
    """Seconds to the first byte of a blob."""
    began = time.monotonic()
    async for _ in client.blob(repository, digest, size):
        break
    return time.monotonic() - began


async def proxy(options: argparse.Namespace, folder: Path) -> None:
    """Many clients, one blob that is not here."""
    size = int(options.size * MIB)
    with ExitStack() as stack:
        site = moorage(folder / "site")
        stack.enter_context(site.running())
        peer = DockerRegistry(folder / "peer").start()
        stack.callback(peer.stop)
        there, here = remote(f"http://{peer.host}"), remote(site)
        digest = await push(there, "library/large", "v1", size)
        small = await push(there, "library/first", "v1", size)
        number = register(site, "peer", "docker-registry", f"http://{peer.host}")
        made(site, "/projects", {"project_name": "cache", "registry_id": number})
        for name in ("large", "first"):
            await here.manifest(f"cache/library/{name}", "v1")
        direct = await first_byte(there, "library/first", small, size)
        through = await first_byte(here, "cache/library/first", small, size)
        print(f"first byte: direct {direct * 1000:.1f} ms, through {through * 1000:.1f} ms")

        async def pull() -> int:
            got = 0
            async for part in here.blob("cache/library/large", digest, size):
                got += len(part)
            return got

        began = time.monotonic()
        sizes = await asyncio.gather(*(pull() for _ in range(options.clients)))
        seconds = time.monotonic() - began
        assert set(sizes) == {size}
        total = options.clients * options.size
        print(f"{options.clients} clients: {seconds:.1f} s, {total / seconds:.0f} MiB/s together")
        peer.stop()
        assert await pull() == size
        print(f"memory of the server: {peak_mib([site.pid]):.0f} MiB; pulled again without peer")
        await there.close()
        await here.close()


def main() -> None:
    """Run one of both in a folder of its own."""
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="remotes-"))
    try:
        asyncio.run({"replication": replication, "proxy": proxy}[options.what](options, folder))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
