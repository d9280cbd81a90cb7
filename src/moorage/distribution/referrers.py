"""Referrers: `/v2/<name>/referrers/<digest>` (OCI distribution-spec, "Listing Referrers").

An image index of the manifests whose `subject` is the digest; empty where there are none, also for
a digest or a repository that is not known. Long lists come in pages with `Link`.
"""

from typing import Any

import orjson

from moorage.artifacts.manifests import Manifests
from moorage.artifacts.records import Referrer
from moorage.distribution.call import Call
from moorage.distribution.exchange import Headers
from moorage.distribution.listing import whole_number
from moorage.distribution.locations import Locations
from moorage.oci import digest as digests

INDEX = "application/vnd.oci.image.index.v1+json"
PAGE = 500
MAX_BYTES = 3 << 20
"""Entries carry annotations; a page stays below the 4 MiB that clients read."""


class Referrers:
    """Lists referrers."""

    def __init__(self, manifests: Manifests, locations: Locations) -> None:
        self._manifests = manifests
        self._locations = locations

    async def get(self, call: Call) -> None:
        """Send one page."""
        exchange = call.exchange
        digests.parse(call.reference)
        artifact_type = exchange.parameter("artifactType") or None
        after = exchange.parameter("last") or None
        limit = min(max(whole_number(exchange.parameter("n")) or PAGE, 1), PAGE)
        found, last = await self._manifests.referrers(
            call.repository,
            call.reference,
            artifact_type=artifact_type,
            after=after,
            limit=limit,
            room=MAX_BYTES,
        )
        page, entries = _page(found)
        headers: Headers = [(b"content-type", INDEX.encode())]
        if artifact_type is not None:
            headers.append((b"oci-filters-applied", b"artifactType"))
        if len(page) < len(found):
            last = page[-1].digest
        elif last is None and after is None:  # all of them
            headers.append((b"x-total-count", b"%d" % len(page)))
        if last is not None:
            more: dict[str, str | int] = {"n": limit, "last": last}
            if artifact_type is not None:
                more["artifactType"] = artifact_type
            path = f"{call.repository}/referrers/{call.reference}"
            headers.append(self._locations.next_page(path, **more))
        body = orjson.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        await exchange.answer(200, headers, body)


def _page(found: list[Referrer]) -> tuple[list[Referrer], list[dict[str, Any]]]:
    """As many referrers as fit into one answer, at least one, with their descriptors."""
    entries: list[dict[str, Any]] = []
    size = 0
    for referrer in found:
        entry = _descriptor(referrer)
        size += len(orjson.dumps(entry))
        if size > MAX_BYTES and entries:
            break
        entries.append(entry)
    return found[: len(entries)], entries


def _descriptor(referrer: Referrer) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mediaType": referrer.media_type,
        "digest": referrer.digest,
        "size": referrer.size,
    }
    if referrer.artifact_type:
        entry["artifactType"] = referrer.artifact_type
    if referrer.annotations:
        entry["annotations"] = dict(referrer.annotations)
    return entry
