"""Reads a manifest within limits, from hostile bytes to frozen values.

    image       config, layers[], subject
    index       manifests[] (children; anything that is no manifest counts as a blob), subject
    artifact    blobs[], subject

The bytes are kept as they came: nothing here is ever written back.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from moorage.errors import DigestInvalid, ManifestInvalid, TooLarge
from moorage.oci import digest as digests
from moorage.oci import media_types

MAX_BYTES = 4 << 20
MAX_LAYERS = 1000
MAX_CHILDREN = 200
MAX_DEPTH = 32  # of nested JSON
MAX_INDEX_DEPTH = 5  # of indexes within indexes
_MAX_CONTAINERS = 50_000  # objects and arrays; far above any manifest within the other limits
_MAX_COMMAS = 500_000
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content (OCI image-spec, "Content Descriptors")."""

    media_type: str
    digest: str
    size: int  # bytes
    platform: Mapping[str, Any] | None = None
    foreign: bool = False  # may be absent: its bytes live elsewhere


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """What the registry needs to know of a manifest."""

    media_type: str
    artifact_type: str
    config_media_type: str
    blobs: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str]


def parse(payload: bytes, content_type: str) -> ParsedManifest:
    """Read a manifest; raises ManifestInvalid, DigestInvalid or TooLarge.

    `content_type` is the request's, may be empty and may carry parameters.
    """
    document = _load(payload)
    media_type = _media_type(document, content_type.partition(";")[0].strip().lower())
    if media_type in media_types.INDEXES:
        entries = _descriptors(document, "manifests", MAX_CHILDREN)
        blobs = tuple(e for e in entries if e.media_type not in media_types.MANIFESTS)
        children = tuple(e for e in entries if e.media_type in media_types.MANIFESTS)
        config_type = ""
    elif media_type == media_types.OCI_ARTIFACT:
        blobs, children, config_type = _descriptors(document, "blobs", MAX_LAYERS), (), ""
    else:
        config = _descriptor(document.get("config"), "config")
        blobs = (config, *_descriptors(document, "layers", MAX_LAYERS))
        children, config_type = (), config.media_type
    subject = document.get("subject")
    return ParsedManifest(
        media_type=media_type,
        artifact_type=_text(document, "artifactType"),
        config_media_type=config_type,
        blobs=_distinct(blobs),
        children=_distinct(children),
        subject=None if subject is None else _descriptor(subject, "subject"),
        annotations=_annotations(document.get("annotations")),
    )


def _fail(message: str) -> NoReturn:
    raise ManifestInvalid(message)


def _load(payload: bytes) -> dict[str, Any]:
    """Decode JSON with bounds on size, nesting and count, so that no bomb costs time or memory."""
    if len(payload) > MAX_BYTES:
        raise TooLarge(f"a manifest has at most {MAX_BYTES >> 20} MiB")
    if (
        payload.count(b"{") + payload.count(b"[") > _MAX_CONTAINERS
        or payload.count(b",") > _MAX_COMMAS
    ):
        _fail("the manifest has too many parts")
    try:
        document = json.loads(
            payload.decode(), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        if isinstance(error, RecursionError):
            _fail(f"the manifest is nested deeper than {MAX_DEPTH} levels")
        _fail(f"the manifest is not valid JSON: {error}")
    if not isinstance(document, dict):
        _fail("the manifest is not a JSON object")
    _check_depth(document)
    if document.get("schemaVersion") != 2:
        _fail("schemaVersion must be 2; Docker schema 1 is not supported")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_depth(document: dict[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _containers(node)]
        if not level:
            return
    _fail(f"the manifest is nested deeper than {MAX_DEPTH} levels")


def _containers(node: Any) -> Iterator[Any]:
    values = node.values() if isinstance(node, dict) else node
    return (value for value in values if isinstance(value, dict | list))


def _media_type(document: dict[str, Any], content_type: str) -> str:
    declared = _text(document, "mediaType")
    if content_type in ("", "application/json", "application/octet-stream"):
        content_type = ""
    if declared and content_type and declared != content_type:
        _fail(f"mediaType {declared} does not match the Content-Type {content_type}")
    chosen = declared or content_type or _guess(document)
    if chosen not in media_types.MANIFESTS:
        _fail(f"unsupported manifest media type: {chosen}")
    if "config" in document and "manifests" in document:
        _fail("a manifest has either config and layers or manifests, not both")
    return chosen


def _guess(document: dict[str, Any]) -> str:
    """OCI manifests may leave mediaType out; their shape tells."""
    return media_types.OCI_INDEX if "manifests" in document else media_types.OCI_MANIFEST


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str) or len(value) > 255 or not value.isprintable():
        _fail(f"{key} must be a string of at most 255 characters")
    return value


def _descriptors(document: dict[str, Any], key: str, most: int) -> tuple[Descriptor, ...]:
    entries = document.get(key)
    if not isinstance(entries, list):
        # A list that is null is what Go clients write for an empty one.
        if entries is None and key in document:
            return ()
        _fail(f"{key} must be a list")
    if len(entries) > most:
        _fail(f"{key} has more than {most} entries")
    return tuple(_descriptor(entry, f"{key}[{i}]") for i, entry in enumerate(entries))


def _descriptor(entry: Any, where: str) -> Descriptor:
    if not isinstance(entry, dict):
        _fail(f"{where} must be a descriptor")
    size, platform = entry.get("size"), entry.get("platform")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 62:
        _fail(f"{where}.size must be a length in bytes")
    if platform is not None and not isinstance(platform, dict):
        _fail(f"{where}.platform must be an object")
    _check_storable(platform, f"{where}.platform")
    value = entry.get("digest")
    if not isinstance(value, str):
        _fail(f"{where}.digest must be a string")
    try:
        digests.parse(value)
    except DigestInvalid as error:
        raise DigestInvalid(f"{where}: {error.message}") from None
    media_type = _text(entry, "mediaType")
    if not media_type:
        _fail(f"{where}.mediaType is missing")
    foreign = media_type in media_types.FOREIGN_LAYERS or bool(entry.get("urls"))
    return Descriptor(media_type, value, size, platform, foreign)


def _distinct(descriptors: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
    """One descriptor a digest; the same content cannot have two lengths."""
    found: dict[str, Descriptor] = {}
    for descriptor in descriptors:
        known = found.setdefault(descriptor.digest, descriptor)
        if known.size != descriptor.size:
            _fail(f"{descriptor.digest} stands with two sizes")
    return tuple(found.values())


def _annotations(value: Any) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        _fail("annotations must map strings to strings")
    _check_storable(value, "annotations")
    return value


def _check_storable(value: Any, where: str) -> None:
    """Refuse what no database stores as text: NUL and halves of surrogate pairs."""
    text = json.dumps(value, ensure_ascii=True)
    if "\\u0000" in text or _LONE_SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        _fail(f"{where} holds characters that cannot be stored")
