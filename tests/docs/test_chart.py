"""The Helm chart says what the product says: its files agree with those they come from."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from tests.support.charts import CHART, ROOT, file
from tools import chart

from moorage.config.auth import KNOWN_SECRETS
from moorage.config.configuration import Configuration


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


OF_THEIR_OWN = (
    *("notary", "chartmuseum", "clair", "caSecretName", "proxy.", "metrics.", "trace.", "trivy."),
    *("persistence.persistentVolumeClaim.jobservice.", "persistence.imageChartStorage.s3."),
    *("core.quotaUpdateProvider", "core.secret", "core.existing", "core.token", "core.xsrfKey"),
    *("registry.controller", "registry.credentials", "registry.secret", "registry.existing"),
    *("jobservice.jobLoggers", "jobservice.secret", "jobservice.existing"),
    *("registry.middleware.", "startupProbe.", "core.startupProbe."),
)
"""Beginnings of keys that the notes have a sentence for, or of which the usual value says it."""


def test_keys_without_a_meaning_are_in_the_notes() -> None:
    """The notes read this list, for no chart can read its own schema."""
    wanted = [
        name
        for _, _, rows in chart.sections()
        for name, _, meaning in rows
        if meaning.startswith("No meaning here") and not name.startswith(OF_THEIR_OWN)
    ]
    file = CHART / "files" / "no-meaning"
    assert file.read_text().split() == wanted, f"write into {file}:\n" + "\n".join(wanted)


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


def test_the_chart_has_the_version_of_the_product() -> None:
    """Without a tag the image of that version is taken."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{about["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()
