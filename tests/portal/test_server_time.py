"""How long the server works on each page that there is.

A bound on the processor time of its process: that is nearly the same on a busy machine, where the
time on the clock is not. What is looked at is found by following links, so a new page is in it.

    TESTS_PORTAL_FULL=1     on 30 projects, 400 repositories, 20,000 artifacts and a year of pulls,
                            on both databases, on the clock of a machine that does nothing else;
                            every sorting and every second page too. Prints the medians.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.portal.full import Size, filled
from tests.portal.paths import every, everything, strangers
from tests.portal.servertime import measured
from tests.portal.visitor import Site
from tests.support.databases import PostgresServer

pytestmark = pytest.mark.slow

MEDIAN = 0.05
"""Seconds that a page may take on the full data and a machine of its own."""
NOISE = 4
"""By how much processor time may be more where others use the same caches and cores."""


def test_no_page_is_slow(site: Site) -> None:
    """On little data, whose pages have as many rows as they can."""
    pages = [*every(site), *strangers(site)]
    found = measured(site.admin(), site.registry.pid, pages, rounds=3)
    slow = {path: used for path, (used, _taken) in found.items() if used > MEDIAN * NOISE}
    assert slow == {}


@pytest.mark.skipif("TESTS_PORTAL_FULL" not in os.environ, reason="takes minutes, alone")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_page_is_slow_on_the_full_data(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each in MEDIAN, for somebody who waits."""
    url = ""
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.url(server.fresh())
    with filled(tmp_path, Size(), url) as site:
        pages = list(everything(site, "sort", "page", "size", "days").pages.values())
        found = measured(site.admin(), site.registry.pid, pages, rounds=9)
    report(kind, found)
    slow = {path: taken for path, (_used, taken) in found.items() if taken > MEDIAN}
    assert slow == {}


def report(kind: str, found: Mapping[str, tuple[float, float]]) -> None:
    """The slowest pages, in milliseconds of the clock and of the processor."""
    ordered = sorted(found.items(), key=lambda item: -item[1][1])
    middle = ordered[len(ordered) // 2][1]
    print(f"{kind}: {len(found)} pages, the middle one {middle[1] * 1000:.1f} ms")
    for path, (used, taken) in ordered[:30]:
        print(f"{taken * 1000:7.1f} {used * 1000:7.1f} {path}")
