"""Garbage: found by queue, never by listing; deleted by key, never by digest.

    gc_candidates ─ Collector (G1) ─► blob_trash ─ Sweeper (G2, G3) ─► object gone
    uploads at rest ─ Janitor ──────► blob_trash
    artifact_trash past its time ─ Janitor ─► gone
    untagged manifests ─ GarbageJob ─► artifact_trash

Each of them works in small steps that any number of replicas may take at once, and any error ends
the step and changes nothing.
"""

from moorage.gc.collector import Collector
from moorage.gc.janitor import Janitor
from moorage.gc.leases import Held, held
from moorage.gc.preview import preview
from moorage.gc.sweeper import Sweeper

__all__ = ["Collector", "Held", "Janitor", "Sweeper", "held", "preview"]
