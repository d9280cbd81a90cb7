"""Helm charts: what Chart.yaml says, and files out of the package.

The config is Chart.yaml as JSON, written by helm. The layer is the package: a tar in which all
files are below one folder.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from moorage.artifacts.types import archives, documents
from moorage.artifacts.types.processor import (
    JSON,
    MARKDOWN,
    TEXT,
    Addition,
    Content,
    Document,
    Processor,
    found,
    held,
    layers,
    text,
    whole,
)
from moorage.errors import NotFound

LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
DEPENDENCY = {
    "name": str,
    "version": str,
    "repository": str,
    "condition": str,
    "tags": list,
    "import-values": list,
    "alias": str,
}
"""What is shown of a dependency."""
KEPT = ("name", "version", "repository")
"""What is shown of it also when it is empty."""


async def values(content: Content) -> Addition:
    """values.yaml as it is."""
    return found((await _files(content, "values.yaml")).get("values.yaml"), "values.yaml", TEXT)


async def readme(content: Content) -> Addition:
    """README.md as it is."""
    return found((await _files(content, "readme.md")).get("readme.md"), "readme.md", MARKDOWN)


async def dependencies(content: Content) -> Addition:
    """The charts that this one needs: of Chart.yaml, or in older charts of requirements.yaml."""
    files = await _files(content, "chart.yaml", "requirements.yaml")
    if "chart.yaml" not in files:
        raise NotFound("the chart has no Chart.yaml")
    chart = await documents.yaml(files["chart.yaml"], "Chart.yaml")
    listed = chart.get("dependencies")
    if text(chart, "apiVersion") != "v2" and "requirements.yaml" in files:
        older = await documents.yaml(files["requirements.yaml"], "requirements.yaml")
        listed = older.get("dependencies")
    rows = listed if isinstance(listed, list) else []
    return held(orjson.dumps([_dependency(row) for row in rows if isinstance(row, dict)]), JSON)


async def _files(content: Content, *names: str) -> Mapping[str, bytes]:
    """Files of the chart's own folder, by their names in lower case."""

    def wanted(path: Sequence[str]) -> str | None:
        return path[1].lower() if len(path) == 2 and path[1].lower() in names else None

    return await archives.extract(content, _package(content.manifest), wanted, compressed=True)


def _package(manifest: Document) -> Document:
    """The layer that is the package; raises NotFound."""
    config = text(manifest.get("config") or {}, "digest")
    others = [
        layer
        for layer in layers(manifest)
        if layer["digest"] != config and layer["mediaType"] != PROVENANCE
    ]
    package = next((layer for layer in others if layer["mediaType"] == LAYER), None)
    if package is None and not others:
        raise NotFound("the chart has no package")
    return package or others[0]


def _dependency(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {
        name: row[name]
        for name, kind in DEPENDENCY.items()
        if row.get(name) and isinstance(row[name], kind)
    }
    return {**dict.fromkeys(KEPT, ""), **shown}


CHART = Processor(
    "CHART",
    whole,
    {"values.yaml": values, "readme.md": readme, "dependencies": dependencies},
)
