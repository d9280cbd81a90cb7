"""What an installation says of its values, and what Grafana and Prometheus get."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from tests.chart.matrix import INTERNAL, SETS
from tests.support.charts import CHART, HELMS, NAMESPACE, ROOT, file, merged, nested, render, run
from tests.support.kubeapi import running_api


def notes(values: Mapping[str, Any], helm: str = "helm") -> str:
    """The notes of an installation, in one line."""
    command = ("install", "moorage", str(CHART), "--dry-run=client", "--disable-openapi-validation")
    with running_api() as api:  # Helm 3 wants to know the version of one all the same
        output = run(helm, *command, *api.arguments[-4:], values=values)
    return " ".join(output.partition("\nNOTES:\n")[2].split())


@pytest.mark.parametrize("helm", HELMS)
def test_high_availability_is_explained(helm: str) -> None:
    """The volume for logs of jobs is not made, images of others are not used, TLS ends before."""
    text = notes(file("ha"), helm)
    assert "it serves https://registry.example.test" in text
    assert "persistence.persistentVolumeClaim.jobservice" in text
    assert "logs of jobs are in the database" in text
    assert "Images of the goharbor project hold other programs and are not used: nginx" in text
    assert "TLS ends in front of this release" in text
    assert "The database registry at db.example.test has to be empty at the first start" in text
    assert "make the Secret moorage-generated with the keys secretKey, adminPassword" in text


def test_defaults_of_harbor_are_explained() -> None:
    """What was published is no secret; what has no meaning is named."""
    text = notes(file("harbor-defaults"))
    for sentence in (
        "Published defaults are no secrets",
        "trivy (there is no scanner yet: NOTHING IS SCANNED)",
        "registry.credentials",
        "database.maxOpenConns (a pod holds database.poolSize connections, 10)",
        "cache.enabled is false",
        "registry.relativeurls is false",
        "for trials",
        "run on that node",
        "Without a meaning here either; the reference of values says why: persistence.",
        "core.gdpr, registry.upload_purging.interval, jobservice.reaper, exporter.cacheDuration",
        "redis.internal.trivyAdapterIndex.",
    ):
        assert sentence in text, sentence
    assert "swift." not in text  # harbor-helm has examples for every store


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (SETS["old-keys"], "notary; chartmuseum"),
        (SETS["proxied"], "other servers are reached from core, registry, jobservice."),
        (SETS["proxied-core"], "other servers are reached from core, registry."),
        (
            nested(proxy={"httpProxy": "http://proxy:3128", "components": ["trivy"]}),
            "proxy.components names neither core nor jobservice",
        ),
        (SETS["old-keys"], "trace.provider jaeger (NO TRACES ARE SENT"),
        (merged(SETS["traced"], nested(trace__otel__compression=True)), "trace.otel.compression"),
        (
            nested(expose__type="clusterIP", nginx__affinity={"podAntiAffinity": {}}),
            "The registry sends blobs itself",
        ),
        (SETS["nothing-kept"], "the database is empty again after each restart"),
        (nested(externalURL="https://a.example"), "answers for registry.example.com alone"),
        (merged(SETS["route"], INTERNAL), "the Services moorage-registry, moorage-core and"),
        (nested(externalURL="http://a.example"), "sent to plain addresses with their passwords"),
        (SETS["oss"], "S3 face at https://s3.oss-cn-hangzhou-internal.aliyuncs.com"),
        (SETS["azure-by-identity"], "the workload's identity is asked"),
        (SETS["s3-by-irsa"], "such as IRSA"),
        (nested(metrics__core__path="/m"), "metrics.core.path (it is /metrics)"),
        (nested(core__secretName="token"), "keys that sign tokens are in the database"),
        (nested(core__quotaUpdateProvider="redis"), "core.quotaUpdateProvider"),
    ],
)
def test_what_else_is_explained(values: Mapping[str, Any], sentence: str) -> None:
    """One sentence each."""
    assert sentence in notes(values)


GUESSED = '{job=~".*(moorage|harbor).*"}'


def test_a_dashboard_and_rules_reach_the_cluster() -> None:
    """With the labels by which Grafana and Prometheus find them, and the job of this release."""
    found = render(merged(SETS["ha-with-metrics"], {"nameOverride": "stores"}))
    board = found.one("ConfigMap", "stores-dashboard-moorage")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    original = (ROOT / "deploy" / "grafana" / "moorage.json").read_text()
    assert board["data"]["moorage.json"] == original
    (rule,) = found.of("PrometheusRule").values()
    alerts = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    job = f'{{job="stores", namespace="{NAMESPACE}"}}'
    assert alerts.count(GUESSED) == 1
    assert rule["spec"] == yaml.safe_load(alerts.replace(GUESSED, job))
    (monitor,) = found.of("ServiceMonitor").values()
    named = found.one("Service", "stores-core")["metadata"]["labels"]
    assert named[monitor["spec"]["jobLabel"]] == "stores"
