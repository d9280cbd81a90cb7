"""What an outage of each part costs, and no more: faults one after the other under load."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from random import Random

import pytest
from tests.faults.checker import during, failed, in_a_row
from tests.faults.history import Record
from tests.faults.nemeses import BY_ID, kill_a
from tests.faults.run import Course
from tests.faults.topology import PASSWORD, Topology
from tests.faults.trial import PLAN, trial
from tests.faults.world import doors
from tests.support.writing import returned, until, writing

pytestmark = [
    pytest.mark.slow,
    # What a fault breaks in the middle of a request may be left to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WRITES_RETURN = 10.0  # seconds after a promotion


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
    outcome = trial(Course("moorage", 0, script=[*lost, *killed], pause=2))

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
