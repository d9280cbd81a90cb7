"""A run in a test: two processes of each role, and no invariant may break."""

import shutil
import tempfile
from pathlib import Path

from tests.faults.run import Course, Outcome, Run, summary, total
from tests.faults.topology import Plan, Topology
from tests.support.requirements import require

PLAN = Plan(registries=2, cores=2, jobservices=2)


def trial(course: Course) -> Outcome:
    """What came of it; its folder stays when an invariant broke."""
    require("initdb", "pg_basebackup", "redis-server", "nginx", "weed")
    print(f"TESTS_SEED={course.seed}")
    # Not below pytest's own folder, which PostgreSQL's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="moorage-faults-"))
    with Topology(folder, PLAN) as topology:
        run = Run(topology, course, print)
        outcome = run.go()
        assert not outcome.violations, run.complaint()
    shutil.rmtree(folder)
    print(summary(outcome))
    for nemesis, why in outcome.skipped.items():
        print(f"{nemesis} skipped: {why}")
    assert total(outcome, "cycles")
    return outcome
