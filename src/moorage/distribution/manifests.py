"""Manifests: `/v2/<name>/manifests/<reference>`.

A manifest is sent as it was pushed, byte for byte and with its own type, whatever `Accept` says:
nothing is ever converted, and a client that cannot use the type sees so from `Content-Type`.
"""

from moorage.artifacts.manifests import Manifests
from moorage.artifacts.pulls import Source
from moorage.artifacts.records import Manifest
from moorage.distribution.call import Call
from moorage.distribution.conditional import etag_of, matches
from moorage.distribution.exchange import EMPTY, VERSION, Headers
from moorage.distribution.locations import Locations
from moorage.distribution.problems import Problem
from moorage.errors import DigestInvalid, ManifestUnknown, TagInvalid
from moorage.oci import digest as digests
from moorage.oci.manifest import MAX_BYTES
from moorage.oci.names import check_tag

MAX_TAGS = 100
"""Tags that one push may set."""

_TOO_MANY_TAGS = Problem(414, "UNSUPPORTED")


class ManifestFace:
    """Serves and takes manifests."""

    def __init__(self, pulls: Source, manifests: Manifests, locations: Locations) -> None:
        self._pulls = pulls
        self._manifests = manifests
        self._locations = locations

    async def get(self, call: Call) -> None:
        """Send a manifest."""
        manifest = await self._find(call)
        if await self._unchanged(call, manifest):
            return
        self._pulls.count(manifest.resolved, call.reference, call.principal)
        await call.exchange.answer(200, headers_of(manifest)[1:], manifest.payload)

    async def head(self, call: Call) -> None:
        """Say whether a manifest is here."""
        manifest = await self._find(call)
        if not await self._unchanged(call, manifest):
            await call.exchange.answer(200, headers_of(manifest)[1:])

    async def put(self, call: Call) -> None:
        """Take a manifest under a tag or its digest, and under every `tag` parameter."""
        exchange = call.exchange
        if digests.is_digest(call.reference):
            digests.parse(call.reference)
        else:
            check_tag(call.reference)
        tags = list(dict.fromkeys(exchange.parameters("tag")))
        if len(tags) > MAX_TAGS:
            await exchange.problem(_TOO_MANY_TAGS, f"at most {MAX_TAGS} tags in one push")
            return
        for tag in tags:
            check_tag(tag)
        payload = await exchange.body.whole(MAX_BYTES)
        pushed = await self._manifests.put(
            call.principal,
            call.repository,
            call.reference,
            payload,
            exchange.text(b"content-type"),
            tags=tags,
        )
        headers = [
            self._locations.location(exchange, f"{call.repository}/manifests/{pushed.digest}"),
            (b"docker-content-digest", pushed.digest.encode()),
            EMPTY,
        ]
        if pushed.subject is not None:
            headers.append((b"oci-subject", pushed.subject.encode()))
        headers.extend((b"oci-tag", tag.encode()) for tag in pushed.tags if tag in tags)
        await exchange.answer(201, headers)

    async def delete(self, call: Call) -> None:
        """Delete a manifest with its tags, or one tag."""
        _check_reference(call.reference)
        if digests.is_digest(call.reference):
            await self._manifests.delete(call.principal, call.repository, call.reference)
        else:
            await self._manifests.delete_tag(call.principal, call.repository, call.reference)
        await call.exchange.answer(202, [EMPTY])

    async def _find(self, call: Call) -> Manifest:
        _check_reference(call.reference)
        return await self._pulls.manifest(call.repository, call.reference)

    @staticmethod
    async def _unchanged(call: Call, manifest: Manifest) -> bool:
        condition = call.exchange.header(b"if-none-match")
        if condition is None or not matches(condition, manifest.resolved.digest):
            return False
        digest = manifest.resolved.digest
        await call.exchange.answer(
            304, [(b"docker-content-digest", digest.encode()), (b"etag", etag_of(digest))]
        )
        return True


def headers_of(manifest: Manifest) -> Headers:
    """The headers of a manifest's 200; the same for GET and HEAD."""
    digest = manifest.resolved.digest
    return [
        VERSION,
        (b"content-type", manifest.resolved.media_type.encode()),
        (b"content-length", b"%d" % len(manifest.payload)),
        (b"docker-content-digest", digest.encode()),
        (b"etag", etag_of(digest)),
        (b"x-content-type-options", b"nosniff"),
    ]


def _check_reference(reference: str) -> None:
    """What is no tag and no digest names nothing: not found rather than invalid, as in Harbor."""
    try:
        if digests.is_digest(reference):
            digests.parse(reference)
        else:
            check_tag(reference)
    except (DigestInvalid, TagInvalid) as error:
        raise ManifestUnknown(error.message, detail={"reference": reference}) from None
