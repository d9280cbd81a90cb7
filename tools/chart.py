"""The values of the Helm chart, for docs/reference: what the schema and the defaults say."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "deploy" / "helm" / "moorage"
COMPONENTS = ("nginx", "portal", "core", "registry", "jobservice", "exporter")
"""Sections that share the keys of the schema's `component`."""

Row = tuple[str, str, str]
"""Key, default, meaning."""


def schema() -> dict[str, Any]:
    """The schema of the values."""
    loaded: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return loaded


def defaults() -> dict[str, Any]:
    """The values of the chart."""
    loaded: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return loaded


def keys(
    part: Mapping[str, Any], values: Any, path: str, whole: Mapping[str, Any]
) -> Iterator[Row]:
    """Every key below a part of the schema that is a value by itself."""
    for name, inner in part.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        value = values.get(name) if isinstance(values, Mapping) else None
        about = inner.get("description", "")
        if "$ref" in inner:
            target: Any = whole
            for step in inner["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            about = about or target["description"]
            inner = {**target, "description": about}
        if inner.get("properties"):
            yield from keys(inner, value, here, whole)
        else:
            yield here, _written(value), about + _choices(inner)


def _written(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`"


def _choices(part: Mapping[str, Any]) -> str:
    """The values of an enumeration that its sentence does not name."""
    listed = [each for each in part.get("enum", ()) if each is not None]
    if not listed or any(f"`{each}`" in part.get("description", "") for each in listed):
        return ""
    return f" One of {', '.join(f'`{each}`' for each in listed)}."


def sections() -> Iterator[tuple[str, str, list[Row]]]:
    """Name, sentence and rows of each section; first the keys that have none."""
    whole, values = schema(), defaults()
    parts = whole["properties"]
    plain = {name: part for name, part in parts.items() if not _grouped(part)}
    yield "", "", list(keys({"properties": plain}, values, "", whole))
    yield (
        "Every component",
        f"The keys that {', '.join(f'`{name}`' for name in COMPONENTS)} have in common.",
        list(keys(whole["$defs"]["component"], {}, "", whole)),
    )
    for name, part in parts.items():
        if _grouped(part):
            rows = list(keys(part, values.get(name), name, whole))
            if name in COMPONENTS:
                common = keys(whole["$defs"]["component"], values.get(name), name, whole)
                rows = [row for row in common if row[1]] + rows
            yield name, part["description"], rows


def _grouped(part: Mapping[str, Any]) -> bool:
    return bool(part.get("properties") or part.get("allOf"))
