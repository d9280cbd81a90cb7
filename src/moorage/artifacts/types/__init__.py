"""What sort of artifact a manifest is, in Harbor's words, and what can be shown of it.

media types ─► PROCESSORS ─► Processor     type, attributes, additions
                   │
                   └─ none: others         a type of our users' own, or UNKNOWN
"""

from collections.abc import Mapping

from moorage.artifacts.types import others, wasm
from moorage.artifacts.types.bundles import CNAB
from moorage.artifacts.types.charts import CHART
from moorage.artifacts.types.images import IMAGE, INDEX
from moorage.artifacts.types.models import MODEL
from moorage.artifacts.types.processor import Addition, Content, Processor
from moorage.artifacts.types.sboms import HARBOR, SBOM
from moorage.artifacts.types.wasm import WASM
from moorage.db.queries import AllOf, AnyOf, Exact, Fuzzy, Match
from moorage.oci import media_types
from moorage.oci.manifest import ParsedManifest

__all__ = ["Addition", "Content", "Processor"]

PROCESSORS: Mapping[str, Processor] = {
    "application/vnd.oci.image.config.v1+json": IMAGE,
    "application/vnd.docker.container.image.v1+json": IMAGE,
    media_types.OCI_INDEX: INDEX,
    media_types.DOCKER_LIST: INDEX,
    "application/vnd.cncf.helm.config.v1+json": CHART,
    "application/vnd.cnab.manifest.v1": CNAB,
    "application/vnd.cnab.config.v1+json": CNAB,
    "application/vnd.wasm.config.v0+json": WASM,
    wasm.CONFIG: WASM,
    "application/vnd.cncf.model.manifest.v1+json": MODEL,
    "application/vnd.cncf.model.config.v1+json": MODEL,
    "application/vnd.cnai.model.manifest.v1+json": MODEL,
    "application/vnd.cnai.model.config.v1+json": MODEL,
    HARBOR: SBOM,
    "application/spdx+json": SBOM,
    "application/vnd.cyclonedx+json": SBOM,
    "application/vnd.cyclonedx+xml": SBOM,
}
"""By the type of the artifact, of its config or of the manifest itself."""

SBOMS = tuple(kind for kind, processor in PROCESSORS.items() if processor is SBOM)
"""Types of artifacts that are bills of materials."""

ACCESSORIES = {
    "application/vnd.dev.cosign.artifact.sig.v1+json": "signature.cosign",
    "application/vnd.dev.sigstore.bundle.v0.3+json": "signature.cosign",
    "application/vnd.cncf.notary.signature": "signature.notation",
    "application/vnd.nydus.image.v1alpha1+json": "accelerator.nydus",
    HARBOR: "sbom.harbor",
}

_MAX_TYPE = 255


def processor_of(media_type: str, config_media_type: str, artifact_type: str) -> Processor:
    """How an artifact with these media types of manifest, config and artifact is shown."""
    kinds = (artifact_type, config_media_type, media_type)
    known = [PROCESSORS[kind] for kind in kinds if kind in PROCESSORS]
    special = [each for each in known if each.type != IMAGE.type]  # all else may look like images
    return next(iter(special or known), None) or others.processor_of(
        config_media_type, artifact_type
    )


def of(media_type: str, config_media_type: str, artifact_type: str) -> str:
    """The artifact's type from the same."""
    return processor_of(media_type, config_media_type, artifact_type).type


def config_type(parsed: ParsedManifest) -> str:
    """What a manifest is by its config, or by an annotation that says better.

    Modules of WebAssembly may look like images, and bundles like indexes of them.
    """
    if parsed.media_type in media_types.INDEXES:
        named = parsed.annotations.get("org.opencontainers.artifactType", "")
        return named if len(named) <= _MAX_TYPE and named.isprintable() else ""
    if wasm.is_annotated({"annotations": parsed.annotations}):
        return wasm.CONFIG
    return parsed.config_media_type


def of_accessory(artifact_type: str, config_media_type: str) -> str:
    """The type of an artifact that has a subject."""
    return (
        ACCESSORIES.get(artifact_type) or ACCESSORIES.get(config_media_type) or "subject.accessory"
    )


def in_upper_case(match: Match) -> Match:
    """The filter in the letters in which types are kept."""
    match match:
        case Exact(value):
            return Exact(value.upper())
        case AnyOf(values):
            return AnyOf(tuple(value.upper() for value in values))
        case AllOf(values):
            return AnyOf(tuple(value.upper() for value in values))
    return match


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
