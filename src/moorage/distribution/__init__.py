"""`/v2`, the OCI distribution API, in plain ASGI: no framework stands on this path.

application ─► routes ─► gate ─► blobs, uploads, manifests, referrers, listing
     │                    │                    │
     │                 challenge            exchange, bodies, conditional, locations
     └─► problems: every error of the domain as a status and an OCI code
"""

from moorage.distribution.application import Distribution
from moorage.distribution.options import Options

__all__ = ["Distribution", "Options"]
