"""Write deploy/grafana/moorage.json, the dashboard for Grafana, from the table PANELS.

    python -m tools.dashboard

A test compares the file with the table, and every name in an expression with what is exported.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "deploy" / "grafana" / "moorage.json"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """One graph: a title, what a line is called by its labels, and expressions."""

    title: str
    unit: str
    lines: Mapping[str, str]  # legend to expression
    kind: str = "timeseries"


_FAILED = '{code=~"5..|429"}'


def _rate(by: str, metric: str) -> str:
    return f"sum by ({by}) (rate({metric}[5m]))"


def _quantile(metric: str, by: str, part: float = 0.95) -> str:
    return f"histogram_quantile({part}, sum by (le, {by}) (rate({metric}_bucket[5m])))"


ROWS: Mapping[str, Sequence[Panel]] = {
    "Health": (
        Panel("Components", "bool", {"{{component}}": "harbor_up"}, "state-timeline"),
        Panel(
            "Blobs missing or damaged",
            "short",
            {
                "reads of missing ones": "sum(increase(moorage_blob_missing_total[1h]))",
                "known": "max(moorage_blobs_damaged)",
            },
        ),
        Panel("Without Redis", "bool", {"{{instance}}": "moorage_cache_degraded"}),
    ),
    "Traffic": (
        Panel(
            "Requests to /v2",
            "reqps",
            {"{{handler}} {{method}}": _rate("handler, method", "registry_http_requests_total")},
        ),
        Panel(
            "Requests that failed",
            "reqps",
            {
                "/v2 {{code}}": _rate("code", f"registry_http_requests_total{_FAILED}"),
                "API {{code}}": _rate("code", f"harbor_core_http_request_total{_FAILED}"),
            },
        ),
        Panel(
            "Requests to the API",
            "reqps",
            {"{{operation}}": _rate("operation", "harbor_core_http_request_total")},
        ),
        Panel(
            "Seconds, 95th percentile, /v2",
            "s",
            {"{{handler}}": _quantile("registry_http_request_duration_seconds", "handler")},
        ),
        Panel(
            "Seconds, 95th percentile, API",
            "s",
            {"{{operation}}": _quantile("moorage_core_request_duration_seconds", "operation")},
        ),
        Panel(
            "Bytes",
            "Bps",
            {
                "pulled": "sum(rate(registry_http_response_size_bytes_sum[5m]))",
                "pushed": "sum(rate(registry_http_request_size_bytes_sum[5m]))",
            },
        ),
    ),
    "Storage": (
        Panel(
            "Seconds of the store, 95th percentile",
            "s",
            {"{{action}}": _quantile("registry_storage_action_seconds", "action")},
        ),
        Panel(
            "Bytes stored",
            "bytes",
            {
                "blobs": "max(harbor_statistics_total_storage_consumption)",
                "trash": "max(moorage_trash_bytes)",
            },
        ),
        Panel(
            "Disk in use",
            "percentunit",
            {"{{instance}} {{disk}}": "1 - moorage_disk_free_bytes / moorage_disk_size_bytes"},
        ),
        Panel("Quotas", "bytes", {"{{project_name}}": "topk(10, harbor_project_quota_usage_byte)"}),
        Panel("Quota drift", "bytes", {"bytes": "max(moorage_quota_drift_bytes)"}),
        Panel(
            "Garbage",
            "short",
            {
                "candidates": "max(moorage_garbage_candidates)",
                "objects in the trash": "max(moorage_trash_objects)",
                "failed deletes": "max(moorage_trash_delete_failures)",
            },
        ),
    ),
    "Jobs": (
        Panel("Tasks that wait", "short", {"{{type}}": "max by (type) (harbor_task_queue_size)"}),
        Panel(
            "How long the first waits",
            "s",
            {"{{type}}": "max by (type) (harbor_task_queue_latency)"},
        ),
        Panel(
            "Tasks done",
            "ops",
            {"{{type}} {{status}}": _rate("type, status", "harbor_jobservice_task_total")},
        ),
        Panel(
            "Tasks that run",
            "short",
            {"{{type}} {{pool}}": "max by (type, pool) (harbor_task_concurrency)"},
        ),
        Panel("Processes that do jobs", "short", {"seen": "max(moorage_workers)"}),
        Panel(
            "Events that wait",
            "short",
            {
                "events": "max(moorage_outbox_waiting)",
                "open uploads": "max(moorage_uploads_open)",
            },
        ),
    ),
    "Processes": (
        Panel("Memory", "bytes", {"{{instance}}": "process_resident_memory_bytes"}),
        Panel("CPU", "percentunit", {"{{instance}}": "rate(process_cpu_seconds_total[5m])"}),
        Panel("Open files", "short", {"{{instance}}": "process_open_fds"}),
        Panel(
            "Database connections",
            "short",
            {"{{instance}} {{state}}": "moorage_database_connections"},
        ),
        Panel(
            "Cache hits",
            "percentunit",
            {
                "{{instance}}": "rate(moorage_cache_hits_total[5m]) / "
                "(rate(moorage_cache_hits_total[5m]) + rate(moorage_cache_misses_total[5m]))"
            },
        ),
        Panel(
            "Background work that failed",
            "short",
            {"{{work}}": 'increase(moorage_background_runs_total{outcome="failure"}[15m])'},
        ),
    ),
    "Proxy caches": (
        Panel(
            "Pulls that were answered from here",
            "percentunit",
            {
                "{{project}}": "sum by (project) (rate(moorage_proxy_hits_total[5m])) / "
                "(sum by (project) (rate(moorage_proxy_hits_total[5m])) + "
                "sum by (project) (rate(moorage_proxy_misses_total[5m])))"
            },
        ),
        Panel(
            "Bytes spared and fetched",
            "Bps",
            {
                "spared": "sum(rate(moorage_proxy_spared_bytes_total[5m]))",
                "fetched": "sum(rate(moorage_proxy_fetched_bytes_total[5m]))",
            },
        ),
        Panel(
            "Registries behind that fail or limit",
            "short",
            {
                "{{project}} {{reason}}": "sum by (project, reason) "
                "(increase(moorage_proxy_upstream_failures_total[15m]))",
                "{{project}} as it was": "sum by (project) "
                "(increase(moorage_proxy_stale_total[15m]))",
            },
        ),
    ),
}


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    targets = [
        {"datasource": _SOURCE, "expr": expression, "legendFormat": legend, "refId": chr(65 + n)}
        for n, (legend, expression) in enumerate(panel.lines.items())
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"h": 8, "w": 8, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def dashboard() -> dict[str, Any]:
    """The document."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": 24, "x": 0, "y": y}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place,
                       "collapsed": False, "panels": []})  # fmt: skip
        y += 1
        for n, panel in enumerate(row):
            panels.append(_panel(panel, len(panels) + 1, 8 * (n % 3), y + 8 * (n // 3)))
        y += 8 * ((len(row) + 2) // 3)
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource",
              "query": "prometheus"}  # fmt: skip
    return {
        "uid": "moorage",
        "title": "Moorage",
        "tags": ["moorage"],
        "schemaVersion": 36,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
