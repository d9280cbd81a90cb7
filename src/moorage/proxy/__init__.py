"""Projects that are a cache of another registry.

proxies     which projects are one, and of what
pulling     manifests and blobs: from here, or through here from there
downloads   one download of a blob, however many wait for it
"""

from moorage.proxy.proxies import Proxies
from moorage.proxy.pulling import Through, ThroughListing, ThroughManifests

__all__ = ["Proxies", "Through", "ThroughListing", "ThroughManifests"]
