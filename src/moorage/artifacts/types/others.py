"""Artifacts of a type that nobody here knows: their config is shown, if its type has a name.

`application/vnd.<organisation>.<type>.config.<version>+json` (Harbor, "default processor").
"""

import re

from moorage.artifacts.types.processor import Document, Processor, annotation

UNKNOWN = "UNKNOWN"
SKIPPED = "io.goharbor.artifact.v1alpha1.skip-list"
"""An annotation of the config: its fields that are not shown, by commas."""

_OWN = re.compile(r"application/vnd\.[^.]+\.(.+)\.config\.[^.]+\+json")


def attributes(manifest: Document, config: Document) -> Document:
    """All that the config says, but for what it asks to leave out."""
    skipped = annotation(manifest.get("config") or {}, SKIPPED).split(",")
    return {name: value for name, value in config.items() if name not in skipped}


def processor_of(*media_types: str) -> Processor:
    """For the first of these types that tells a name; it has no attributes when none does."""
    for media_type in media_types:
        if own := _OWN.fullmatch(media_type):
            return Processor(own[1].upper(), attributes)
    return Processor(UNKNOWN)
