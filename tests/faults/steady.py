"""Whether processes that live on stay as they are: memory, descriptors, connections.

Faults that end processes cut every life short, so a part of a soak goes without them. What a
process fills in its first minutes is no growth; what it still gains afterwards must be little.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

WARM = 300.0
"""Seconds of a process in which it fills its caches."""
MEMORY = 16 << 20
"""Bytes of a rise over the whole time that may be chance."""
FEW = 4
"""Descriptors or connections that come and go."""
LEAST = 20
"""Samples of which a slope says something."""

Samples = Sequence[Mapping[str, float]]


def longest(found: Samples) -> Samples:
    """The samples of the longest life of a process."""
    lives: dict[float, list[Mapping[str, float]]] = defaultdict(list)
    for each in found:
        lives[each["start"]].append(each)
    return max(lives.values(), key=lambda one: one[-1]["at"] - one[0]["at"])


def warm(life: Samples) -> Samples:
    """Those of them after its first minutes."""
    return [each for each in life if each["at"] - life[0]["at"] >= WARM] or life


def slope(samples: Samples, figure: str) -> float:
    """Units a second, by least squares."""
    count = len(samples)
    mean_at = sum(each["at"] for each in samples) / count
    mean = sum(each[figure] for each in samples) / count
    square = sum((each["at"] - mean_at) ** 2 for each in samples)
    if not square:
        return 0.0
    return sum((each["at"] - mean_at) * (each[figure] - mean) for each in samples) / square


def growth(samples: Mapping[str, Samples]) -> Iterator[str]:
    """What grew, and processes that were not seen long enough to tell."""
    for name, found in samples.items():
        life = longest(found)
        if len(life) != len(found):
            yield f"{name} was started again: nothing can be said of it"
            continue
        seen = warm(life)
        span = seen[-1]["at"] - seen[0]["at"]
        if len(seen) < LEAST or seen[0]["at"] - life[0]["at"] < WARM:
            yield f"{name}: {len(seen)} samples are too few"
            continue
        if (rise := slope(seen, "memory") * span) > MEMORY:
            yield f"the memory of {name} grew by {rise / (1 << 20):.0f} MiB in {span:.0f} s"
        third = len(seen) // 3
        for figure in ("descriptors", "sockets", "database"):
            first, last = (
                median(each[figure] for each in part) for part in (seen[:third], seen[-third:])
            )
            if last > first + FEW:
                yield f"{figure} of {name} grew from {first:.0f} to {last:.0f}"
