"""Content digests: `algorithm:hex` (OCI image-spec, "Digests")."""

import hashlib
import re
from typing import Protocol

from moorage.errors import DigestInvalid

ALGORITHMS = {"sha256": 64, "sha512": 128}
"""Algorithms that we accept, each with the length of its hex form."""

_FORM = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-zA-Z=_-]+")
_HEX = re.compile(r"[0-9a-f]+")
EMPTY_SHA256 = "sha256:" + hashlib.sha256(b"").hexdigest()


class Hasher(Protocol):
    """What hashlib's objects offer."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def parse(text: str) -> tuple[str, str]:
    """Split into algorithm and hex; raises DigestInvalid for what we do not accept."""
    algorithm, _, value = text.partition(":")
    length = ALGORITHMS.get(algorithm)
    if length is None:
        if _FORM.fullmatch(text):
            raise DigestInvalid(f"unsupported digest algorithm: {algorithm}")
        raise DigestInvalid("a digest has the form sha256:<64 hex digits>")
    if len(value) != length or not _HEX.fullmatch(value):
        raise DigestInvalid(f"a {algorithm} digest has {length} lower-case hex digits")
    return algorithm, value


def is_digest(text: str) -> bool:
    """Whether a reference is meant as a digest: tags cannot hold a colon."""
    return ":" in text


def hasher(algorithm: str) -> Hasher:
    """A fresh hash object; raises DigestInvalid for an unknown algorithm."""
    if algorithm not in ALGORITHMS:
        raise DigestInvalid(f"unsupported digest algorithm: {algorithm}")
    return hashlib.new(algorithm)


def of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of bytes."""
    h = hasher(algorithm)
    h.update(data)
    return f"{algorithm}:{h.hexdigest()}"
