"""What a soak calls growth: of memory, descriptors and connections, after the first minutes."""

import random
from collections.abc import Mapping, Sequence

import pytest
from tests.faults.steady import growth

MIB = 1 << 20


def life(minutes: float = 20, **rise: float) -> Sequence[Mapping[str, float]]:
    """Samples of a process that fills its caches for four minutes; `rise` an hour, of a figure."""
    rng = random.Random(0)
    samples = []
    for at in range(0, int(minutes * 60), 15):
        grown = {name: by_hour * at / 3600 for name, by_hour in rise.items()}
        samples.append(
            {
                "at": float(at),
                "memory": min(at, 240) * MIB / 4
                + rng.uniform(-3, 3) * MIB
                + grown.get("memory", 0),
                "descriptors": rng.choice((30, 31, 36)) + grown.get("descriptors", 0),
                "sockets": rng.choice((20, 21, 26)) + grown.get("sockets", 0),
                "database": rng.choice((5, 6, 10)) + grown.get("database", 0),
                "start": 1,
            }
        )
    return samples


def test_what_goes_up_and_down_is_no_growth() -> None:
    """Nor are the first minutes, in which a process fills its caches."""
    assert list(growth({"registry-1": life(), "core-1": life(60)})) == []


@pytest.mark.parametrize(
    ("figure", "by_hour"),
    [("memory", 100 * MIB), ("descriptors", 60), ("sockets", 60), ("database", 60)],
)
def test_what_goes_up_is_named(figure: str, by_hour: float) -> None:
    """The process and the figure."""
    (said,) = growth({"registry-1": life(**{figure: by_hour}), "core-1": life()})
    assert "registry-1" in said
    assert figure in said


def test_a_short_life_says_nothing() -> None:
    """Neither of one that was started again, nor of one that was seen for minutes alone."""
    again = [*life(10), *({**each, "start": 2, "at": each["at"] + 600} for each in life(10))]
    said = list(growth({"registry-1": again, "core-1": life(6)}))
    assert "started again" in said[0]
    assert "too few" in said[1]
