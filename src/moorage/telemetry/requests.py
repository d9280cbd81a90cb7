"""Requests, counted in plain numbers that become samples only when somebody asks.

A labelled counter of the client library costs more than answering a manifest from memory does.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from moorage.telemetry.durations import BYTES, SECONDS, Buckets, Durations

_LASTED = "Seconds from the request's head to the answer's end"


class _Requests(Collector):
    """What both faces count."""

    def __init__(self, name: str, label: str) -> None:
        self._name = name
        self._label = label
        self._counts: dict[tuple[str, str, int], int] = {}

    def count(self, operation: str, method: str, status: int) -> None:
        key = (operation, method, status)
        self._counts[key] = self._counts.get(key, 0) + 1

    def counted(self) -> Metric:
        labels = (self._label, "method", "code")
        family = CounterMetricFamily(self._name, "Requests that were answered", labels=labels)
        for (operation, method, status), count in list(self._counts.items()):
            family.add_metric((operation, method, str(status)), count)
        return family


class RegistryRequests(_Requests):
    """Requests to `/v2`, under distribution's names."""

    def __init__(self) -> None:
        super().__init__("registry_http_requests", "handler")
        self._seconds = Buckets(SECONDS)
        self._received = Buckets(BYTES)
        self._sent = Buckets(BYTES)
        self.running: dict[str, int] = defaultdict(int)
        """Handler to the requests that are being answered."""

    @property
    def in_flight(self) -> int:
        """Requests that are being answered."""
        return sum(self.running.values())

    def add(
        self,
        handler: str,
        method: str,
        status: int,
        seconds: float,
        received: int = 0,
        sent: int = 0,
    ) -> None:
        """Count one request that is over, with the bytes of both bodies."""
        self.count(handler, method, status)
        self._seconds.add((handler, method), seconds)
        self._received.add((handler,), received)
        self._sent.add((handler,), sent)

    def collect(self) -> Iterator[Metric]:
        """The samples as of now."""
        yield self.counted()
        both, one = ("handler", "method"), ("handler",)
        yield self._seconds.histogram("registry_http_request_duration_seconds", _LASTED, both)
        name = "registry_http_request_size_bytes"
        yield self._received.histogram(name, "Bytes of the bodies of requests", one)
        name = "registry_http_response_size_bytes"
        yield self._sent.histogram(name, "Bytes of the bodies of answers", one)
        yield _running("registry_http_in_flight_requests", self.running.items(), one)


class CoreRequests(_Requests):
    """Requests to everything else, under the names of Harbor's core."""

    def __init__(self) -> None:
        super().__init__("harbor_core_http_request", "operation")
        self._seconds = Durations(
            "harbor_core_http_request_duration_seconds",
            "moorage_core_request_duration_seconds",
            _LASTED,
            ("operation", "method"),
            SECONDS,
        )
        self.in_flight = 0

    def add(self, operation: str, method: str, status: int, seconds: float) -> None:
        """Count one request that is over."""
        self.count(operation, method, status)
        self._seconds.add((operation, method), seconds)

    def collect(self) -> Iterator[Metric]:
        """The samples as of now."""
        yield self.counted()
        yield from self._seconds.collect()
        yield _running("harbor_core_http_inflight_requests", [("", self.in_flight)], ())


def _running(name: str, counts: object, labels: Sequence[str]) -> Metric:
    family = GaugeMetricFamily(name, "Requests that are being answered", labels=labels)
    for handler, count in list(counts):  # type: ignore[call-overload]
        family.add_metric((handler,)[: len(labels)], count)
    return family
