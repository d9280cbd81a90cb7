"""The layout of distribution's storage, which Harbor's registry has too.

    docker/registry/v2/
      blobs/<algorithm>/<2 hex>/<hex>/data                              bytes of blobs and manifests
      repositories/<name>/_manifests/revisions/<algorithm>/<hex>/link   the repository has it
      repositories/<name>/_manifests/tags/<tag>/current/link            the digest of a tag
      repositories/<name>/_manifests/tags/<tag>/index/<algorithm>/<hex>/link   what it was ever
      repositories/<name>/_layers/…, _uploads/…                         not needed

A path of bytes is a valid storage key, so that nothing has to be copied.
"""

from dataclasses import dataclass
from typing import Literal

from moorage.errors import DigestInvalid
from moorage.oci import digest as digests

ROOT = "docker/registry/v2/"
BLOBS = f"{ROOT}blobs/"
REPOSITORIES = f"{ROOT}repositories/"
_MANIFESTS = "/_manifests/"


@dataclass(frozen=True, slots=True)
class Link:
    """What a path below `repositories` says."""

    kind: Literal["revision", "tag", "former"]
    repository: str
    tag: str = ""
    digest: str = ""


def key_of(digest: str) -> str:
    """The path of the bytes of a digest."""
    algorithm, value = digest.split(":")
    return f"{BLOBS}{algorithm}/{value[:2]}/{value}/data"


def digest_of(key: str) -> str | None:
    """The digest whose bytes are at a path; None for any other path."""
    parts = key.removeprefix(BLOBS).split("/")
    if len(parts) != 4 or parts[3] != "data" or not parts[2].startswith(parts[1]):
        return None
    return _digest(parts[0], parts[2])


def link_of(key: str) -> Link | None:
    """What a path below `repositories` means; None for one that is not needed."""
    name, found, rest = key.removeprefix(REPOSITORIES).partition(_MANIFESTS)
    parts = rest.split("/")
    if not found or parts[-1] != "link":
        return None
    match parts:
        case ["revisions", algorithm, value, _]:
            digest = _digest(algorithm, value)
            return Link("revision", name, digest=digest) if digest else None
        case ["tags", tag, "current", _]:
            return Link("tag", name, tag)
        case ["tags", tag, "index", algorithm, value, _]:
            digest = _digest(algorithm, value)
            return Link("former", name, tag, digest) if digest else None
    return None


def tag_key(repository: str, tag: str) -> str:
    """The path that says which digest a tag means."""
    return f"{REPOSITORIES}{repository}{_MANIFESTS}tags/{tag}/current/link"


def _digest(algorithm: str, value: str) -> str | None:
    try:
        digests.parse(f"{algorithm}:{value}")
    except DigestInvalid:
        return None
    return f"{algorithm}:{value}"
