"""CNAB bundles: an index whose config is that of one child."""

from moorage.artifacts.types.processor import Document, Processor, annotation, text, whole

CHILD = "io.cnab.manifest.type"


def config_child(index: Document) -> str:
    """The digest of the child that carries the config; empty when there is none."""
    children = index.get("manifests") or ()
    return next(
        (text(child, "digest") for child in children if annotation(child, CHILD) == "config"), ""
    )


CNAB = Processor("CNAB", whole, config_child=config_child)
