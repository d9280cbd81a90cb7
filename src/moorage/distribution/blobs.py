"""Blobs: GET, HEAD and DELETE of `/v2/<name>/blobs/<digest>`.

GET ── in a file, nginx in front ──► X-Accel-Redirect
  ├─── the store signs URLs ───────► 307
  ├─── the server sends files ─────► pathsend
  └─── else ───────────────────────► streamed here, whole or one range
"""

import logging
from urllib.parse import quote

from moorage.artifacts.pulls import Source
from moorage.artifacts.records import Blob
from moorage.artifacts.uploads import Uploads
from moorage.distribution.call import Call
from moorage.distribution.conditional import UNSATISFIABLE, byte_range, etag_of, matches
from moorage.distribution.exchange import EMPTY, Headers
from moorage.distribution.options import Options
from moorage.errors import BlobUnknown
from moorage.oci import digest as digests

log = logging.getLogger(__name__)

_CACHE = (b"cache-control", b"private, max-age=31536000, immutable")


class Blobs:
    """Serves the bytes of blobs."""

    def __init__(self, pulls: Source, uploads: Uploads, options: Options) -> None:
        self._pulls = pulls
        self._uploads = uploads
        self._options = options

    async def get(self, call: Call) -> None:
        """Send a blob, a range of it, or say where it is."""
        exchange = call.exchange
        blob = await self._find(call)
        condition = exchange.header(b"if-none-match")
        if condition is not None and matches(condition, blob.digest):
            await exchange.answer(304, _validators(blob))
            return
        if self._options.accel_redirect and self._pulls.path(blob) is not None:
            target = self._options.accel_redirect + quote(blob.storage_key)
            # nginx adds its own Accept-Ranges to ours: "bytes, bytes".
            headers = [header for header in _described(blob) if header[0] != b"accept-ranges"]
            await exchange.answer(200, [*headers, (b"x-accel-redirect", target.encode())])
            return
        if self._options.redirect:
            url = await self._pulls.presign(blob, _filename(blob))
            if url is not None:
                await exchange.answer(307, [*_digest(blob), (b"location", url.encode())])
                return
        await self._send(call, blob)

    async def head(self, call: Call) -> None:
        """Say whether the blob is here. To a caller who may push, a yes is a promise to keep it."""
        if "push" in call.rights:
            digests.parse(call.reference)
            blob = await self._uploads.renew(call.repository, call.reference)
            if blob is None:
                raise _unknown(call)
        else:
            blob = await self._find(call)
        condition = call.exchange.header(b"if-none-match")
        if condition is not None and matches(condition, blob.digest):
            await call.exchange.answer(304, _validators(blob))
            return
        length = (b"content-length", b"%d" % blob.size)
        await call.exchange.answer(200, [*_described(blob), length])

    async def delete(self, call: Call) -> None:
        """Take the blob out of this repository."""
        digests.parse(call.reference)
        await self._uploads.delete_blob(call.principal, call.repository, call.reference)
        await call.exchange.answer(202, [EMPTY])

    async def _find(self, call: Call) -> Blob:
        digests.parse(call.reference)
        try:
            return await self._pulls.blob(call.repository, call.reference)
        except BlobUnknown:
            raise _unknown(call) from None

    async def _send(self, call: Call, blob: Blob) -> None:
        exchange = call.exchange
        wanted = exchange.text(b"range")
        fresh = exchange.header(b"if-range")
        if fresh is not None and fresh.strip() != etag_of(blob.digest):
            wanted = ""
        part = byte_range(wanted, blob.size) if wanted else None
        if part == UNSATISFIABLE:
            size = (b"content-range", b"bytes */%d" % blob.size)
            await exchange.answer(416, [*_digest(blob), size])
            return
        if isinstance(part, tuple):
            start, end = part
            headers = [
                *_described(blob),
                (b"content-range", b"bytes %d-%d/%d" % (start, end - 1, blob.size)),
            ]
            await self._stream(call, blob, 206, headers, start, end)
            return
        path = self._pulls.path(blob)
        if path is not None and blob.size and exchange.offers("http.response.pathsend"):
            await exchange.send_file(200, _described(blob), str(path), blob.size)
            return
        await self._stream(call, blob, 200, _described(blob), 0, blob.size)

    async def _stream(
        self, call: Call, blob: Blob, status: int, headers: Headers, start: int, end: int
    ) -> None:
        content = self._pulls.content(blob, start, end)
        try:
            await call.exchange.stream(status, headers, content, end - start)
        except BlobUnknown:
            if call.exchange.started:
                raise
            log.error("the object of blob %s is missing: %s", blob.digest, blob.storage_key)
            raise _unknown(call) from None


def _unknown(call: Call) -> BlobUnknown:
    """One answer for a blob that nobody has and one that somebody else has."""
    return BlobUnknown("blob unknown to registry", detail={"digest": call.reference})


def _filename(blob: Blob) -> str:
    return blob.digest.replace(":", "-")


def _digest(blob: Blob) -> Headers:
    return [(b"docker-content-digest", blob.digest.encode())]


def _validators(blob: Blob) -> Headers:
    return [*_digest(blob), (b"etag", etag_of(blob.digest)), _CACHE]


def _described(blob: Blob) -> Headers:
    """Content that strangers uploaded must never run in a browser: attachment and nosniff."""
    return [
        *_validators(blob),
        (b"content-type", b"application/octet-stream"),
        (b"accept-ranges", b"bytes"),
        (b"content-disposition", f'attachment; filename="{_filename(blob)}"'.encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
