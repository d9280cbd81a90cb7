"""Taking over a large folder of docker-registry: killed again and again, then to its end.

python -m benchmarks.importing --repositories 10000 --each 10 --kills 5

Debian's docker-registry writes the folder itself, from pushes to four processes of it; `--filled`
names one that an earlier run left with `--keep`. The rows go into a PostgreSQL whose commits wait
for the disk. Each phase is killed, and begun anew where the killed one left off. At the end every
tag is pulled from a running server and compared byte for byte, with each blob that its repository
has not given before, as one client would pull them. The figures are printed.
"""

import argparse
import contextlib
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.content import sha256
from tests.support.databases import running_postgres
from tests.support.filling import fill, tags_of
from tests.support.images import INDEX, MANIFEST, references
from tests.support.serving import Fetcher, Registry

CLIENTS = 8
PART = 10_000  # tags, after which progress is told
Tags = Mapping[tuple[str, str], bytes]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.importing", description=__doc__)
    parser.add_argument("--repositories", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=10, help="manifests of one")
    parser.add_argument("--kills", type=int, default=5, help="of each phase, before its end")
    parser.add_argument("--within", type=float, default=60, help="seconds, of each kill")
    parser.add_argument("--seed", type=int, default=4711, help="of the moments of the kills")
    parser.add_argument("--folder", type=Path, help="where all of it is put")
    parser.add_argument("--filled", type=Path, help="what docker-registry wrote before")
    parser.add_argument("--keep", type=Path, help="let docker-registry write here, and leave it")
    return parser.parse_args()


def command(registry: Registry, phase: str) -> "subprocess.Popen[bytes]":
    """The import, started."""
    return subprocess.Popen(
        [sys.executable, "-m", "moorage", "import", "storage", "--phase", phase, "--json"],
        cwd=registry.folder,
        env=registry.environment(),
        stdout=subprocess.DEVNULL,
    )


def killed(registry: Registry, phase: str, moments: Sequence[float]) -> None:
    """Begin a phase and kill it, at each of some moments in seconds, unless it ends before."""
    for moment in moments:
        running = command(registry, phase)
        with contextlib.suppress(subprocess.TimeoutExpired):
            print(f"{phase} ended with {running.wait(moment)} before it was killed", flush=True)
            continue
        running.kill()
        running.wait()
        print(f"{phase} killed after {moment:.0f} s", flush=True)


def ended(registry: Registry, phase: str) -> None:
    """A phase to its end, and what it took."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    if status := command(registry, phase).wait():
        raise RuntimeError(f"{phase} ended with {status}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{phase}: {time.monotonic() - began:.0f} s, CPU {cpu:.0f} s, "
          f"memory of any so far at most {after.ru_maxrss / 1024:.0f} MiB", flush=True)  # fmt: skip


def compared(registry: Registry, tags: Tags) -> None:
    """Pull every tag and its blobs; RuntimeError when one is not what was put there."""
    fetcher, began = Fetcher(registry), time.monotonic()
    given: set[tuple[str, str]] = set()  # what a client of the repository has by now

    def pull(item: tuple[tuple[str, str], bytes]) -> None:
        (repository, tag), payload = item
        if fetcher.get(f"/v2/{repository}/manifests/{tag}")[0] != payload:
            raise RuntimeError(f"{repository}:{tag} is another one")
        for entry in references(json.loads(payload)):
            blob = repository, entry["digest"]
            if entry["mediaType"] in (INDEX, MANIFEST) or blob in given:
                continue
            given.add(blob)
            if sha256(fetcher.get(f"/v2/{repository}/blobs/{blob[1]}")[0]) != blob[1]:
                raise RuntimeError(f"{blob[1]} of {repository} is another one")

    with ThreadPoolExecutor(CLIENTS) as threads:
        for number, _ in enumerate(threads.map(pull, tags.items()), 1):
            if number % PART == 0:
                print(f"pulled: {number} of {len(tags)}", flush=True)
    print(f"{len(tags)} tags and {len(given)} blobs of theirs pulled and compared in "
          f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip


def main() -> int:
    """Make it, kill it, end it, look at it."""
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="moorage-bench-", dir=options.folder))
    folder.chmod(0o711)
    try:
        old = options.filled or options.keep or folder / "old"
        if options.filled is None:
            began = time.monotonic()
            fill(old, options.repositories, options.each)
            print(f"docker-registry filled in {time.monotonic() - began:.0f} s", flush=True)
        tags = tags_of(options.repositories, options.each)
        with running_postgres(durable=True) as server:
            server.sql("CREATE DATABASE moorage")
            settings = {
                "database.url": server.url("moorage"),
                "storage.filesystem.rootdirectory": old / "registry",
            }
            registry = Registry(folder / "ours", settings=settings)
            registry.run("migrate")
            rng = random.Random(options.seed)
            for phase in ("prepare", "tags", "verify"):
                moments = [rng.uniform(1, options.within) for _ in range(options.kills)]
                killed(registry, phase, moments)
                ended(registry, phase)
            with registry.running():
                compared(registry, tags)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
