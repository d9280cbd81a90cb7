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
from tests.portal.paths import every, everything, long, strangers
from tests.portal.servertime import measured
from tests.portal.visitor import Site
from tests.support.databases import PostgresServer

pytestmark = pytest.mark.slow

FULL = "TESTS_PORTAL_FULL" in os.environ
SIZE = Size() if FULL else Size(4, 12, 240, 1000, 3)
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


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_page_is_slow_on_generated_data(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """On all of it each in MEDIAN, for somebody who waits; on some of it as above."""
    url = ""
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.url(server.fresh())
    with filled(tmp_path, SIZE, url) as site:
        ways = ("sort", "page", "size", "days") if FULL else ()
        pages = list(everything(site, *ways).pages.values())
        pages += long(site) if FULL else ()
        found = measured(site.admin(), site.registry.pid, pages, rounds=9 if FULL else 2)
    report(kind, found)
    slow = {
        path: (used, taken)
        for path, (used, taken) in found.items()
        if (taken > MEDIAN if FULL else used > MEDIAN * NOISE)
    }
    assert slow == {}


def report(kind: str, found: Mapping[str, tuple[float, float]]) -> None:
    """The slowest pages, in milliseconds of the clock and of the processor."""
    ordered = sorted(found.items(), key=lambda item: -item[1][1])
    middle = ordered[len(ordered) // 2][1]
    print(f"{kind}: {len(found)} pages, the middle one {middle[1] * 1000:.1f} ms")
    for path, (used, taken) in ordered[:30]:
        print(f"{taken * 1000:7.1f} {used * 1000:7.1f} {path}")
