"""The whole topology under load while its parts fail at random: the invariants I1 to I12 hold.

    TESTS_SEED=4711 pytest tests/cluster/test_faults.py        the faults of the run that printed it
    TESTS_FAULT_SECONDS=600 pytest tests/cluster/test_faults.py  ten minutes of it for each seed

`make soak` does the same for as long as one likes, and writes a report.
"""

import os
from pathlib import Path

import pytest
from tests.faults.checker import retries
from tests.faults.nemeses import NEMESES
from tests.faults.run import Course, Run, new_seed, summary, total
from tests.faults.topology import Plan, Topology
from tests.support.requirements import require

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("TESTS_FAULT_SECONDS", "60"))
PLAN = Plan(registries=2, cores=2, jobservices=2)
SHORT = [nemesis for nemesis in NEMESES if not nemesis.slow]


@pytest.mark.parametrize("seed", ["moorage", "a new one"])
def test_no_invariant_breaks(seed: str, tmp_path: Path) -> None:
    """A fixed seed and a new one, a fault every few seconds."""
    require("initdb", "pg_basebackup", "redis-server", "nginx", "weed")
    course = Course(new_seed() if seed == "a new one" else seed, SECONDS, nemeses=SHORT, pause=1)
    print(f"TESTS_SEED={course.seed}")
    with Topology(tmp_path, PLAN) as topology:
        run = Run(topology, course, print)
        outcome = run.go()
        assert not outcome.violations, run.complaint()
    print(summary(outcome))
    for nemesis, why in outcome.skipped.items():
        print(f"{nemesis} skipped: {why}")
    assert len(outcome.windows) >= 3
    assert any(record.op == "put" and record.status == 201 for record in outcome.records)
    assert total(outcome, "cycles")
    assert retries(outcome.records, outcome.windows) <= 8
