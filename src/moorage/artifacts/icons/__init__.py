"""Icons of the types of artifacts, drawn here and shipped with the package.

Each is a file beside this one, named by the digest of its bytes. No icon comes out of an artifact
or from an address in one: whoever looks at a list must not be led elsewhere.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from moorage.errors import NotFound
from moorage.oci import digest as digests

FILES = {
    "IMAGE": "image.svg",
    "CHART": "chart.svg",
    "CNAB": "bundle.svg",
    "WASM": "wasm.svg",
    "CNAI": "model.svg",
    "SBOM": "sbom.svg",
    "sbom.harbor": "sbom.svg",
    "signature.cosign": "signature.svg",
    "signature.notation": "signature.svg",
    "accelerator.nydus": "accelerator.svg",
}
"""By the type of an artifact or accessory."""
DEFAULT = "artifact.svg"
"""For all other types."""


@dataclass(frozen=True, slots=True)
class Icon:
    """A picture."""

    content_type: str
    content: str  # in base64


def digest_of(kind: str) -> str:
    """The digest of the icon of a type of artifacts or accessories."""
    return _digests()[FILES.get(kind, DEFAULT)]


def find(digest: str) -> Icon:
    """The icon of that digest; raises DigestInvalid, NotFound."""
    digests.parse(digest)
    for name, known in _digests().items():
        if known == digest:
            return Icon("image/svg+xml", base64.b64encode(_files()[name]).decode())
    raise NotFound(f"icon {digest} not found")


@cache
def _files() -> Mapping[str, bytes]:
    folder = resources.files(__name__)
    return {name: (folder / name).read_bytes() for name in {*FILES.values(), DEFAULT}}


@cache
def _digests() -> Mapping[str, str]:
    return {name: digests.of(data) for name, data in _files().items()}
