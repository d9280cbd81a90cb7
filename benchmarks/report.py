"""The table: medians side by side, their ratio, and what the processors spent."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.cases import Case, Work

Results = Mapping[tuple[str, str], Sequence[Work]]  # (case, server) → one for each round


def rate(case: Case, works: Sequence[Work]) -> str:
    """The median rate with its unit."""
    median = statistics.median(work.rate for work in works)
    if case.unit == "bytes":
        return f"{median / 1e6:,.0f} MB/s"
    return f"{median:,.0f} /s" if median >= 10 else f"{median:,.2f} /s"


def spread(works: Sequence[Work]) -> str:
    """How far the rounds lie from their median, in percent."""
    rates = [work.rate for work in works]
    median = statistics.median(rates)
    return f"{100 * (min(rates) / median - 1):+.0f} {100 * (max(rates) / median - 1):+.0f} %"


def cost(case: Case, works: Sequence[Work]) -> str:
    """CPU time of the server: microseconds a request, or seconds a GiB."""
    each = statistics.median(work.cpu / work.amount for work in works)
    if case.unit == "bytes":
        return f"{each * (1 << 30):.2f} s/GiB"
    return f"{each * 1e6:,.0f} µs" if each < 0.1 else f"{each:.2f} s"


def table(cases: Sequence[Case], results: Results, peer: str, ours: str) -> list[str]:
    """One Markdown table of two servers."""
    lines = [
        f"| work | {peer} | spread | {ours} | spread | ratio | CPU {peer} | CPU {ours} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case in cases:
        theirs, own = results.get((case.name, peer)), results.get((case.name, ours))
        if not theirs or not own:
            continue
        ratio = statistics.median(work.rate for work in own) / statistics.median(
            work.rate for work in theirs
        )
        lines.append(
            f"| {case.name} | {rate(case, theirs)} | {spread(theirs)} | {rate(case, own)} "
            f"| {spread(own)} | **{ratio:.2f}** | {cost(case, theirs)} | {cost(case, own)} |"
        )
    return lines


def machine() -> str:
    """What it ran on, in one line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def page(tables: Sequence[tuple[str, list[str]]], memory: Mapping[str, float], rounds: int) -> str:
    """The whole page."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; see `benchmarks/__init__.py` for how it measures.",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, medians of {rounds} alternating rounds.",
        "The peer is Debian's `docker-registry` on files, without sign-in; "
        "every request to Moorage carries a token.",
    ]
    for title, rows in tables:
        lines += ["", f"## {title}", "", *rows]
    lines += ["", "## Peak memory", "", "| process | MiB |", "|---|---:|"]
    lines += [f"| {name} | {size:,.0f} |" for name, size in memory.items()]
    return "\n".join(lines) + "\n"
