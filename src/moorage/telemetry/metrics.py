"""Metrics of one process, under the names that dashboards for Harbor and distribution know.

    component   names
    core        harbor_core_*, moorage_core_*
    registry    registry_*
    jobservice  harbor_jobservice_*, moorage_{jobservice,background,gc}_*
    exporter    everything else

What has to be asked for, as rows of the database, is in `figures`; the rest is counted where it
happens.
"""

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
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from moorage.telemetry.durations import SECONDS, Durations
from moorage.telemetry.figures import Figures
from moorage.telemetry.proxies import ProxyCounters
from moorage.telemetry.requests import CoreRequests, RegistryRequests

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "core": ("harbor_core_", "moorage_core_"),
    "registry": ("registry_", "moorage_proxy_"),
    "jobservice": (
        "harbor_jobservice_",
        "moorage_jobservice_",
        "moorage_background_",
        "moorage_gc_",
    ),
}
"""Prefixes of each component; the rest is the exporter's."""


class Metrics:
    """Counters that the faces, the store and the background work add to."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=self.registry)

        ProcessCollector(registry=self.registry)
        self.registry_requests = RegistryRequests()
        self.core_requests = CoreRequests()
        self.figures = Figures()
        self.task_seconds = Durations(
            "harbor_jobservice_task_process_time_seconds",
            "moorage_jobservice_task_seconds",
            "Seconds that a task took",
            ("type", "status"),
            (*SECONDS, 60.0, 600.0, 3600.0),
        )
        for each in (self.registry_requests, self.core_requests, self.task_seconds, self.figures):
            self.registry.register(each)
        self.storage_seconds = Histogram(
            "registry_storage_action_seconds",
            "Seconds that an action of the blob store took",
            ["driver", "action"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.background = counter(
            "moorage_background_runs", "Batches of background work that ended", "work", "outcome"
        )
        self.collected_blobs = counter("moorage_gc_collected_blobs", "Blobs put into the trash")
        self.collected_bytes = counter(
            "moorage_gc_collected_bytes", "Bytes of the blobs put into the trash"
        )
        self.swept_objects = counter("moorage_gc_swept_objects", "Objects deleted from the trash")
        self.tasks = counter(
            "harbor_jobservice_task",
            "Tasks of background jobs that this process did",
            "type",
            "status",
        )
        self.pools = Gauge(
            "harbor_jobservice_info",
            "Always 1: a process that does jobs, and how many side by side",
            ["node", "pool", "workers"],
            registry=self.registry,
        )
        self.missing_blobs = counter(
            "moorage_blob_missing",
            "Reads that found no object where the database says that there is one",
        )
        self.failed_deletes = counter(
            "moorage_gc_delete_failures", "Deletions of objects that the store refused"
        )
        self.proxies = ProxyCounters(self.registry)
        info = Gauge("moorage_info", "The running version", ["version"], registry=self.registry)
        info.labels(version).set(1)

    def observe_storage(self, driver: str, action: str, seconds: float) -> None:
        """Count one action of the blob store."""
        self.storage_seconds.labels(driver, action).observe(seconds)

    def observe_task(self, kind: str, status: str, seconds: float) -> None:
        """Count one run of a task."""
        self.tasks.labels(kind, status.lower()).inc()
        self.task_seconds.add((kind, status.lower()), seconds)

    def expose(self, component: str = "") -> tuple[bytes, str]:
        """The figures of a component, or all, and their content type; ValueError if unknown.

        What has to be asked for is as old as the last `figures.refresh`.
        """
        self.check(component)
        return generate_latest(_Part(self.registry, component)), CONTENT_TYPE_LATEST

    @staticmethod
    def check(component: str) -> None:
        """Raise ValueError for a component that nobody knows."""
        if component and component != "exporter" and component not in COMPONENTS:
            known = ", ".join((*COMPONENTS, "exporter"))
            raise ValueError(f"unknown component; choose one of {known}")


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
