"""Dashboards and alerts ask for what is exported, and Harbor's own dashboard finds its figures."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.support.requirements import path_of
from tools import dashboard, reference

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"

HARBORS = {
    "harbor_up": {"component"},
    "harbor_health": set(),
    "harbor_system_info": {"auth_mode", "harbor_version", "self_registration"},
    "harbor_project_total": {"public"},
    "harbor_project_repo_total": {"project_name", "public"},
    "harbor_project_artifact_total": {"project_name", "public", "artifact_type"},
    "harbor_project_member_total": {"project_name"},
    "harbor_project_quota_byte": {"project_name"},
    "harbor_project_quota_usage_byte": {"project_name"},
    "harbor_artifact_pulled": {"project_name"},
    "harbor_task_queue_size": {"type"},
    "harbor_task_queue_latency": {"type"},
    "harbor_task_concurrency": {"type", "pool"},
    "harbor_task_scheduled_total": set(),
    "harbor_core_http_request_total": {"method", "code", "operation"},
    "harbor_core_http_request_duration_seconds": {"method", "operation", "quantile"},
    "harbor_core_http_inflight_requests": set(),
    "harbor_jobservice_info": {"node", "pool", "workers"},
    "harbor_jobservice_task_total": {"type", "status"},
    "harbor_jobservice_task_process_time_seconds": {"type", "status", "quantile"},
    "registry_http_in_flight_requests": {"handler"},
    "registry_http_requests_total": {"handler", "method", "code"},
    "registry_http_request_duration_seconds_bucket": {"handler", "method", "le"},
    "registry_http_request_size_bytes_bucket": {"handler", "le"},
    "registry_http_response_size_bytes_bucket": {"handler", "le"},
    "registry_storage_action_seconds_bucket": {"driver", "action", "le"},
}
"""The series that Harbor's dashboard and its users' alerts ask for, with their labels."""


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Every series of a process in which everything happened once, with its labels."""
    found = {
        sample.name: set(sample.labels)
        for family in reference.measured()
        for sample in family.samples
    }
    process = ("resident_memory_bytes", "cpu_seconds_total", "open_fds")
    return found | {f"process_{name}": set() for name in process}


def expressions() -> Iterator[str]:
    """What the dashboard and the alerts ask."""
    for panel in dashboard.dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    monitoring = (ROOT / "docs" / "operate" / "monitoring.md").read_text()
    yield from re.findall(r"`([^`]*(?:rate|increase|sum)\([^`]*)`", monitoring)


def test_the_dashboard_is_what_its_table_says() -> None:
    """Nobody edits the file by hand."""
    assert dashboard.FILE.read_text() == dashboard.text(), "run `make docs`"
    assert len(json.loads(dashboard.text())["panels"]) > 20


def test_every_expression_asks_for_what_is_exported(exported: dict[str, set[str]]) -> None:
    """A metric that is renamed takes its graphs and alerts along, labels included."""
    for expression in expressions():
        bare = re.sub(r'"[^"]*"', '""', expression)
        asked = re.findall(r"\b((?:harbor|registry|moorage|process)_\w+)(?:{([^}]*)})?", bare)
        assert asked or expression.startswith("up"), expression
        for name, selector in asked:
            assert name in exported, expression
            labels = set(re.findall(r"(\w+)\s*(?:=|!)", selector))
            assert labels <= exported[name] | {"instance", "job"}, expression
        for labels in re.findall(r"by \(([^)]*)\)", bare):
            known = set().union(*(exported[name] for name, _ in asked))
            assert {label.strip() for label in labels.split(",")} <= known, expression


def test_dashboards_of_harbor_find_their_figures(exported: dict[str, set[str]]) -> None:
    """Under the same names, with the labels that they group by."""
    lacking = {name: labels - exported.get(name, set()) for name, labels in HARBORS.items()
               if name not in exported or labels - exported[name]}  # fmt: skip
    assert not lacking


def test_alerts_fire_when_they_should() -> None:
    """Prometheus's own tool reads the rules and runs their tests."""
    promtool = path_of("promtool")
    for words in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            [promtool, *words], cwd=ALERTS.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
