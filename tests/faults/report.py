"""The report of a soak, from what its run left in a folder.

python -m tests.faults.report FOLDER > docs/operate/soak.md
"""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

from tests.faults.checker import READY, SETTLING, Window, failed, in_a_row
from tests.faults.history import Record, load

MINUTE = 60.0
WARM = 300.0  # seconds of a process in which it fills its caches

_HEAD = (
    "# A soak of the whole topology\n\n"
    "This page is written by `make soak` from one run; do not edit it.\n\n"
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
        _processes(figures["samples"]),
    ]
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
        lives: dict[float, list[Mapping[str, float]]] = defaultdict(list)
        for each in found:
            lives[each["start"]].append(each)
        life = max(lives.values(), key=lambda one: one[-1]["at"] - one[0]["at"])
        warm = [each for each in life if each["at"] - life[0]["at"] >= WARM] or life
        minutes = (life[-1]["at"] - life[0]["at"]) / MINUTE
        peak = max(each["memory"] for each in found) / (1 << 20)
        cells = [name, len(lives), f"{minutes:.0f}", f"{peak:.0f}"]
        slope = _slope(warm, "memory") * 3600 / (1 << 20)
        cells.append(f"{slope:+.0f}" if len(warm) > 20 else "")
        for figure in ("descriptors", "sockets"):
            values = [each[figure] for each in warm]
            cells.append(f"{values[0]:.0f} → {values[-1]:.0f}, at most {max(values):.0f}")
        rows.append(cells)
    head = ("process", "starts", "longest life, min", "RSS at most, MiB", "RSS, MiB/h",
            "descriptors", "sockets")  # fmt: skip
    return (
        "\n## Processes\n\nSlopes and descriptors are of the longest life of a process, without "
        f"its first {WARM / MINUTE:.0f} minutes.\n\n" + table(head, rows)
    )


def _slope(samples: Sequence[Mapping[str, float]], figure: str) -> float:
    """Units a second, by least squares."""
    count = len(samples)
    mean_at = sum(each["at"] for each in samples) / count
    mean = sum(each[figure] for each in samples) / count
    square = sum((each["at"] - mean_at) ** 2 for each in samples)
    if not square:
        return 0.0
    return sum((each["at"] - mean_at) * (each[figure] - mean) for each in samples) / square


if __name__ == "__main__":
    print(report(Path(sys.argv[1])), end="")
