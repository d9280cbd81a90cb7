"""Charts as data: axes that end at round numbers, weeks where days are too many, bars that fit."""

from datetime import date, timedelta

import pytest

from moorage.portal.charts import HEIGHT, MOST_SLOTS, Point, by_week, ceiling, draw

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("most", "top"),
    [(0, 2), (1, 2), (3, 4), (9, 10), (11, 20), (99, 100), (101, 200), (999, 1000), (1001, 2000)],
)
def test_counts_end_at_a_round_number(most: int, top: int) -> None:
    """Whose half is one too: no axis says half a pull."""
    assert ceiling(most, size=False) == top
    assert top % 2 == 0


@pytest.mark.parametrize(
    ("most", "top"),
    [
        (500, 600),
        (3 * KIB, 4 * KIB),
        (900 * KIB, 1000 * KIB),
        (1001 * KIB, 2 * MIB),
        (MIB, 2 * MIB),
    ],
)
def test_bytes_end_at_a_round_number_of_their_unit(most: int, top: int) -> None:
    """In steps of 1024, as sizes are said."""
    assert ceiling(most, size=True) >= most
    assert ceiling(most, size=True) == top


def days(count: int) -> list[Point]:
    """So many days of 1 and the day's number."""
    first = date(2026, 1, 1)
    return [Point(first + timedelta(days=n), (1, n)) for n in range(count)]


def test_long_periods_are_drawn_by_weeks() -> None:
    """Whole ones, that end with the last day; sums, or the last figure of each."""
    assert by_week(days(MOST_SLOTS), sum) == days(MOST_SLOTS)
    summed = by_week(days(365), sum)
    assert len(summed) == 52
    assert summed[-1] == Point(date(2026, 1, 1) + timedelta(days=358), (7, sum(range(358, 365))))
    last = by_week(days(365), lambda week: week[-1])
    assert [point.values[1] for point in last[-2:]] == [357, 364]


def test_bars_stand_on_each_other_and_inside() -> None:
    """The lowest part first; what is small is still seen, what is nothing is not."""
    points = [
        Point(date(2026, 1, n + 1), each) for n, each in enumerate([(50, 50), (1, 0), (0, 0)])
    ]
    slots, ys, xs = draw(points, ("here", "shared"), size=False)
    first, second, third = (slot.parts for slot in slots)
    assert [(part.tone, part.y, part.height) for part in first] == [(0, 50, 50), (1, 0, 50)]
    assert [(part.tone, part.y + part.height) for part in second] == [(0, HEIGHT)]
    assert second[0].height > 0
    assert third == []
    assert ys == ["100", "50", "0"]
    assert xs == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert slots[0].said == "2026-01-01: here 50, shared 50"
    assert draw(points[:1], ("here", "shared"), size=True)[2] == ["2026-01-01"]


def test_nothing_is_drawn_beyond_the_plot() -> None:
    """Whatever the figures are."""
    for values in ((1, 10**18), (10**18, 1), (1, 1), (999, 1)):
        slots, _, _ = draw([Point(date(2026, 1, 1), values)], ("a", "b"), size=True)
        assert all(0 <= part.y <= HEIGHT - part.height + 1 for part in slots[0].parts)
