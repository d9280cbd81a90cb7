"""What an installation says, what the schema describes, and files that others must agree with."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from tests.chart.matrix import SETS
from tests.support.charts import CHART, HELMS, ROOT, file, nested, render, run
from tests.support.kubeapi import running_api
from tools import chart

from moorage.config.auth import KNOWN_SECRETS
from moorage.config.configuration import Configuration


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
    ):
        assert sentence in text, sentence


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (SETS["old-keys"], "notary; chartmuseum"),
        (SETS["old-keys"], "proxy (connections go out directly)"),
        (SETS["nothing-kept"], "the database is empty again after each restart"),
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


def _leaves(tree: Mapping[str, Any], path: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        here = f"{path}.{key}" if path else key
        found += _leaves(value, here) if isinstance(value, Mapping) and value else [here]
    return found


@pytest.mark.parametrize("source", ["values", "ha", "harbor-defaults"])
def test_every_value_is_described(source: str) -> None:
    """Of this chart and of harbor-helm: it stands in the reference, or below a key that does."""
    listed = {row[0] for _, _, rows in chart.sections() for row in rows}
    common = next(rows for name, _, rows in chart.sections() if name == "Every component")
    listed |= {f"{name}.{row[0]}" for name in chart.COMPONENTS for row in common}
    given = chart.defaults() if source == "values" else file(source)
    for leaf in _leaves(given):
        parts = leaf.split(".")
        above = {".".join(parts[: count + 1]) for count in range(len(parts))}
        below = any(each.startswith(f"{leaf}.") for each in listed)
        assert above & listed or below or parts[0] in ("trace", "trivy"), leaf


def test_every_description_is_a_sentence() -> None:
    """The reference has no empty cell in its last column."""
    for _, _, rows in chart.sections():
        for name, _, meaning in rows:
            assert meaning.endswith("."), name


def test_settings_of_users_are_those_of_the_product() -> None:
    """`core.configureUserSettings` is checked against this list."""
    listed = (CHART / "files" / "configuration-keys").read_text().split()
    assert listed == list(Configuration.model_fields)


def test_published_secrets_are_those_of_the_product() -> None:
    """What the product refuses, the chart does not hand on."""
    text = (CHART / "templates" / "_secrets.tpl").read_text()
    line = next(line for line in text.splitlines() if "$published := list" in line)
    assert all(f'"{each}"' in line for each in KNOWN_SECRETS)
    notes_line = (CHART / "templates" / "_notes.tpl").read_text()
    assert line.partition("list ")[2].partition(" -}}")[0] in notes_line


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("moorage.conf.template", "nginx/moorage.conf.template"),
        ("dashboards/moorage.json", "grafana/moorage.json"),
        ("alerts/moorage.yml", "prometheus/alerts.yml"),
    ],
)
def test_what_the_chart_holds_of_others_is_the_same(ours: str, theirs: str) -> None:
    """Helm reads no file outside of a chart, so it has copies."""
    copy, original = CHART / "files" / ours, ROOT / "deploy" / theirs
    assert copy.read_bytes() == original.read_bytes(), f"cp {original} {copy}"


def test_every_dashboard_is_in_the_chart() -> None:
    """A new one is copied, and listed above."""
    assert len(list((ROOT / "deploy" / "grafana").glob("*.json"))) == 1


def test_a_dashboard_and_rules_reach_the_cluster() -> None:
    """As they are, with the labels by which Grafana and Prometheus find them."""
    found = render(SETS["ha-with-metrics"])
    board = found.one("ConfigMap", "dashboard-moorage")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    original = (ROOT / "deploy" / "grafana" / "moorage.json").read_text()
    assert board["data"]["moorage.json"] == original
    rule = found.of("PrometheusRule")["moorage-alerts"]
    alerts = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    assert rule["spec"] == alerts


def test_the_chart_has_the_version_of_the_product() -> None:
    """Without a tag the image of that version is taken."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{about["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()
