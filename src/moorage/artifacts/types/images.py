"""Images of OCI and Docker: architecture, author and config; the history of the build."""

from typing import Any

import orjson

from moorage.artifacts.types.processor import (
    JSON,
    Addition,
    Content,
    Document,
    Processor,
    held,
    parse,
    text,
)

CONFIG = {
    "User": str,
    "ExposedPorts": dict,
    "Env": list,
    "Entrypoint": list,
    "Cmd": list,
    "Volumes": dict,
    "WorkingDir": str,
    "Labels": dict,
    "StopSignal": str,
    "ArgsEscaped": bool,
}
"""What is shown of the `config` of an image (OCI image-spec, "Image Configuration")."""
HISTORY = {"created": str, "created_by": str, "author": str, "comment": str, "empty_layer": bool}
"""What is shown of a step of the build."""
AUTHORS = ("org.opencontainers.image.authors", "maintainer")
"""Labels that name the author where the image does not."""


def attributes(manifest: Document, config: Document) -> Document:
    """The same fields for every image, so that clients find them."""
    inner = _select(config.get("config"), CONFIG)
    labels = inner.get("Labels", {})
    authors = (text(config, "author"), *(text(labels, name) for name in AUTHORS))
    return {
        "architecture": text(config, "architecture"),
        "author": next(filter(None, authors), ""),
        "config": inner,
        "created": text(config, "created") or None,
        "os": text(config, "os"),
    }


async def build_history(content: Content) -> Addition:
    """The steps of the build, the first one first."""
    config = parse(await content.read(content.manifest.get("config", {})))
    history = config.get("history")
    steps = [_select(step, HISTORY) for step in history] if isinstance(history, list) else []
    return held(orjson.dumps(steps), JSON)


def _select(value: Any, fields: dict[str, type]) -> dict[str, Any]:
    """Fields of the expected types; those without a value are left out."""
    if not isinstance(value, dict):
        return {}
    return {
        name: value[name]
        for name, kind in fields.items()
        if value.get(name) and isinstance(value[name], kind)
    }


IMAGE = Processor(
    "IMAGE", attributes, {"build_history": build_history}, attached=frozenset({"sbom"})
)
INDEX = Processor("IMAGE", attached=frozenset({"sbom"}))
