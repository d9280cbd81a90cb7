"""Replication beside `skopeo sync`, from one registry into an empty one, by turns in one run.

python -m benchmarks.replication                       all sets, three rounds
python -m benchmarks.replication --sets small --artifacts 500 --rounds 1

small    an image of one layer of 60 KiB
mixed    two images of a base layer that ten share, 4 MiB of their own and a small layer, then a
         small one
large    an image of one layer of 48 MiB
"""

import argparse
import asyncio
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.content import image, sha256
from tests.support.serving import Registry
from tests.support.sites import made, moorage, register, remote, replicate

from benchmarks.report import machine
from benchmarks.usage import cpu_seconds, peak_mib
from moorage.oci import media_types
from moorage.remotes import Remote

KIB, MIB = 1 << 10, 1 << 20
ARTIFACTS = {"small": 200, "mixed": 90, "large": 12}
WAYS = ("pull", "push", "skopeo sync")


def _small(number: int) -> list[bytes]:
    return [_bytes(number, 60 * KIB)]


def _mixed(number: int) -> list[bytes]:
    if number % 3 == 2:
        return [_bytes(number, 12 * KIB)]
    base = _bytes(1_000_000 + number // 10, 8 * MIB)
    return [base, _bytes(number, 4 * MIB), _bytes(2_000_000 + number, 30 * KIB)]


def _large(number: int) -> list[bytes]:
    return [_bytes(number, 48 * MIB)]


SETS: dict[str, Callable[[int], list[bytes]]] = {"small": _small, "mixed": _mixed, "large": _large}


def _bytes(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Took:
    """What rounds of one way of copying took."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # seconds of both registries and of skopeo
    grew: float = 0.0  # MiB of the process that replicates, at most


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replication", description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--artifacts", type=int, help="of each set")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


async def push(client: Remote, repository: str, tag: str, layers: Sequence[bytes]) -> int:
    """An image of these layers; bytes that were sent."""
    sent = 0
    config = b'{"architecture":"amd64","os":"linux","tag":"%s"}' % tag.encode()
    for data in (config, *layers):

        async def read(start: int, end: int, data: bytes = data) -> AsyncIterator[bytes]:
            for at in range(start, end, MIB):
                yield data[at : min(end, at + MIB)]

        if await client.has_blob(repository, sha256(data)) is None:
            await client.push_blob(repository, sha256(data), len(data), read)
            sent += len(data)
    await client.put_manifest(repository, tag, image(config, layers), media_types.OCI_MANIFEST)
    return sent


async def ours(source: Registry, target: Registry, name: str, took: Took) -> None:
    """A policy of one of both."""
    here, there = (target, source) if name == "pull" else (source, target)
    number = register(here, target.folder.name, "harbor", there.url, there)
    body = {
        "name": target.folder.name,
        "src_registry" if name == "pull" else "dest_registry": {"id": number},
        "filters": [{"type": "name", "value": "library/**"}],
        "override": True,
        "enabled": True,
    }
    policy = made(here, "/replication/policies", body)
    before, held = cpu_seconds([source.pid, target.pid]), here.memory() / MIB
    began = time.monotonic()
    run = await replicate(here, policy, 1800)
    took.seconds.append(time.monotonic() - began)
    took.cpu.append(cpu_seconds([source.pid, target.pid]) - before)
    took.grew = max(took.grew, peak_mib([here.pid]) - held)
    assert run["status"] == "Succeed", run


async def theirs(source: Registry, target: Registry, took: Took) -> None:
    """`skopeo sync`."""
    command = [
        *("skopeo", "sync", "--all", "--src", "docker", "--dest", "docker"),
        *("--src-tls-verify=false", "--dest-tls-verify=false"),
        f"--src-creds={source.username}:{source.password}",
        f"--dest-creds={target.username}:{target.password}",
        *(f"{source.host}/library/set", f"{target.host}/library"),
    ]
    environment = {**os.environ, "XDG_DATA_HOME": str(target.folder / "xdg")}
    before = cpu_seconds([os.getpid(), source.pid, target.pid])
    began = time.monotonic()
    await asyncio.to_thread(
        subprocess.run, command, check=True, env=environment, capture_output=True
    )
    took.seconds.append(time.monotonic() - began)
    took.cpu.append(cpu_seconds([os.getpid(), source.pid, target.pid]) - before)


async def rounds(name: str, count: int, turns: int, folder: Path) -> list[str]:
    """Every way by turns; rows of a table."""
    found = {way: Took() for way in WAYS}
    with ExitStack() as stack:
        source = moorage(folder / "source")
        stack.enter_context(source.running())
        client = remote(source)
        size = 0
        for number in range(count):
            size += await push(client, "library/set", f"v{number}", SETS[name](number))
        await client.close()
        for turn in range(turns):
            for way, took in found.items():
                target = moorage(folder / f"{way.replace(' ', '-')}-{turn}")
                with target.running():
                    if way == "skopeo sync":
                        await theirs(source, target, took)
                    else:
                        await ours(source, target, way, took)
                shutil.rmtree(target.folder)
    reference = statistics.median(found["skopeo sync"].seconds)
    return [
        f"| {name} | {count} | {size / MIB:.0f} MiB | {way} | {_of(took, count, size, reference)} |"
        for way, took in found.items()
    ]


def _of(took: Took, count: int, size: int, reference: float) -> str:
    middle = statistics.median(took.seconds)
    cpu = statistics.median(took.cpu) / count * 1000
    grew = f"{took.grew:.0f} MiB" if took.grew else ""
    spread = f"{min(took.seconds):.1f} to {max(took.seconds):.1f} s"
    rates = f"{count / middle:.0f}/s | {size / middle / MIB:.0f} MiB/s | {cpu:.0f} ms"
    return f"{middle:.1f} s | {spread} | {rates} | {grew} | **{reference / middle:.2f}**"


async def every(options: argparse.Namespace) -> None:
    """Each set in a folder of its own."""
    print(machine())
    print("| set | artifacts | bytes | by | median | range | each | rate | CPU | grew | ratio |")
    print("|---|---:|---:|---|---:|---|---:|---:|---:|---:|---:|")
    for name in options.sets:
        folder = Path(tempfile.mkdtemp(prefix="replication-"))
        try:
            count = options.artifacts or ARTIFACTS[name]
            for row in await rounds(name, count, options.rounds, folder):
                print(row, flush=True)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(every(arguments()))
