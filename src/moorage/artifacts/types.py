"""What sort of artifact a manifest is, in Harbor's words: IMAGE, CHART, WASM, …

The config's media type says it. A type of our users' own is read out of the form
`application/vnd.<organisation>.<type>.config.<version>+json` (Harbor, "default processor").
"""

import re

from moorage.db.queries import AllOf, AnyOf, Exact, Fuzzy, Match
from moorage.oci import media_types

UNKNOWN = "UNKNOWN"

KNOWN = {
    "application/vnd.oci.image.config.v1+json": "IMAGE",
    "application/vnd.docker.container.image.v1+json": "IMAGE",
    "application/vnd.cncf.helm.config.v1+json": "CHART",
    "application/vnd.cnab.config.v1+json": "CNAB",
    "application/vnd.cnab.manifest.v1": "CNAB",
    "application/vnd.wasm.config.v1+json": "WASM",
    "application/vnd.wasm.config.v0+json": "WASM",
    "application/vnd.cncf.model.config.v1+json": "CNAI",
    "application/vnd.goharbor.harbor.sbom.v1": "SBOM",
}

ACCESSORIES = {
    "application/vnd.dev.cosign.artifact.sig.v1+json": "signature.cosign",
    "application/vnd.dev.sigstore.bundle.v0.3+json": "signature.cosign",
    "application/vnd.cncf.notary.signature": "signature.notation",
    "application/vnd.nydus.image.v1alpha1+json": "accelerator.nydus",
    "application/vnd.goharbor.harbor.sbom.v1": "sbom.harbor",
}

_OWN = re.compile(r"application/vnd\.[^.]+\.(.+)\.config\.[^.]+\+json")


def of(media_type: str, config_media_type: str) -> str:
    """The artifact's type from the media types of its manifest and of its config."""
    if media_type in media_types.INDEXES:
        return "IMAGE"
    known = KNOWN.get(config_media_type)
    if known:
        return known
    own = _OWN.fullmatch(config_media_type)
    return own[1].upper() if own else UNKNOWN


def of_accessory(artifact_type: str, config_media_type: str) -> str:
    """The type of an artifact that has a subject."""
    return (
        ACCESSORIES.get(artifact_type) or ACCESSORIES.get(config_media_type) or "subject.accessory"
    )


def matches(name: str, match: Match) -> bool:
    """Whether a filter of a list fits the type of that name, in any case of letters."""
    match match:
        case Exact(value):
            return name == value.upper()
        case Fuzzy(value):
            return value.upper() in name
        case AnyOf(values) | AllOf(values):
            return name in {value.upper() for value in values}
    return False
