"""The whole topology under load while its parts fail at random: the invariants I1 to I12 hold.

    TESTS_SEED=4711 pytest tests/cluster/test_faults.py -k new   the faults of the run that printed it
    TESTS_FAULT_SECONDS=600 pytest tests/cluster/test_faults.py  ten minutes of it for each seed

`make soak` does the same for as long as one likes, and writes a report.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
from tests.faults.checker import during, failed, in_a_row
from tests.faults.history import Record
from tests.faults.nemeses import BY_ID, NEMESES, kill_a
from tests.faults.run import Course, Outcome, Run, new_seed, summary, total
from tests.faults.topology import PASSWORD, Plan, Topology
from tests.faults.world import doors
from tests.support.requirements import require
from tests.support.writing import returned, until, writing

pytestmark = [
    pytest.mark.slow,
    # What a fault breaks in the middle of a request may be left to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SECONDS = float(os.environ.get("TESTS_FAULT_SECONDS", "180"))
WRITES_RETURN = 10.0  # seconds after a promotion
PLAN = Plan(registries=2, cores=2, jobservices=2)
SHORT = [nemesis for nemesis in NEMESES if not nemesis.slow]


def ran(course: Course) -> Outcome:
    """A run in which no invariant broke; its folder stays when one did."""
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


@pytest.mark.parametrize("seed", ["moorage", ""], ids=["fixed", "new"])
def test_no_invariant_breaks(seed: str) -> None:
    """A fault every few seconds: three minutes in the same order each time, three in a new one."""
    outcome = ran(Course(seed or new_seed(), SECONDS, nemeses=SHORT, pause=1))
    assert len(outcome.windows) >= 3
    assert any(record.op == "put" and record.status == 201 for record in outcome.records)


@contextmanager
def promoted(back: dict[str, float], topology: Topology, rng: Random) -> Iterator[None]:
    """The standby takes over; `back` gets, by door, the seconds from then to the first write."""
    each = {door.name: door.port for door in doors(topology)}
    with writing(each, PASSWORD) as writers, BY_ID["F-P2"].strike(topology, rng):
        moment = time.monotonic()
        until(writers, moment)
        back.update(returned(writers, moment))
        yield


def test_an_outage_costs_what_is_said_of_it() -> None:
    """Redis: nothing. The database: until the standby is there. The store: pushes. One process:
    one more try. A restart of all of them in turn: nothing."""
    names = "F-R1", "F-R3", "F-P2", "F-S6", "F-K5"
    back: dict[str, float] = {}
    strikes = {"F-P2": partial(promoted, back)}
    lost = [
        replace(
            BY_ID[name],
            strike=strikes.get(name, BY_ID[name].strike),
            seconds=(60, 60) if name == "F-S6" else (5, 5),
        )
        for name in names
    ]
    killed = [kill_a(role) for role in ("registry", "core", "jobservice")]
    outcome = ran(Course("moorage", 0, script=[*lost, *killed], pause=2))

    def seen(*names: str) -> list[Record]:
        return during(outcome.records, [each for each in outcome.windows if each.id in names])

    harmless = [each for each in seen("F-R1", "F-R3", "F-K5") if each.via == "nginx"]
    assert harmless
    assert not [each for each in harmless if failed(each)]
    print(f"seconds until writes were back after the promotion: {back}")
    assert len(back) == 1 + PLAN.registries
    assert max(back.values()) <= WRITES_RETURN
    without = [each for each in seen("F-S6") if each.via == "nginx"]
    assert not [each for each in without if each.op in ("pull", "look") and failed(each)]
    pushes = [each for each in without if each.op in ("push", "push at once", "chunk", "finish")]
    assert {each.status for each in pushes if failed(each)} == {503}
    assert in_a_row(seen("F-K1")) <= 1
