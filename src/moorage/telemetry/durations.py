"""Seconds and bytes in buckets, as histograms and as the quantiles that Harbor's dashboards read.

A dashboard of Harbor asks `…_seconds{quantile="0.9"}`, which one process estimates for itself; over
several processes only a histogram can be summed. So there are both, from the same plain numbers.
"""

import math
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import HistogramMetricFamily, Metric, SummaryMetricFamily

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""
BYTES = tuple(float(1 << power) for power in (10, 14, 17, 20, 22, 24, 26, 28, 30, 32))
"""Upper bounds in bytes: 1 KiB to 4 GiB."""
QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.99)
WINDOW = 300.0
"""Quantiles are those of the last one to two windows, in seconds."""

Labels = tuple[str, ...]


class Buckets:
    """Values counted by labels: one number a bucket, then the rest, then the sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.rows: dict[Labels, list[float]] = {}

    def add(self, labels: Labels, value: float) -> None:
        """Count one value."""
        row = self.rows.get(labels)
        if row is None:
            row = self.rows[labels] = [0.0] * (len(self.bounds) + 2)
        row[bisect_left(self.bounds, value)] += 1
        row[-1] += value

    def histogram(self, name: str, help_: str, labels: Sequence[str]) -> Metric:
        """All values."""
        family = HistogramMetricFamily(name, help_, labels=labels)
        for key, row in list(self.rows.items()):
            total, buckets = 0.0, []
            for bound, hits in zip((*map(str, self.bounds), "+Inf"), row[:-1], strict=True):
                total += hits
                buckets.append((bound, total))
            family.add_metric(key, buckets, row[-1])
        return family


class Recent:
    """The quantiles of what came lately."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._marked = time.monotonic()
        self._older: dict[Labels, list[float]] = {}
        self._newer: dict[Labels, list[float]] = {}

    def summary(self, name: str, help_: str, labels: Sequence[str]) -> Metric:
        """Quantiles, the count and the sum."""
        if time.monotonic() - self._marked > WINDOW:
            self._marked = time.monotonic()
            self._older = self._newer
            self._newer = {key: list(row) for key, row in self._buckets.rows.items()}
        family = SummaryMetricFamily(name, help_, labels=labels)
        for key, row in list(self._buckets.rows.items()):
            before = self._older.get(key)
            recent = row if before is None else [a - b for a, b in zip(row, before, strict=True)]
            named = dict(zip(labels, key, strict=True))
            for part in QUANTILES:
                value = quantile(part, recent[:-1], self._buckets.bounds)
                family.add_sample(name, {**named, "quantile": str(part)}, value)
            family.add_metric(key, int(sum(row[:-1])), row[-1])
        return family


def quantile(part: float, counts: Sequence[float], bounds: Sequence[float]) -> float:
    """The value below which `part` of the counted ones lie, as the buckets tell; NaN for none."""
    total = sum(counts)
    if not total:
        return math.nan
    rank, seen, low = part * total, 0.0, 0.0
    for bound, hits in zip(bounds, counts, strict=False):
        if hits and seen + hits >= rank:
            return low + (bound - low) * (rank - seen) / hits
        seen += hits
        low = bound
    return bounds[-1]  # beyond the last bound nothing finer is known


class Durations:
    """Seconds under Harbor's name as a summary, and under our own as a histogram."""

    def __init__(
        self, harbors: str, ours: str, help_: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self._names = harbors, ours
        self._help = help_
        self._labels = labels
        self._buckets = Buckets(bounds)
        self._recent = Recent(self._buckets)
        self.add = self._buckets.add

    @property
    def rows(self) -> Mapping[Labels, Sequence[float]]:
        """The counts by labels."""
        return self._buckets.rows

    def collect(self) -> Iterator[Metric]:
        """Both."""
        yield self._recent.summary(self._names[0], self._help, self._labels)
        yield self._buckets.histogram(self._names[1], self._help, self._labels)
