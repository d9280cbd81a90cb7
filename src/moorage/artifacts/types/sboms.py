"""Bills of materials: one layer, which is the document."""

from dataclasses import replace

from moorage.artifacts.types.processor import Addition, Content, Processor, layers, whole
from moorage.errors import NotFound

HARBOR = "application/vnd.goharbor.harbor.sbom.v1"


async def document(content: Content) -> Addition:
    """The document as it is, of any length."""
    parts = layers(content.manifest) or content.manifest.get("blobs") or ()
    if len(parts) != 1:
        raise NotFound(f"a bill of materials has one layer, this one has {len(parts)}")
    return replace(await content.stream(parts[0]), content_type=HARBOR)


SBOM = Processor("SBOM", whole, {"sbom": document})
