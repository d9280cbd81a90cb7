"""Whether the checker finds bugs: each is put back, a topology runs with it, and must be condemned.

    python -m tests.faults.mutants [NAME …]

Prints a line for each; the exit status is the number of those that nobody noticed.
"""

import sys
import tempfile
import time
from pathlib import Path

from tests.faults.mutant import BRINGS_OUT, BUGS
from tests.faults.nemeses import NEMESES
from tests.faults.run import Course, Run
from tests.faults.topology import Plan, Topology

SECONDS = 40.0


def tried(name: str, folder: Path, seconds: float = SECONDS) -> list[str]:
    """The violations that a bug causes."""
    wanted = BRINGS_OUT.get(name, ())
    nemeses = [nemesis for nemesis in NEMESES if nemesis.id in wanted]
    plan = Plan(registries=2, cores=1, jobservices=2, command=("tests.faults.mutant", name))
    course = Course("mutant", seconds, rate=30, nemeses=nemeses)
    with Topology(folder, plan) as topology:
        return [str(each) for each in Run(topology, course).go().violations]


def main(names: list[str]) -> int:
    """Try each."""
    missed = 0
    for name in names or list(BUGS):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="moorage-mutant-") as folder:
            found = tried(name, Path(folder))
        missed += not found
        said = found[0].splitlines()[0][:150] if found else "nobody noticed"
        print(f"{name:28} {len(found):4} {time.monotonic() - began:4.0f} s  {said}", flush=True)
    print(f"{missed} of {len(names or BUGS)} bugs were missed")
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
