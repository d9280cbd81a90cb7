"""`make soak`: all faults, for as long as one likes, and a report.

python -m tests.faults.soak --minutes 60 --ops 30000 --report docs/operate/soak.md
python -m tests.faults.soak --minutes 2 --only F-P2,F-K1 --seed 4711
python -m tests.faults.soak --minutes 0 --steady 30 --rate 10

A second part, `--steady`, leaves every process alive, and nothing of it may grow.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from tests.faults.checker import Violation
from tests.faults.nemeses import NEMESES
from tests.faults.report import STEADY, report, steady
from tests.faults.run import Course, Outcome, Run, dump, new_seed, summary
from tests.faults.steady import growth
from tests.faults.topology import Plan, Topology

DISK = 12 << 30  # bytes of the object store: it frees what was deleted much later, if at all


def main(arguments: list[str]) -> int:
    """1 when an invariant broke."""
    parser = argparse.ArgumentParser(prog="make soak", description="break everything for a while")
    parser.add_argument("--minutes", type=float, default=60, help="at least")
    parser.add_argument("--steady", type=float, default=0, help="minutes of the second part")
    parser.add_argument("--ops", type=int, default=0, help="requests, at least")
    parser.add_argument("--rate", type=float, default=20, help="requests a second, at most")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", default="", help="another one each time unless it is given")
    parser.add_argument("--only", default="", help="ids of faults, with commas; `none` for none")
    parser.add_argument("--folder", type=Path, help="where history and logs are kept")
    parser.add_argument("--report", type=Path, help="the page to write")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = set(given.only.split(",")) if given.only else {each.id for each in NEMESES}
    course = Course(
        given.seed or new_seed(),
        given.minutes * 60,
        given.ops,
        rate=given.rate,
        clients=given.clients,
        nemeses=[each for each in NEMESES if each.id in wanted],
    )
    folder = given.folder or Path(tempfile.mkdtemp(prefix="moorage-soak-"))
    print(f"seed {course.seed}; history and logs in {folder}", flush=True)
    wrong = 0
    if given.minutes:
        wrong += _ran(course, folder)
    if given.steady:
        living = [each for each in course.nemeses if not each.ends]
        calm = replace(course, seconds=given.steady * 60, ops=0, nemeses=living)
        wrong += _ran(calm, folder / STEADY, flat=True)
    if given.report:
        parts = report(folder) if given.minutes else steady(folder / STEADY)
        given.report.write_text(parts)
    return 1 if wrong else 0


def _ran(course: Course, folder: Path, *, flat: bool = False) -> int:
    """One part; how many invariants broke."""
    folder.mkdir(parents=True, exist_ok=True)
    with Topology(folder, Plan(disk=DISK)) as topology:
        run = Run(topology, course, lambda text: print(text, flush=True))
        outcome = run.go()
        if flat:
            outcome.violations += [Violation("flat", each) for each in _growth(outcome)]
        dump(outcome, folder / "outcome.json")
        print(run.complaint() if outcome.violations else "no violation")
    print(summary(outcome))
    return len(outcome.violations)


def _growth(outcome: Outcome) -> Iterator[str]:
    samples = {name: [asdict(s) for s in each] for name, each in outcome.samples.items()}
    return growth(samples)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
