"""How long the server works on a page: the processor time of its process, or the time on the clock.

The processor's time is the same on a busy machine, nearly; the clock's is what a visitor waits, and
has the database in it when that is another process.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.portal.visitor import Visitor


def working(pid: int) -> float:
    """Seconds that all threads of a process were on a processor."""
    spent = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            spent += int((thread / "schedstat").read_text().split()[0])
        except OSError:
            continue  # the thread has ended
    return spent / 1e9


def measured(
    visitor: Visitor, pid: int, pages: Sequence[str], *, rounds: int
) -> Mapping[str, tuple[float, float]]:
    """Page to the medians of its processor time and its time on the clock, in seconds."""
    found = {}
    for path in pages:
        used, taken = [], []
        for number in range(rounds + 1):
            before, begin = working(pid), time.perf_counter()
            answer = visitor.client.get(path)
            end, after = time.perf_counter(), working(pid)
            assert answer.status_code in (200, 303), (path, answer.status_code)
            if number:  # the first time something may be read or compiled that is kept
                used.append(after - before)
                taken.append(end - begin)
        found[path] = statistics.median(used), statistics.median(taken)
    return found
