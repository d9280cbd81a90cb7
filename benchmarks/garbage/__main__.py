"""Measure both, write the tables."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.databases import running_postgres
from tests.support.requirements import find

from benchmarks.garbage.peer import WORKERS, Collection, compare
from benchmarks.report import machine

NEEDED = ("docker-registry", "initdb", "weed")
ROUNDS = 3
DELETED = (2, 10, 90)
"""Percent of the images that are deleted beside the peer."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.garbage", description=__doc__)
    parser.add_argument("--blobs", type=int, nargs="*", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--images", type=int, default=500, help="of eleven blobs, for the peer")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="beside the peer")
    parser.add_argument("--only", choices=["rows", "peer"], help="one of both, for a look")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "garbage.md")
    return parser.parse_args()


def run(url: str, folder: Path, blobs: int) -> dict[str, Any]:
    """One collection, in a process of its own."""
    workers = 1 if url.startswith("sqlite") else WORKERS
    command = [sys.executable, "-m", "benchmarks.garbage.rows", url, str(folder), str(blobs)]
    done = subprocess.run([*command, str(workers)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows(scales: Sequence[int]) -> list[str]:
    """A table of both databases at every scale."""
    lines = [
        "| database | blobs | collected | seconds | blobs/s | CPU | memory before | at most |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for blobs in scales:
        for name in ("PostgreSQL", "SQLite"):
            folder = Path(tempfile.mkdtemp(prefix="moorage-bench-"))
            try:
                if name == "SQLite":
                    found = run(f"sqlite:///{folder}/moorage.db", folder, blobs)
                else:
                    with running_postgres(durable=True) as server:
                        server.sql("CREATE DATABASE moorage")
                        found = run(server.url("moorage"), folder, blobs)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            lines.append(
                f"| {name} | {blobs:,} | {found['collected']:,} | {found['seconds']:.1f} "
                f"| {blobs / found['seconds']:,.0f} | {found['cpu'] / blobs * 1e6:.0f} µs each "
                f"| {found['memory_before'] / 1e6:.0f} MB "
                f"| {found['memory_peak'] / 1e6:.0f} MB |"
            )
            print(lines[-1], flush=True)
    return lines


def beside(images: int, rounds: int) -> list[str]:
    """A table of the peer and us, by the share that was deleted; each the middle of all rounds."""
    lines = [
        "| images | deleted | docker-registry | Moorage | ratio |",
        "|---:|---:|---:|---:|---:|",
    ]
    for percent in DELETED:
        found = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="moorage-bench-") as folder:
                found.append(compare(Path(folder), images, percent))
        theirs, ours = sorted(found, key=_ratio)[len(found) // 2]
        ratio = f"**{_ratio((theirs, ours)):.1f}**"
        lines.append(f"| {images} | {percent} % | {_rate(theirs)} | {_rate(ours)} | {ratio} |")
        print(lines[-1], flush=True)
    return lines


def _ratio(pair: tuple[Collection, Collection]) -> float:
    theirs, ours = pair
    return ours.rate / theirs.rate


def _rate(found: Collection) -> str:
    return f"{found.blobs:,} in {found.seconds:.1f} s: {found.rate:,.0f}/s"


def main() -> int:
    """Run it all."""
    options = arguments()
    absent = [name for name in NEEDED if find(name) is None]
    if absent:
        print(f"not on this machine: {', '.join(absent)}", file=sys.stderr)
        return 1
    page = [
        "# Collecting garbage",
        "",
        f"{datetime.now(UTC):%d %B %Y}, {machine()}.",
        "Written by `make bench-gc`; how it is measured is in [README.md](README.md).",
    ]
    if options.only != "peer":
        page += ["", "## Rows alone", "", *rows(options.blobs)]
    if options.only != "rows":
        page += ["", "## Beside docker-registry, on one S3 server", ""]
        page += beside(options.images, options.rounds)
    print("\n".join(page))
    if options.only is None:
        options.output.write_text("\n".join(page) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
