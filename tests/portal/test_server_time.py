"""How long the server works on each page that there is, on the data of a large installation.

30 projects, 400 repositories, 20,000 artifacts, a year of pulls; each page that a link leads to, in
every order, size and period, and its second page. What is looked at is found by following links, so
a new page is in it.

A bound on the processor time of its process: that is nearly the same on a busy machine, where the
time on the clock is not.

    TESTS_PORTAL_FULL=1     the clock too, on a machine that does nothing else
"""

import os
from collections.abc import Iterator, Mapping

import pytest
from tests.portal.full import Size, filled
from tests.portal.paths import every, everything, long, strangers
from tests.portal.servertime import measured
from tests.portal.visitor import Site
from tests.support.databases import PostgresServer

pytestmark = pytest.mark.slow

FULL = "TESTS_PORTAL_FULL" in os.environ
MEDIAN = 0.05
"""Seconds that a page may take on a machine of its own."""
NOISE = 2
"""By how much processor time may be more where others use the same caches and cores."""
SHORTEST = 500
"""Pages that are looked at, at least: fewer would say that links were not found."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Site]]:
    """A registry on each of the databases, and which one it is."""
    url = ""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.url(server.fresh())
    with filled(tmp_path_factory.mktemp("large"), Size(), url) as site:
        yield request.param, site


def test_no_page_is_slow(site: Site) -> None:
    """On little data, whose pages say all that there is to say of something."""
    pages = [*every(site), *strangers(site)]
    found = measured(site.admin(), site.registry.pid, pages, rounds=3)
    assert {path: used for path, (used, _) in found.items() if used > MEDIAN * NOISE} == {}


def test_no_page_is_slow_on_much_data(large: tuple[str, Site]) -> None:
    """An administrator's, who sees all of it."""
    kind, site = large
    ways = everything(site, "sort", "page", "size", "days").pages.values()
    pages = [*ways, *long(site)]
    found = measured(site.admin(), site.registry.pid, pages, rounds=9 if FULL else 3)
    report(kind, found)
    assert len(found) > SHORTEST
    assert {path: used for path, (used, _) in found.items() if used > MEDIAN * NOISE} == {}
    if FULL:
        assert {path: taken for path, (_, taken) in found.items() if taken > MEDIAN} == {}


def report(kind: str, found: Mapping[str, tuple[float, float]]) -> None:
    """The slowest pages, in milliseconds of the clock and of the processor."""
    ordered = sorted(found.items(), key=lambda item: -item[1][1])
    middle = ordered[len(ordered) // 2][1]
    print(f"{kind}: {len(found)} pages, the middle one {middle[1] * 1000:.1f} ms")
    for path, (used, taken) in ordered[:30]:
        print(f"{taken * 1000:7.1f} {used * 1000:7.1f} {path}")
