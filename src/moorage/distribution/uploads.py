"""Uploads: `/v2/<name>/blobs/uploads/` (OCI distribution-spec, "Pushing blobs").

    POST                              202 Location            a session
    POST ?digest=                     201                     all in one request
    POST ?mount=[&from=]              201, or 202: a session  no bytes move
    PATCH Content-Range: a-b          202 Range: 0-b          a chunk; without the header a stream
    PUT ?digest=                      201                     the last chunk, or none
    GET                               204 Range: 0-b          how far it is
    DELETE                            204

A chunk out of order is answered with 416 and says where to go on.
"""

import re

from moorage.artifacts.records import Blob, Upload
from moorage.artifacts.uploads import Uploads
from moorage.distribution.call import Call
from moorage.distribution.conditional import chunk_range
from moorage.distribution.exchange import EMPTY, Headers
from moorage.distribution.gate import Gate
from moorage.distribution.locations import Locations
from moorage.distribution.options import Options
from moorage.distribution.problems import problem_of
from moorage.errors import DigestInvalid, NameInvalid, RangeInvalid, UploadUnknown
from moorage.oci import digest as digests
from moorage.oci.names import check_repository, project_of

_SESSION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Sessions:
    """Takes the bytes of blobs in."""

    def __init__(
        self, uploads: Uploads, gate: Gate, locations: Locations, options: Options
    ) -> None:
        self._uploads = uploads
        self._gate = gate
        self._locations = locations
        self._options = options

    async def start(self, call: Call) -> None:
        """POST: mount, push at once, or open a session."""
        exchange = call.exchange
        algorithm = exchange.parameter("digest-algorithm") or "sha256"
        if algorithm not in digests.ALGORITHMS:
            raise DigestInvalid(f"unsupported digest algorithm: {algorithm}")
        mount = exchange.parameter("mount")
        if mount:
            blob = await self._mount(call, mount)
            if blob is not None:
                await self._created(call, blob)
                return
        digest = exchange.parameter("digest")
        if digest and not mount:
            digests.parse(digest)
            blob = await self._uploads.push(
                call.principal,
                call.repository,
                digest,
                exchange.body.pieces(),
                length=_known_length(call),
            )
            await self._created(call, blob)
            return
        upload = await self._uploads.start(call.principal, call.repository, algorithm=algorithm)
        await exchange.answer(202, [*self._progress(call, upload), EMPTY])

    async def append(self, call: Call) -> None:
        """PATCH: the next chunk, or a stream to the end."""
        session = _session(call)
        try:
            start, length = _announced(call)
            upload = await self._uploads.append(
                call.principal,
                call.repository,
                session,
                call.exchange.body.pieces(),
                start=start,
                length=length,
            )
        except RangeInvalid as error:
            await self._out_of_order(call, session, error)
            return
        await call.exchange.answer(202, [*self._progress(call, upload), EMPTY])

    async def finish(self, call: Call) -> None:
        """PUT: close the session with the digest of the whole blob."""
        session = _session(call)
        digest = call.exchange.parameter("digest")
        if not digest:
            raise DigestInvalid("the digest parameter is missing")
        digests.parse(digest)
        body = call.exchange.body
        try:
            start, length = _announced(call)
            blob = await self._uploads.finish(
                call.principal,
                call.repository,
                session,
                digest,
                body.pieces() if body.expected else None,
                start=start,
                length=length,
            )
        except RangeInvalid as error:
            await self._out_of_order(call, session, error)
            return
        await self._created(call, blob)

    async def status(self, call: Call) -> None:
        """GET: how much has arrived."""
        upload = await self._uploads.status(call.principal, call.repository, _session(call))
        await call.exchange.answer(204, self._progress(call, upload))

    async def cancel(self, call: Call) -> None:
        """DELETE: give up and throw away."""
        await self._uploads.cancel(call.principal, call.repository, _session(call))
        await call.exchange.answer(204)

    async def _mount(self, call: Call, digest: str) -> Blob | None:
        """Mount from a repository that the caller may pull from; None: open a session instead."""
        digests.parse(digest)
        source = call.exchange.parameter("from") or None
        if source is not None:
            try:
                check_repository(source)
            except NameInvalid:
                return None

        async def may_pull(name: str) -> bool:
            if project_of(name) == project_of(call.repository):
                # Roles and robots hold their rights all over a project. A client often mounts with
                # a token for the target alone, and one that names no source cannot ask for more.
                return "pull" in call.rights
            return "pull" in await self._gate.rights(call.caller, name)

        return await self._uploads.mount(call.principal, call.repository, digest, may_pull, source)

    async def _out_of_order(self, call: Call, session: str, error: RangeInvalid) -> None:
        """416 with the true offset, so that the client can go on from there."""
        detail = error.detail if isinstance(error.detail, dict) else {}
        offset = detail.get("offset")
        if offset is None:
            upload = await self._uploads.status(call.principal, call.repository, session)
        else:
            upload = Upload(session, offset)
        await call.exchange.problem(
            problem_of(error),
            error.message,
            {"offset": upload.offset},
            self._progress(call, upload),
        )

    def _progress(self, call: Call, upload: Upload) -> Headers:
        """Where to send the next chunk, and what is safe; nothing yet is `0-0` as well."""
        path = f"{call.repository}/blobs/uploads/{upload.id}"
        headers = [
            self._locations.location(call.exchange, path),
            (b"range", b"0-%d" % max(upload.offset - 1, 0)),
            (b"docker-upload-uuid", upload.id.encode()),
        ]
        if self._options.chunk_min_length:
            headers.append((b"oci-chunk-min-length", b"%d" % self._options.chunk_min_length))
        return headers

    async def _created(self, call: Call, blob: Blob) -> None:
        path = f"{call.repository}/blobs/{blob.digest}"
        await call.exchange.answer(
            201,
            [
                self._locations.location(call.exchange, path),
                (b"docker-content-digest", blob.digest.encode()),
                EMPTY,
            ],
        )


def _session(call: Call) -> str:
    """The session id of the path; anything else than one of ours is unknown."""
    if not _SESSION.fullmatch(call.reference):
        raise UploadUnknown()
    return call.reference


def _announced(call: Call) -> tuple[int | None, int | None]:
    return chunk_range(call.exchange.text(b"content-range"), _known_length(call))


def _known_length(call: Call) -> int | None:
    """Bytes that the request announces: none at all where it has no body."""
    body = call.exchange.body
    return body.length if body.expected else 0
