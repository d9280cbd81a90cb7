"""Measure with every number of replicas, write the tables."""

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.support.requirements import find
from tools.ha import Topology

from benchmarks.report import machine
from benchmarks.scaling import __doc__ as how
from benchmarks.scaling import outage
from benchmarks.scaling.load import WORK, prepare
from benchmarks.scaling.meter import Reading, metered
from benchmarks.scaling.share import limited
from benchmarks.scaling.sizes import bytes_per_row
from benchmarks.servers import Server

NEEDED = ("initdb", "nginx", "redis-server", "weed", "wrk")
PARTS = ("registry", "nginx", "postgresql", "redis", "store")
IDLE = "nothing"
Results = dict[int, dict[str, tuple[int, Reading]]]  # replicas → work → how many, and what for


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=how)
    parser.add_argument("--replicas", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--share", type=float, default=0.15, help="of a core, for one registry")
    parser.add_argument("--seconds", type=float, default=10, help="of each kind of work")
    parser.add_argument("--blobs", type=int, default=300_000, help="rows to measure the size of")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "scaling.md")
    return parser.parse_args()


def measure(replicas: int, share: float, seconds: float) -> dict[str, tuple[int, Reading]]:
    """All kinds of work with so many registries."""
    counts = {"registry": replicas, "core": 1, "jobservice": 1}
    found: dict[str, tuple[int, Reading]] = {}
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as folder, ExitStack() as stack:
        ha = stack.enter_context(Topology(Path(folder), replicas=counts, durable=True))
        host = ha.url.partition("//")[2]
        server = Server("moorage", host, Path(folder), list, "admin", ha.password)
        store = ha.store.endpoint.partition("//")[2]
        prepare(server)
        with metered(ha) as reading:
            ha.postgres.primary.sql(f"SELECT pg_sleep({seconds})")
        found[IDLE] = (0, reading)
        for each in ha.replicas["registry"]:
            stack.enter_context(limited(each.name, each.pid, share))
        for name, work in WORK.items():
            work(server, store, 1)  # what is done once is done
            with metered(ha) as reading:
                count = work(server, store, seconds)
            found[name] = (count, reading)
            print(f"{replicas} registries, {name}: {count / reading.seconds:,.1f} /s", flush=True)
    return found


def throughput(results: Results) -> list[str]:
    """Rates by the number of replicas, and how much more the most brings than the fewest."""
    counts = sorted(results)
    lines = [
        "| work | " + " | ".join(f"{count} registries" for count in counts) + " | rise |",
        "|---|" + "---:|" * (len(counts) + 1),
    ]
    for name in WORK:
        rates = [done / spent.seconds for done, spent in (results[n][name] for n in counts)]
        cells = " | ".join(f"{rate:,.1f} /s" for rate in rates)
        lines.append(f"| {name} | {cells} | {rates[-1] / rates[0]:.2f} |")
    return lines


def costs(results: Results) -> list[str]:
    """What one piece of work costs each part with the most replicas, less what idling costs."""
    most = results[max(results)]
    idle = most[IDLE][1]
    lines = [
        "| work | " + " | ".join(f"CPU {part}" for part in PARTS) + " | commits | log | Redis |",
        "|---|" + "---:|" * (len(PARTS) + 3),
    ]
    for name in WORK:
        done, spent = most[name]

        def each(figure: float, idling: float, done: int = done, spent: Reading = spent) -> float:
            return max(0.0, figure - idling / idle.seconds * spent.seconds) / done

        cells = [f"{1e6 * each(spent.cpu[part], idle.cpu[part]):,.0f} µs" for part in PARTS]
        cells += [
            f"{each(spent.commits, idle.commits):,.2f}",
            f"{each(spent.wal, idle.wal) / 1024:,.1f} KiB",
            f"{each(spent.commands, idle.commands):,.2f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def held(results: Results) -> list[str]:
    """Connections and locks at most, and what idling costs."""
    lines = [
        "| registries | connections at most | locks at most | idle: CPU registry "
        "| idle: transactions | idle: Redis |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for count, found in sorted(results.items()):
        idle = found[IDLE][1]
        busy = [spent for _, spent in found.values()]
        lines.append(
            f"| {count} | {max(each.connections for each in busy)} "
            f"| {max(each.locks for each in busy)} "
            f"| {1e3 * idle.cpu['registry'] / idle.seconds / count:,.1f} ms/s each "
            f"| {idle.commits / idle.seconds:,.1f} /s | {idle.commands / idle.seconds:,.1f} /s |"
        )
    return lines


def page(results: Results, share: float, times: dict[str, outage.Times], blobs: int) -> str:
    """The whole page."""
    sizes = bytes_per_row(blobs)
    rows = ["| table | bytes a row |", "|---|---:|"]
    rows += [f"| `{table}` | {size:,.0f} |" for table, size in sizes.items()]
    lines = [
        "# More replicas",
        "",
        "Written by `python -m benchmarks.scaling`; see `benchmarks/scaling/__init__.py`.",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; each registry had {share:g} of a core. "
        "Everything went through one nginx, to PostgreSQL whose commits wait for the disk and for "
        "a standby, Redis, and SeaweedFS, which clients are redirected to.",
        *("", "## Throughput", "", *throughput(results)),
        *("", "## What one costs each part", "", *costs(results)),
        *("", "PostgreSQL is primary and standby together.",),
        *("", "## What is held, and what idling costs", "", *held(results)),
        *("", "## Without Redis", "", "Two registries, each with what it wants of the machine."),
        *("", *outage.table(times)),
        *("", f"## Rows, of {blobs:,} blobs, indexes included", "", *rows),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run it all."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # every server ends with it
    options = arguments()
    absent = [name for name in NEEDED if find(name) is None]
    if absent:
        print(f"not on this machine: {', '.join(absent)}", file=sys.stderr)
        return 1
    results = {n: measure(n, options.share, options.seconds) for n in options.replicas}
    times = outage.measure(options.seconds)
    text = page(results, options.share, times, options.blobs)
    options.output.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
