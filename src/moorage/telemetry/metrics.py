"""Metrics of one process, under the names that dashboards for Harbor and distribution know."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters that the faces, the store and the background work add to."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "registry_http_requests",
            "Requests to /v2 by route, method and status",
            ["handler", "method", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "registry_http_request_duration_seconds",
            "Seconds from the request's head to the answer's end",
            ["handler", "method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "registry_http_in_flight_requests",
            "Requests to /v2 that are being answered",
            registry=self.registry,
        )
        self.core_requests = Counter(
            "harbor_core_http_request",
            "Requests to the REST API by method and status",
            ["method", "code", "operation"],
            registry=self.registry,
        )
        self.core_seconds = Histogram(
            "harbor_core_http_request_duration_seconds",
            "Seconds that a REST request took",
            ["method", "operation"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.storage_seconds = Histogram(
            "registry_storage_action_seconds",
            "Seconds that an action of the blob store took",
            ["driver", "action"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.background = Counter(
            "moorage_background_runs",
            "Runs of background work by name and outcome",
            ["work", "outcome"],
            registry=self.registry,
        )
        self.collected_blobs = Counter(
            "moorage_gc_collected_blobs", "Blobs put into the trash", registry=self.registry
        )
        self.collected_bytes = Counter(
            "moorage_gc_collected_bytes", "Their bytes", registry=self.registry
        )
        self.swept_objects = Counter(
            "moorage_gc_swept_objects", "Objects deleted from the trash", registry=self.registry
        )
        info = Gauge("moorage_info", "The running version", ["version"], registry=self.registry)
        info.labels(version).set(1)

    def observe_storage(self, driver: str, action: str, seconds: float) -> None:
        """Count one action of the blob store."""
        self.storage_seconds.labels(driver, action).observe(seconds)

    def expose(self) -> tuple[bytes, str]:
        """All figures and their content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
