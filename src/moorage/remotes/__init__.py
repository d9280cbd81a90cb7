"""Other registries: which are known, and the client that talks to them.

registrations   what an administrator says of each: URL, kind, credentials, authorities
adapters        how each kind differs: sign-in, lists of repositories, making of projects
client          the OCI distribution API of one of them, verified and within bounds
"""

from moorage.remotes.client import Remote
from moorage.remotes.records import Endpoint, Fetched, Listed, Registry, RegistrySettings
from moorage.remotes.registrations import Registries

__all__ = [
    "Endpoint",
    "Fetched",
    "Listed",
    "Registries",
    "Registry",
    "RegistrySettings",
    "Remote",
]
