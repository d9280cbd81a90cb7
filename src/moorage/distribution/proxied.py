"""Repositories of projects that are a cache: read through to the registry behind, never pushed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from moorage.artifacts.manifests import Manifests
from moorage.artifacts.uploads import Uploads
from moorage.distribution.blobs import Blobs
from moorage.distribution.call import Call
from moorage.distribution.listing import Lists
from moorage.distribution.locations import Locations
from moorage.distribution.manifests import ManifestFace
from moorage.distribution.options import Options
from moorage.distribution.referrers import Referrers
from moorage.errors import Denied
from moorage.oci.names import project_of
from moorage.proxy import Counted, Through, ThroughListing, ThroughManifests

Endpoint = Callable[[Call], Awaitable[None]]


class Proxied:
    """The endpoints that answer otherwise there."""

    def __init__(
        self,
        through: Through,
        listing: ThroughListing,
        manifests: ThroughManifests,
    ) -> None:
        self.through = through
        self._listing = listing
        self._manifests = manifests

    def endpoints(
        self, uploads: Uploads, manifests: Manifests, locations: Locations, options: Options
    ) -> Mapping[tuple[str, str], Endpoint]:
        """By endpoint and method; what is not in it is as everywhere."""
        face = ManifestFace(self.through, manifests, locations)
        blobs = Blobs(self.through, uploads, options)
        fetched = Blobs(Counted(self.through), uploads, options)
        lists = Lists(self._listing, locations)
        reads: dict[tuple[str, str], Endpoint] = {
            ("manifest", "GET"): face.get,
            ("manifest", "HEAD"): face.head,
            ("blob", "GET"): fetched.get,
            ("blob", "HEAD"): blobs.head,
            ("tags", "GET"): lists.tags,
            ("referrers", "GET"): Referrers(self._manifests, locations).get,
        }
        found = {
            (kind, method): self._reading(endpoint, method)
            for (kind, method), endpoint in reads.items()
        }
        for key in (
            ("manifest", "PUT"),
            ("uploads", "POST"),
            ("upload", "GET"),
            ("upload", "PATCH"),
            ("upload", "PUT"),
            ("upload", "DELETE"),
        ):
            found[key] = _refuse
        return found

    def _reading(self, endpoint: Endpoint, method: str) -> Endpoint:
        """As for a caller who only reads: nobody pushes here, so no blob is promised to anybody."""
        requests = self.through.counters.requests

        async def read(call: Call) -> None:
            requests.labels(project_of(call.repository), method).inc()
            await endpoint(replace(call, rights=call.rights - {"push"}))

        return read


async def _refuse(call: Call) -> None:
    raise Denied(f"can not push artifact to a proxy project: {call.repository.partition('/')[0]}")
