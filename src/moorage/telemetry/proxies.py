"""What projects that are a cache of another registry are asked, and what they ask."""

from prometheus_client import CollectorRegistry, Counter

LIMITED, DENIED, AWAY = "limited", "denied", "away"
"""Why a registry behind did not answer as it should: 429; 401 or 403; 5xx or nothing at all."""

QUOTA, STORAGE = "quota", "storage"
"""Why a blob was not kept."""


class ProxyCounters:
    """Harbor's two, and what tells an operator whether the cache is worth it."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, ("project", *labels), registry=registry)

        self.requests = counter(
            "harbor_core_http_registry_proxy_requests",
            "Requests for content of projects that are a cache",
            "method",
        )
        self.upstream_requests = counter(
            "harbor_core_http_registry_proxy_upstream_requests",
            "Requests of these projects to the registries behind them",
            "method",
        )
        self.failures = counter(
            "moorage_proxy_upstream_failures",
            "Such requests that were not answered as they should be",
            "reason",
        )
        self.hits = counter("moorage_proxy_hits", "Pulls that were answered from here", "kind")
        self.misses = counter(
            "moorage_proxy_misses", "Pulls of what had to be fetched, or waited for it", "kind"
        )
        self.stale = counter(
            "moorage_proxy_stale",
            "Answers from here that could not be compared with the registry behind",
            "kind",
        )
        self.unkept = counter(
            "moorage_proxy_unkept",
            "Downloads that were served without being kept: over the quota, or not to be stored",
            "reason",
        )
        self.spared_bytes = counter(
            "moorage_proxy_spared_bytes", "Bytes of blobs that were here when they were asked for"
        )
        self.fetched_bytes = counter(
            "moorage_proxy_fetched_bytes", "Bytes of blobs that came from the registries behind"
        )

    def looked(self, project: str, kind: str, *, hit: bool) -> None:
        """Count a pull of a `manifest` or `blob`."""
        (self.hits if hit else self.misses).labels(project, kind).inc()

    def asked(self, project: str, method: str, status: int) -> None:
        """Count a request to the registry behind; status 0: it did not answer."""
        self.upstream_requests.labels(project, method).inc()
        if status == 429:
            self.failures.labels(project, LIMITED).inc()
        elif status in (401, 403):
            self.failures.labels(project, DENIED).inc()
        elif not status or status >= 500:
            self.failures.labels(project, AWAY).inc()
