"""Whether the checker finds bugs: each is put back, a topology runs with it, and must be condemned.

    python -m tests.faults.mutants [NAME …]

Prints a line for each; the exit status is the number of those that nobody noticed.
"""

import contextlib
import signal
import sys
import tempfile
import time
from http.client import HTTPException
from pathlib import Path

from tests.faults.mutant import BUGS
from tests.faults.nemeses import BY_ID, crash_jobs
from tests.faults.run import Course, Run
from tests.faults.topology import Plan, Topology
from tests.support.replicas import Calls

SECONDS, OPS = 40.0, 1500
LATE = 12.0
"""Seconds before a failover. A commit that does not wait is on the disk within ten: sooner, the
whole schema would be lost, and nobody could say what of the pushes is."""
MOST = 1200.0
"""Seconds after which a run ends: a busy machine takes its time for so many requests."""


def retain(topology: Topology) -> None:
    """Ask for a job that any jobservice may do; one that is asked for already is no error."""
    for policy in topology.rows("SELECT id FROM retention_policies"):
        path = f"/api/v2.0/retentions/{policy}/executions"
        kind = {"Content-Type": "application/json"}
        with contextlib.suppress(OSError, HTTPException):
            Calls(topology.of("core")[0]).ask("POST", path, b'{"dry_run": false}', kind)


# At its end a task is surely the worker's: after a claim that found nothing it would have none.
FAULTS = {"F-P2": BY_ID["F-P2"], "a job crashes": crash_jobs("job.finishing", retain)}


def tried(name: str, folder: Path, seconds: float = SECONDS) -> list[str]:
    """The violations of the invariants that a bug breaks."""
    known = BUGS[name]
    nemeses = [FAULTS[known.needs]] if known.needs else []
    plan = Plan(registries=2, cores=1, jobservices=2, command=("tests.faults.mutant", name))
    pause = LATE if known.needs == "F-P2" else 2.0
    course = Course("mutant", seconds, OPS, MOST, rate=30, pause=pause, nemeses=nemeses)
    with Topology(folder, plan) as topology:
        found = Run(topology, course).go().violations
    return [str(each) for each in found if each.invariant in known.breaks]


def main(names: list[str]) -> int:
    """Try each."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    missed = 0
    for name in names or list(BUGS):
        began = time.monotonic()
        found, said = [], "nobody noticed"
        try:
            with tempfile.TemporaryDirectory(prefix="moorage-mutant-") as folder:
                found = tried(name, Path(folder))
        except Exception as error:  # the others are still to come
            said = f"the run failed: {error!r}"
        missed += not found
        said = found[0].splitlines()[0][:120] if found else said
        print(f"{name:28} {len(found):4} {time.monotonic() - began:4.0f} s  {said}", flush=True)
    print(f"{len(names or BUGS) - missed} of {len(names or BUGS)} bugs were found")
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
