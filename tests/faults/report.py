"""The report of a soak, from what its run left in a folder.

python -m tests.faults.report FOLDER > docs/operate/soak.md
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

from tests.faults.checker import READY, SETTLING, Window, failed, in_a_row
from tests.faults.history import Record, load
from tests.faults.steady import LEAST, WARM, growth, longest, slope, warm

MINUTE = 60.0
STEADY = "steady"
"""The folder of the part in which no process ends, below that of the soak."""

_HEAD = (
    "# A soak of the whole topology\n\n"
    "This page is written by `make soak`; do not edit it.\n\n"
    "Clients push, pull, move, mount, copy and delete through nginx and at each registry, while "
    "the parts of the topology fail one after the other.\n"
    "Every request is a line of a history. At the end everything is read on every replica, a "
    "search looks for an order that explains each tag and each image, and rows are compared with "
    "objects.\n"
    "[How faults are tested](../design/faults.md) says what each invariant is.\n"
)


def report(folder: Path) -> str:
    """The page."""
    figures = json.loads((folder / "outcome.json").read_text())
    records = list(load(folder / "history.jsonl"))
    windows = [Window(**each) for each in figures["windows"]]
    parts = [
        _HEAD,
        _run(figures, records, windows),
        _faults(windows, figures["skipped"]),
        _latencies(records, windows),
        "\n## Processes\n\n" + _processes(figures["samples"]),
    ]
    if (folder / STEADY / "outcome.json").exists():
        parts.append(steady(folder / STEADY))
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of Markdown."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _run(figures: Mapping[str, Any], records: Sequence[Record], windows: Sequence[Window]) -> str:
    harness = [each for each in figures["violations"] if each.startswith("nemesis")]
    wrong = [each for each in figures["violations"] if each not in harness]
    counts: dict[str, int] = defaultdict(int)
    for key, value in figures["counts"].items():
        counts[key.split("|")[0]] += value
    load_of = os.environ.get("SOAK_NOTE", "")
    outside = sum(each.startswith("I9: an error") for each in wrong)
    pushed = sum(each.op == "put" and each.status == 201 for each in records)
    killed = [each for each in windows if each.id in ("F-K1", "F-K3", "F-K5")]
    struck = [r for r in records if any(w.begin <= r.invoke <= w.heal for w in killed)]
    rows = [
        ("seed", f"`{figures['seed']}`"),
        ("minutes under load", f"{figures['seconds'] / MINUTE:.0f}"),
        ("requests in the history", f"{len(records):,}"),
        ("of these with an answer that blames nobody", f"{sum(not failed(r) for r in records):,}"),
        ("images acknowledged", f"{pushed:,}"),
        ("faults injected", f"{len(windows)} of {len({w.id for w in windows})} kinds"),
        ("violations of the invariants", len(wrong)),
        ("5xx and lost answers outside of faults", outside),
        ("tries of one request, at most, while a process was killed", in_a_row(struck) + 1),
        ("runs of the collector", f"{counts['cycles']:,}"),
        ("blobs that it collected", f"{counts['collected']:,}"),
    ]
    text = "## The run\n\n" + table(("what", "figure"), rows)
    if load_of:
        text += f"\n{load_of}\n"
    if wrong:
        text += "\n" + "\n".join(f"- {each.splitlines()[0][:300]}" for each in wrong[:20]) + "\n"
    if harness:
        text += (
            f"\n{len(harness)} faults could not be injected: the tool failed, not the registry.\n"
        )
    return text


def _faults(windows: Sequence[Window], skipped: Mapping[str, str]) -> str:
    kinds: dict[str, list[Window]] = defaultdict(list)
    for window in windows:
        kinds[window.id].append(window)
    rows = []
    for name in sorted(kinds):
        each = kinds[name]
        lasted = sum(w.heal - w.begin for w in each) / len(each)
        ready = max((w.ready or 0.0) for w in each)
        clean = max((w.clean or 0.0) for w in each)
        failures = sum(w.failures for w in each)
        row = (name, each[0].says, len(each), f"{lasted:.0f}", failures)
        rows.append((*row, f"{ready:.1f}", f"{clean:.1f}"))
    head = ("id", "fault", "times", "seconds", "failed requests", "ready after", "error-free after")
    late = sum((w.ready or 0) > READY for w in windows)
    dirty = sum((w.clean or 0) > SETTLING for w in windows)
    text = (
        "\n## Faults\n\n"
        "Failed requests are those without an answer, or with a 5xx, from the fault's begin to "
        f"{SETTLING:.0f} s after its end.\nReady and error-free are the longest times after the "
        "end of a fault, in seconds: until every process is ready, and until the end of the last "
        "request that failed.\n\n"
    )
    text += table(head, rows)
    text += (
        f"\n{late} of {len(windows)} times a process needed more than {READY:.0f} s until it was "
        f"ready, and {dirty} times errors went on for more than {SETTLING:.0f} s.\n"
    )
    return text + "".join(f"{name} was skipped: {why}.\n" for name, why in skipped.items())


def _latencies(records: Sequence[Record], windows: Sequence[Window]) -> str:
    quiet: dict[str, list[float]] = defaultdict(list)
    broken: dict[str, list[float]] = defaultdict(list)
    spans = [(window.begin, window.heal + 5) for window in windows]
    for record in records:
        if failed(record) or record.complete is None:
            continue
        during = any(a <= record.complete and record.invoke <= b for a, b in spans)
        (broken if during else quiet)[record.op].append(record.complete - record.invoke)
    rows = []
    for op in sorted(quiet):
        if len(quiet[op]) >= 20:
            there = broken.get(op, [])
            rows.append((op, len(quiet[op]), *_percentiles(quiet[op]), *_percentiles(there)))
    head = ("request", "number", "p50", "p99", "p50 in faults", "p99 in faults")
    return (
        "\n## Latencies\n\nMilliseconds of requests that were answered, bodies of up to 24 MiB "
        "included.\n\n" + table(head, rows)
    )


def _percentiles(seconds: Sequence[float]) -> tuple[str, str]:
    if len(seconds) < 20:
        return "", ""
    cuts = quantiles(seconds, n=100)
    return f"{cuts[49] * 1000:.0f}", f"{cuts[98] * 1000:.0f}"


def _processes(samples: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    rows = []
    for name, found in samples.items():
        life = longest(found)
        seen = warm(life)
        minutes = (life[-1]["at"] - life[0]["at"]) / MINUTE
        peak = max(each["memory"] for each in found) / (1 << 20)
        starts = len({each["start"] for each in found})
        cells = [name, starts, f"{minutes:.0f}", f"{peak:.0f}"]
        by_hour = slope(seen, "memory") * 3600 / (1 << 20)
        enough = len(seen) >= LEAST
        cells.append(f"{by_hour:+.0f}" if enough else "")
        cells.append(" → ".join(_quarters(seen)) if enough else "")
        for figure in ("descriptors", "sockets", "database"):
            values = [each[figure] for each in seen]
            cells.append(f"{values[0]:.0f} → {values[-1]:.0f}, at most {max(values):.0f}")
        rows.append(cells)
    head = ("process", "starts", "longest life, min", "RSS at most, MiB", "RSS, MiB/h",
            "RSS by quarters, MiB", "descriptors", "sockets",
            "connections to PostgreSQL")  # fmt: skip
    return (
        "Slopes and descriptors are of the longest life of a process, without "
        f"its first {WARM / MINUTE:.0f} minutes.\n\n" + table(head, rows)
    )


def _quarters(seen: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """Mean memory: a slope alone does not tell a step, as of one large upload, from a leak."""
    size = len(seen) / 4
    for number in range(4):
        part = seen[round(number * size) : round((number + 1) * size)]
        yield f"{sum(each['memory'] for each in part) / len(part) / (1 << 20):.0f}"


def steady(folder: Path) -> str:
    """The section on the part in which no process ended."""
    figures = json.loads((folder / "outcome.json").read_text())
    records = list(load(folder / "history.jsonl"))
    struck = figures["windows"]
    grown = list(growth(figures["samples"]))
    wrong = [each for each in figures["violations"] if not each.startswith("flat")]
    text = (
        "\n## Processes that live on\n\n"
        "A part of its own, in which no fault ends a process, shows whether one grows.\n\n"
    )
    rows = [
        ("seed", f"`{figures['seed']}`"),
        ("minutes under load", f"{figures['seconds'] / MINUTE:.0f}"),
        ("requests", f"{len(records):,}"),
        ("faults injected", f"{len(struck)} of {len({each['id'] for each in struck})} kinds"),
        ("violations of the invariants", len(wrong)),
        ("what grew", "; ".join(grown) or "nothing"),
    ]
    return text + table(("what", "figure"), rows) + "\n" + _processes(figures["samples"])


if __name__ == "__main__":
    print(report(Path(sys.argv[1])), end="")
