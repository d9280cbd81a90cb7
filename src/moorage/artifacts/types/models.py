"""Models for machine learning (CNCF ModelPack, and CNAI before it).

Each layer is a file, or a folder of files, and an annotation says its path.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from moorage.artifacts.types import archives
from moorage.artifacts.types.processor import (
    JSON,
    MARKDOWN,
    TEXT,
    Addition,
    Content,
    Document,
    Processor,
    annotation,
    found,
    held,
    layers,
    text,
    whole,
)
from moorage.errors import Invalid, NotFound

PATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath")
DOCUMENTS = ("application/vnd.cncf.model.doc.v1.", "application/vnd.cnai.model.doc.v1.")
"""How the media types of documents begin; the rest says how they are packed."""
MAX_DEPTH = 64
"""Folders in the path of a layer; deeper ones are not listed."""


async def readme(content: Content) -> Addition:
    """The model's README."""
    data = await _document(content, ("readme.md", "readme"))
    return found(data, "readme.md", MARKDOWN)


async def license_(content: Content) -> Addition:
    """The model's licence."""
    return found(await _document(content, ("license", "license.txt")), "license", TEXT)


async def files(content: Content) -> Addition:
    """The tree of all files, folders first."""
    root: dict[str, Any] = {}
    for layer in layers(content.manifest):
        path = _path(layer)
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        if parts and len(parts) <= MAX_DEPTH:
            _plant(root, parts, None if path.endswith("/") else layer["size"])
    return held(orjson.dumps(_tree(root)), JSON)


def _path(layer: Document) -> str:
    return next(filter(None, (annotation(layer, name) for name in PATHS)), "")


def _plant(root: dict[str, Any], parts: Sequence[str], size: int | None) -> None:
    """Put a file of `size` bytes, or a folder, into the tree; a folder goes before a file."""
    folder = root
    for part in parts[:-1]:
        if not isinstance(folder.get(part), dict):
            folder[part] = {}
        folder = folder[part]
    if size is None:
        folder[parts[-1]] = folder[parts[-1]] if isinstance(folder.get(parts[-1]), dict) else {}
    else:
        folder.setdefault(parts[-1], size)


def _tree(folder: dict[str, Any]) -> list[dict[str, Any]]:
    def order(entry: tuple[str, Any]) -> tuple[bool, str]:
        return not isinstance(entry[1], dict), entry[0]

    return [
        {"name": name, "type": "directory", "children": _tree(value)}
        if isinstance(value, dict)
        else {"name": name, "type": "file", "size": value}
        for name, value in sorted(folder.items(), key=order)
    ]


async def _document(content: Content, names: Iterable[str]) -> bytes | None:
    """The document of one of these names at the top of the model, the first name first."""
    for name in names:
        for layer in layers(content.manifest):
            kind = text(layer, "mediaType")
            if kind.startswith(DOCUMENTS) and _path(layer).lower() == name:
                return await _unpacked(content, layer, kind.rpartition(".v1.")[2], name)
    return None


async def _unpacked(content: Content, layer: Document, packing: str, name: str) -> bytes:
    if packing == "raw":
        return await content.read(layer)
    if packing not in ("tar", "tar+gzip"):
        raise Invalid(f"{name} is packed as {packing}, which is not read; push it as raw or tar")

    def wanted(path: Sequence[str]) -> str | None:
        return name if path and path[-1].lower() == name else None

    unpacked = await archives.extract(content, layer, wanted, compressed=packing == "tar+gzip")
    if name not in unpacked:
        raise NotFound(f"the layer of {name} does not hold it")
    return unpacked[name]


MODEL = Processor("CNAI", whole, {"readme.md": readme, "license": license_, "files": files})
