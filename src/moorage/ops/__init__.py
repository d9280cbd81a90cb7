"""The operator's endpoints: `/healthz`, `/readyz`, `/metrics`."""

from moorage.ops.endpoints import Operations, Probe

__all__ = ["Operations", "Probe"]
