"""Metrics of one process, under the names that dashboards for Harbor and distribution know.

    component   names
    core        harbor_core_*
    registry    registry_*
    jobservice  harbor_jobservice_*, moorage_background_*, moorage_gc_*
    exporter    everything else

Requests are counted in plain numbers and become samples only when somebody asks: a labelled counter
of the client library costs more than answering a manifest from memory does.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "core": ("harbor_core_",),
    "registry": ("registry_",),
    "jobservice": ("harbor_jobservice_", "moorage_background_", "moorage_gc_"),
}
"""Prefixes of each component; the rest is the exporter's."""


class Requests(Collector):
    """Counts requests of one face by what they were for, and their seconds."""

    def __init__(self, prefix: str, noun: str, label: str, in_flight: str) -> None:
        """`prefix_noun_total{label,method,code}` and `prefix_request_duration_seconds`."""
        self._prefix = prefix
        self._noun = noun
        self._label = label
        self._in_flight = in_flight
        self._counts: dict[tuple[str, str, int], int] = {}
        self._times: dict[tuple[str, str], list[float]] = {}
        self.in_flight = 0

    def add(self, operation: str, method: str, status: int, seconds: float) -> None:
        """Count one request that is over."""
        counts, times = self._counts, self._times
        key = (operation, method, status)
        counts[key] = counts.get(key, 0) + 1
        row = times.get(key[:2])
        if row is None:
            row = times[key[:2]] = [0.0] * (len(BUCKETS) + 2)  # one a bucket, the rest, the sum
        row[bisect_left(BUCKETS, seconds)] += 1
        row[-1] += seconds

    def collect(self) -> Iterator[Metric]:
        """The samples as of now."""
        requests = CounterMetricFamily(
            f"{self._prefix}_{self._noun}",
            "Requests that were answered",
            labels=(self._label, "method", "code"),
        )
        for (operation, method, status), count in list(self._counts.items()):
            requests.add_metric((operation, method, str(status)), count)
        yield requests
        seconds = HistogramMetricFamily(
            f"{self._prefix}_request_duration_seconds",
            "Seconds from the request's head to the answer's end",
            labels=(self._label, "method"),
        )
        for labels, row in list(self._times.items()):
            total = 0.0
            buckets = []
            for bound, hits in zip((*map(str, BUCKETS), "+Inf"), row[:-1], strict=True):
                total += hits
                buckets.append((bound, total))
            seconds.add_metric(labels, buckets, row[-1])
        yield seconds
        yield GaugeMetricFamily(
            f"{self._prefix}_{self._in_flight}",
            "Requests that are being answered",
            value=self.in_flight,
        )


class Metrics:
    """Counters that the faces, the store and the background work add to."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry_requests = Requests(
            "registry_http", "requests", "handler", "in_flight_requests"
        )
        self.core_requests = Requests(
            "harbor_core_http", "request", "operation", "inflight_requests"
        )
        self.registry.register(self.registry_requests)
        self.registry.register(self.core_requests)
        self.storage_seconds = Histogram(
            "registry_storage_action_seconds",
            "Seconds that an action of the blob store took",
            ["driver", "action"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.background = Counter(
            "moorage_background_runs",
            "Batches of background work that ended",
            ["work", "outcome"],
            registry=self.registry,
        )
        self.collected_blobs = Counter(
            "moorage_gc_collected_blobs", "Blobs put into the trash", registry=self.registry
        )
        self.collected_bytes = Counter(
            "moorage_gc_collected_bytes",
            "Bytes of the blobs put into the trash",
            registry=self.registry,
        )
        self.swept_objects = Counter(
            "moorage_gc_swept_objects", "Objects deleted from the trash", registry=self.registry
        )
        self.tasks = Counter(
            "harbor_jobservice_task",
            "Tasks of background jobs that this process did",
            ["type", "status"],
            registry=self.registry,
        )
        self.task_seconds = Histogram(
            "harbor_jobservice_task_process_time_seconds",
            "Seconds that a task took",
            ["type", "status"],
            buckets=(*BUCKETS, 60.0, 600.0, 3600.0),
            registry=self.registry,
        )
        info = Gauge("moorage_info", "The running version", ["version"], registry=self.registry)
        info.labels(version).set(1)

    def observe_storage(self, driver: str, action: str, seconds: float) -> None:
        """Count one action of the blob store."""
        self.storage_seconds.labels(driver, action).observe(seconds)

    def observe_task(self, kind: str, status: str, seconds: float) -> None:
        """Count one run of a task."""
        self.tasks.labels(kind, status.lower()).inc()
        self.task_seconds.labels(kind, status.lower()).observe(seconds)

    def expose(self, component: str = "") -> tuple[bytes, str]:
        """The figures of a component, or all, and their content type; ValueError if unknown."""
        if component and component != "exporter" and component not in COMPONENTS:
            known = ", ".join((*COMPONENTS, "exporter"))
            raise ValueError(f"unknown component; choose one of {known}")
        return generate_latest(_Part(self.registry, component)), CONTENT_TYPE_LATEST


class _Part(Collector):
    """What of a registry belongs to a component."""

    def __init__(self, registry: CollectorRegistry, component: str) -> None:
        self._registry = registry
        self._component = component

    def collect(self) -> Iterator[Metric]:
        return (metric for metric in self._registry.collect() if self._belongs(metric.name))

    def _belongs(self, name: str) -> bool:
        if not self._component:
            return True
        if self._component == "exporter":
            return not name.startswith(tuple(p for each in COMPONENTS.values() for p in each))
        return name.startswith(COMPONENTS[self._component])
