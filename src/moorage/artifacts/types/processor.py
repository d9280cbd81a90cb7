"""What a processor is: how one kind of artifact is shown.

    manifest, config ─► attributes        extra_attrs of the artifact
    Content ─► reader of an addition ─► Addition

Everything that is read here was pushed by somebody: whatever is not of the expected shape is left
out of the attributes, and an addition that cannot be made says why.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from moorage.errors import NotFound

Document = Mapping[str, Any]
"""A JSON object: a manifest, a config or a descriptor."""

MAX_CONFIG = 1 << 20
"""Bytes of a config that is read for the attributes of an artifact."""
MAX_DOCUMENT = 4 << 20
"""Bytes of an addition that is held in memory, and of a config that is read for one."""

JSON = "application/json; charset=utf-8"
MARKDOWN = "text/markdown; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Addition:
    """More about an artifact: a document."""

    content_type: str
    size: int  # bytes
    pieces: AsyncGenerator[bytes, None]


class Content(Protocol):
    """A manifest and the blobs that it names."""

    @property
    def manifest(self) -> Document:
        """The manifest itself."""

    async def read(self, blob: Document, most: int = MAX_DOCUMENT) -> bytes:
        """All bytes of the blob of a descriptor; raises TooLarge, NotFound."""

    async def stream(self, blob: Document, most: int | None = None) -> Addition:
        """The same in pieces, of no content type yet; raises TooLarge, NotFound."""


Attributes = Callable[[Document, Document], Document]
"""Makes the attributes of the manifest and its config; either may be empty."""
Reader = Callable[[Content], Awaitable[Addition]]
"""Makes an addition; raises NotFound, Invalid, TooLarge."""


@dataclass(frozen=True, slots=True)
class Processor:
    """How one kind of artifact is shown."""

    type: str
    attributes: Attributes | None = None  # None: it has none, and nothing needs to be read
    additions: Mapping[str, Reader] = field(default_factory=dict)
    attached: frozenset[str] = frozenset()  # additions that one of its accessories may be
    config_child: Callable[[Document], str] | None = None
    """The digest of the child of an index whose config it is; empty when there is none."""


def held(data: bytes, content_type: str) -> Addition:
    """An addition whose bytes are at hand."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield data

    return Addition(content_type, len(data), pieces())


def found(data: bytes | None, name: str, content_type: str) -> Addition:
    """The same of a document that may be missing; raises NotFound."""
    if data is None:
        raise NotFound(f"the artifact has no {name}")
    return held(data, content_type)


def parse(data: bytes) -> dict[str, Any]:
    """A JSON object; empty for whatever is none."""
    try:
        document = orjson.loads(data)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def layers(manifest: Document) -> Sequence[Document]:
    """The descriptors of its layers."""
    return manifest.get("layers") or ()


def annotation(of: Document, name: str) -> str:
    """An annotation of a manifest or descriptor; empty when there is none."""
    annotations = of.get("annotations")
    value = annotations.get(name) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else ""


def text(document: Document, name: str) -> str:
    """A string of a document; empty when it is something else."""
    value = document.get(name)
    return value if isinstance(value, str) else ""


def whole(manifest: Document, config: Document) -> Document:
    """All that the config says."""
    return config
