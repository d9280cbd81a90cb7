"""WebAssembly modules, in the three forms in which they are pushed.

an image with an annotation     module.wasm.image/variant=compat, run.oci.handler=wasm
a config of its own, v0         architecture and os stand in it, as in an image's
a config of its own, v1         what there is to say stands in the layer
"""

from moorage.artifacts.types import images
from moorage.artifacts.types.processor import Document, Processor, annotation, layers, text

CONFIG = "application/vnd.wasm.config.v1+json"
TITLE = "org.opencontainers.image.title"
ANNOTATED = (("module.wasm.image/variant", "compat"), ("run.oci.handler", "wasm"))
"""Annotations that make a module of an image."""


def is_annotated(manifest: Document) -> bool:
    """Whether an image's annotations say that it is a module."""
    return any(annotation(manifest, name) == value for name, value in ANNOTATED)


def attributes(manifest: Document, config: Document) -> Document:
    """What an image has, or the title of the module."""
    kind = text(manifest.get("config") or {}, "mediaType") or CONFIG
    if is_annotated(manifest) or "architecture" in config:
        return {"manifest.config.mediaType": kind, **images.attributes(manifest, config)}
    first = next(iter(layers(manifest)), {})
    return {
        "manifest.config.mediaType": kind,
        "manifest.layers.mediaType": text(first, "mediaType"),
        TITLE: annotation(first, TITLE),
    }


WASM = Processor("WASM", attributes, {"build_history": images.build_history})
