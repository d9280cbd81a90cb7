"""Another registry as its client sees it: what `reading` has, and writing (OCI, "Push").

    mount                    201: no bytes move
    POST                     a small blob, where the registry takes it so
    POST, PUT                a small blob elsewhere
    POST, PATCH, PUT         a large one, in one stream or in chunks
         └─ cut ─► GET how far ─► PATCH the rest

A location may be anywhere; credentials go to it only where it is on the registry itself.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from weakref import WeakValueDictionary

import httpx2
import orjson

from moorage.errors import (
    Denied,
    DigestInvalid,
    Invalid,
    MoorageError,
    NotFound,
    TooManyRequests,
    Unreachable,
)
from moorage.oci import digest as digests
from moorage.oci import media_types
from moorage.outgoing import Guard
from moorage.remotes.reading import Reading, stand_in
from moorage.remotes.records import Endpoint, Fetched, joined
from moorage.remotes.throttle import FREE, Throttle

SMALL = 4 << 20
"""Bytes of a blob up to which it goes in one request."""
TRIED = 64 << 10
"""Bytes of a blob up to which it is sent to learn whether a registry takes one with the POST."""

Read = Callable[[int, int], AsyncIterator[bytes]]
"""Bytes [start, end) of what is pushed."""
Remember = Callable[[str], Awaitable[None]]
"""Keeps the address of a session, for another run to go on with."""

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")


class Remote(Reading):
    """One registry, as one account."""

    def __init__(self, guard: Guard, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(guard, endpoint, **options)
        self._enlisting: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def mount(self, repository: str, digest: str, source: str) -> bool:
        """Share a blob of another repository there; whether that was possible."""
        query = urlencode({"mount": digest, "from": source})
        url = self.url(f"/v2/{quote(repository)}/blobs/uploads/?{query}")
        scopes = (f"repository:{repository}:pull,push", f"repository:{source}:pull")
        try:
            answer = await self.ask("POST", url, scopes=scopes, expect=(201, 202), again=False)
        except MoorageError:
            return False
        await answer.aclose()
        if answer.status_code == 202:
            await self._cancel(repository, self._location(url, answer))
        return answer.status_code == 201

    async def _cancel(self, repository: str, location: str) -> None:
        try:
            answer = await self.ask(
                "DELETE", location, scopes=_writes(repository), expect=(204, 202, 200), again=False
            )
            await answer.aclose()
        except MoorageError:
            return  # it ends by itself

    async def push_blob(
        self,
        repository: str,
        digest: str,
        size: int,
        read: Read,
        *,
        chunk: int = 0,
        throttle: Throttle = FREE,
        session: str = "",
        remember: Remember | None = None,
    ) -> None:
        """Store a blob; `chunk`: bytes of one request at most, 0: all of them.

        `session` is where an earlier run had come to. Raises DigestInvalid when the registry
        did not get what was sent, Denied, Invalid, Unreachable.
        """
        failures, location, offset = 0, session, 0
        doubtful = False
        if not (session or chunk) and await self._at_once(repository, digest, size, read, throttle):
            return
        if location:
            location, offset = await self._resume(repository, location)
        while True:
            try:
                if not location:
                    location, offset = await self._start(repository), 0
                    if remember is not None and size > SMALL:
                        await remember(location)
                if size > SMALL or chunk:
                    location, reached = await self._stream(
                        repository, location, offset, size, read, chunk, throttle
                    )
                    offset, doubtful = size, reached < size
                await self._finish(repository, location, digest, offset, size, read, throttle)
                return
            except (Unreachable, NotFound, Invalid) as error:
                failures += 1
                if failures >= self.tries or (isinstance(error, NotFound) and failures > 1):
                    raise
                if isinstance(error, Invalid):
                    if not doubtful or failures > 1:
                        raise
                else:
                    await self.pause(failures - 1)
                location, offset = await self._resume(repository, location)

    async def _at_once(
        self, repository: str, digest: str, size: int, read: Read, throttle: Throttle
    ) -> bool:
        """Store a small blob by a single POST (OCI distribution-spec, "Single POST").

        False: the registry does not, or not this time; whoever asks goes the long way.
        """
        most = {None: TRIED, True: SMALL, False: -1}[self.traits.takes_at_once]
        if size > most:
            return False
        url = self.url(f"/v2/{quote(repository)}/blobs/uploads/?{urlencode({'digest': digest})}")
        headers = {"content-type": "application/octet-stream", "content-length": str(size)}
        try:
            answer = await self.ask(
                "POST",
                url,
                scopes=_writes(repository),
                headers=headers,
                content=_content(read, 0, size, throttle) if size else b"",
                expect=(201, 202),
                again=False,
            )
        except Denied:
            raise
        except (Unreachable, TooManyRequests):
            return False
        except (Invalid, NotFound):
            self.traits.takes_at_once = self.traits.takes_at_once or False
            return False
        await answer.aclose()
        self.traits.takes_at_once = answer.status_code == 201
        if not self.traits.takes_at_once:  # a session, as if no bytes had come; or so we hope
            await self._cancel(repository, self._location(url, answer))
            return False
        self._same(answer, digest)
        return True

    async def _start(self, repository: str) -> str:
        url = self.url(f"/v2/{quote(repository)}/blobs/uploads/")
        answer = await self.ask("POST", url, scopes=_writes(repository), expect=(202,))
        await answer.aclose()
        return self._location(url, answer)

    async def _resume(self, repository: str, location: str) -> tuple[str, int]:
        """Where a session is, and how far; none when it is gone."""
        if not location:
            return "", 0
        try:
            answer = await self.ask(
                "GET", location, scopes=_writes(repository), expect=(204, 202, 200), again=False
            )
        except MoorageError:
            return "", 0
        await answer.aclose()
        return self._location(location, answer), _end(answer) or 0

    async def _stream(
        self,
        repository: str,
        location: str,
        offset: int,
        size: int,
        read: Read,
        chunk: int,
        throttle: Throttle,
    ) -> tuple[str, int]:
        """PATCH what is missing; where to finish, and how far the registry says that it is.

        What it took with 202 is not sent again though it says less: a zot of early 2025 counts
        the last chunk alone, and ECR's count comes late. Whether all is there the digest tells.
        """
        stuck, reached = 0, None
        while offset < size:
            end = min(size, offset + chunk) if chunk else size
            headers = {
                "content-type": "application/octet-stream",
                "content-length": str(end - offset),
            }
            if chunk or offset:
                headers["content-range"] = f"{offset}-{end - 1}"
            answer = await self.ask(
                "PATCH",
                location,
                scopes=_writes(repository),
                headers=headers,
                content=_content(read, offset, end, throttle),
                expect=(202, 201, 204, 416),
                again=False,
            )
            await answer.aclose()
            location = self._location(location, answer)
            reached = _end(answer)
            if answer.status_code != 416:
                offset = end
                continue
            stuck += 1
            if reached is None:
                location, reached = await self._resume(repository, location)
            if not location:
                raise Unreachable(f"{self.endpoint.host} does not say where a session is")
            if stuck > self.tries:
                raise Invalid(f"{self.endpoint.host} refuses the bytes from {offset} on")
            offset = reached
        return location, size if reached is None else reached

    async def _finish(
        self,
        repository: str,
        location: str,
        digest: str,
        offset: int,
        size: int,
        read: Read,
        throttle: Throttle,
    ) -> None:
        joint = "&" if urlsplit(location).query else "?"
        answer = await self.ask(
            "PUT",
            f"{location}{joint}{urlencode({'digest': digest})}",
            scopes=_writes(repository),
            headers={
                "content-type": "application/octet-stream",
                "content-length": str(size - offset),
            },
            content=_content(read, offset, size, throttle) if offset < size else b"",
            expect=(201, 204),
            again=False,
        )
        await answer.aclose()
        self._same(answer, digest)

    async def put_manifest(
        self, repository: str, reference: str, payload: bytes, media_type: str
    ) -> str:
        """Store a manifest under a tag or its digest; returns the digest."""
        digest = reference if digests.is_digest(reference) else digests.of(payload)
        try:
            answer = await self.ask(
                "PUT",
                self._manifest(repository, reference),
                scopes=_writes(repository),
                headers={"content-type": media_type},
                content=payload,
                expect=(201, 202),
            )
        except Invalid as error:
            if media_type not in (media_types.DOCKER_MANIFEST, media_types.DOCKER_LIST):
                raise
            raise Invalid(
                f"{error.message}: perhaps it takes no manifests of Docker's media types, "
                'as zot without "compat": ["docker2s2"]'
            ) from error
        await answer.aclose()
        self._same(answer, digest)
        subject = _subject(payload)
        if subject and answer.headers.get("oci-subject"):
            self.traits.lists_referrers = True
        elif subject:
            await self.enlist(repository, subject, [Fetched(digest, media_type, payload)])
        return digest

    async def unlisted(self, repository: str, subject: str, wanted: Sequence[str]) -> Sequence[str]:
        """Which of these referrers the tag lacks that stands in for the list of a registry.

        None where the registry has a list of its own.
        """
        listed = {each.digest for each in await self.referrers(repository, subject)}
        if self.traits.lists_referrers is not False:
            return ()
        return [each for each in wanted if each not in listed]

    async def enlist(self, repository: str, subject: str, referrers: Sequence[Fetched]) -> None:
        """Add referrers to the tag that stands in for the list of a registry without one.

        No registry takes it only if nobody else has written it since it was read: whoever wants
        to be sure asks `unlisted` afterwards.
        """
        tag = stand_in(subject)
        async with self._enlisting.setdefault((repository, tag), asyncio.Lock()):
            try:
                known = orjson.loads((await self.manifest(repository, tag)).payload)
                listed = list(known.get("manifests") or [])
            except (NotFound, orjson.JSONDecodeError, AttributeError, TypeError):
                listed = []
            held = {each.get("digest") for each in listed if isinstance(each, dict)}
            new = [_described(each) for each in referrers if each.digest not in held]
            if not new:
                return
            index = {
                "schemaVersion": 2,
                "mediaType": media_types.OCI_INDEX,
                "manifests": [*listed, *new],
            }
            await self.put_manifest(repository, tag, orjson.dumps(index), media_types.OCI_INDEX)

    def _same(self, answer: httpx2.Response, digest: str) -> None:
        said = answer.headers.get("docker-content-digest", "")
        if said and said.partition(":")[0] == digest.partition(":")[0] and said != digest:
            raise DigestInvalid(f"{self.endpoint.host} stored {said[:140]} in place of {digest}")

    def _location(self, url: str, answer: httpx2.Response) -> str:
        target = answer.headers.get("location", "")
        if not target:
            return url
        found = joined(url, target)
        if urlsplit(url).scheme == "https" and urlsplit(found).scheme != "https":
            raise Unreachable(f"{self.endpoint.host} wants bytes without encryption")
        return found


def _writes(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull,push",)


def _content(
    read: Read, start: int, end: int, throttle: Throttle
) -> Callable[[], AsyncIterator[bytes]]:
    async def parts() -> AsyncIterator[bytes]:
        async for part in read(start, end):
            await throttle.pass_(len(part))
            yield part

    return parts


def _end(answer: httpx2.Response) -> int | None:
    """The first byte that a session has not got."""
    found = _RANGE.fullmatch(answer.headers.get("range", "").strip())
    if found is None:
        return None
    last = int(found[1])
    return last + 1 if last else 0  # 0-0 is what registries say of none


def _described(referrer: Fetched) -> dict[str, Any]:
    """A descriptor for a list of referrers (OCI distribution-spec, "Pushing Manifests")."""
    document = orjson.loads(referrer.payload)
    config = document.get("config") or {}
    entry = {
        "mediaType": referrer.media_type,
        "digest": referrer.digest,
        "size": len(referrer.payload),
        "artifactType": document.get("artifactType") or config.get("mediaType", ""),
    }
    if document.get("annotations"):
        entry["annotations"] = document["annotations"]
    return entry


def _subject(payload: bytes) -> str:
    try:
        found = orjson.loads(payload).get("subject") or {}
        return str(found.get("digest", ""))
    except (orjson.JSONDecodeError, AttributeError):
        return ""
