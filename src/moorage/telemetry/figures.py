"""Figures that somebody has to be asked for: rows of the database, a pool, a disk.

    source ── every so many seconds ──► values ──► samples of a scrape

The names are the literal table FIGURES. A source is asked at most once in its seconds, however
many scrape, and with a number of queries that does not grow. One that fails tells nothing: an old
figure would look like a new one.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

PATIENCE = 8.0
"""Seconds that a scrape waits for a source; Prometheus waits ten."""

Values = Mapping[str, Sequence[tuple[Sequence[object], float]]]
"""Name to label values and the figure."""


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    help: str
    labels: tuple[str, ...] = ()
    counter: bool = False  # only grows while the process lives; its samples end in `_total`


FIGURES: Mapping[str, Figure] = {
    # Harbor's names
    "harbor_health": Figure("1 while every component is well"),
    "harbor_up": Figure("1 while a component is well", ("component",)),
    "harbor_system_info": Figure("Always 1", ("auth_mode", "harbor_version", "self_registration")),
    "harbor_project_total": Figure("Projects", ("public",)),
    "harbor_project_repo_total": Figure("Repositories", ("project_name", "public")),
    "harbor_project_member_total": Figure("Members", ("project_name",)),
    "harbor_project_quota_byte": Figure("Bytes allowed; -1 for no limit", ("project_name",)),
    "harbor_project_quota_usage_byte": Figure("Bytes used", ("project_name",)),
    "harbor_project_artifact_total": Figure(
        "Artifacts", ("project_name", "public", "artifact_type")
    ),
    "harbor_artifact_pulled": Figure("Pulls", ("project_name",)),
    "harbor_statistics_total_storage_consumption": Figure("Bytes of all blobs"),
    "harbor_statistics_total_project_amount": Figure("Projects"),
    "harbor_statistics_public_project_amount": Figure("Public projects"),
    "harbor_statistics_private_project_amount": Figure("Private projects"),
    "harbor_statistics_total_repo_amount": Figure("Repositories"),
    "harbor_statistics_public_repo_amount": Figure("Repositories of public projects"),
    "harbor_statistics_private_repo_amount": Figure("Repositories of private projects"),
    "harbor_task_queue_size": Figure("Tasks that are due and wait", ("type",)),
    "harbor_task_queue_latency": Figure("Seconds that the first of them waits", ("type",)),
    "harbor_task_concurrency": Figure("Tasks that run", ("type", "pool")),
    "harbor_task_scheduled_total": Figure("Schedules that are on"),
    # our own, of the installation
    "moorage_garbage_candidates": Figure("Blobs that the collector has to look at"),
    "moorage_garbage_oldest_seconds": Figure(
        "Seconds since the first of them was due; 0 when none is"
    ),
    "moorage_trash_bytes": Figure("Bytes that wait to be deleted"),
    "moorage_trash_objects": Figure("Objects that wait to be deleted"),
    "moorage_trash_delete_failures": Figure("Objects whose deletion failed and is tried again"),
    "moorage_blobs_damaged": Figure("Blobs known to be missing or damaged in the store"),
    "moorage_uploads_open": Figure("Uploads that are under way"),
    "moorage_uploads_oldest_seconds": Figure("Seconds since the oldest of them brought anything"),
    "moorage_quota_drift_bytes": Figure(
        "Bytes by which what quotas count differs from what projects hold"
    ),
    "moorage_outbox_waiting": Figure("Events that nobody was told of yet"),
    "moorage_database_commits_waiting": Figure(
        "Commits that have waited for a synchronous standby for seconds"
    ),
    "moorage_workers": Figure("Processes that do jobs and were seen within a minute"),
    # our own, of the process
    "moorage_database_connections": Figure("Connections of the pool", ("state",)),
    "moorage_database_pool_size": Figure("Connections that the pool may have"),
    "moorage_cache_hits": Figure("Look-ups that the cache answered", ("tier",), counter=True),
    "moorage_cache_misses": Figure("Look-ups that it did not", ("tier",), counter=True),
    "moorage_cache_degraded": Figure("1 while Redis cannot be used"),
    "moorage_disk_free_bytes": Figure("Bytes that are free", ("disk",)),
    "moorage_disk_size_bytes": Figure("Bytes of the file system", ("disk",)),
}
"""Every figure of this kind."""


@dataclass
class Source:
    """Somebody to ask, and what was said last."""

    name: str
    ask: Callable[[], Awaitable[Values]]
    seconds: float  # for which an answer is good
    values: Values = field(default_factory=dict)
    asked_at: float = float("-inf")


class Figures(Collector):
    """What the sources said."""

    def __init__(self) -> None:
        self._sources: list[Source] = []
        self._turn = asyncio.Lock()

    def add(self, name: str, ask: Callable[[], Awaitable[Values]], seconds: float = 0.0) -> None:
        """Ask this one too; its answers are good for `seconds`."""
        self._sources.append(Source(name, ask, seconds))

    async def refresh(self) -> None:
        """Ask whoever has not been asked for long enough; never raises for a source."""
        async with self._turn:  # scrapes that come together share the answers
            due = [s for s in self._sources if time.monotonic() - s.asked_at >= s.seconds]
            await asyncio.gather(*(_asked(source) for source in due))

    def collect(self) -> Iterator[Metric]:
        """The samples, in the order of the table."""
        said: dict[str, Sequence[tuple[Sequence[object], float]]] = {}
        for source in self._sources:
            said.update(source.values)
        for name, figure in FIGURES.items():
            if name not in said:
                continue
            kind = CounterMetricFamily if figure.counter else GaugeMetricFamily
            family = kind(name, figure.help, labels=figure.labels)
            for labels, value in said[name]:
                family.add_metric([_text(label) for label in labels], value)
            yield family


async def _asked(source: Source) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            source.values = await source.ask()
    except Exception as error:
        log.warning("no figures of %s: %s", source.name, error or type(error).__name__)
        source.values = {}
    source.asked_at = time.monotonic()


def _text(label: object) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
