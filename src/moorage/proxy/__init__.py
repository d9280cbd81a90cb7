"""Projects that are a cache of another registry.

proxies     which projects are one, and of what
pulling     manifests and blobs: from here, or through here from there
downloads   one download of a blob, however many wait for it
leases      and which replica downloads it
lists       tags and referrers, of here and there
"""

from moorage.proxy.downloads import Turn
from moorage.proxy.leases import Alone, RedisLeases
from moorage.proxy.lists import ThroughListing, ThroughManifests
from moorage.proxy.proxies import Proxies
from moorage.proxy.pulling import Counted, Through

__all__ = [
    "Alone",
    "Counted",
    "Proxies",
    "RedisLeases",
    "Through",
    "ThroughListing",
    "ThroughManifests",
    "Turn",
]
