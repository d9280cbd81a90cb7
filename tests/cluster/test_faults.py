"""The whole topology under load while its parts fail at random: the invariants I1 to I12 hold.

    TESTS_SEED=4711 pytest tests/cluster/test_faults.py -k new   faults of the run that printed it
    TESTS_FAULT_SECONDS=600 pytest tests/cluster/test_faults.py  ten minutes of each seed

`make soak` does the same for as long as one likes, and writes a report.
"""

import os

import pytest
from tests.faults.nemeses import NEMESES
from tests.faults.run import Course, new_seed
from tests.faults.trial import trial

pytestmark = [
    pytest.mark.slow,
    # What a fault breaks in the middle of a request may be left to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SECONDS = float(os.environ.get("TESTS_FAULT_SECONDS", "180"))
SHORT = [nemesis for nemesis in NEMESES if not nemesis.slow]


@pytest.mark.parametrize("seed", ["moorage", ""], ids=["fixed", "new"])
def test_no_invariant_breaks(seed: str) -> None:
    """A fault every few seconds: three minutes in the same order each time, three in a new one."""
    outcome = trial(Course(seed or new_seed(), SECONDS, nemeses=SHORT, pause=1, strikes=3))
    assert any(record.op == "put" and record.status == 201 for record in outcome.records)
