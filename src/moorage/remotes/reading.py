"""The OCI distribution API of one other registry, from the side of its client.

    manifest, head, tags, catalog, referrers     bounded, and digests compared
    blob                                         streamed; goes on by Range where it was cut

Nothing that another registry sends is believed: a manifest has the digest that was asked for, a
blob the length that its manifest says, and its digest is compared by whoever stores it.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx2
import orjson

from moorage.errors import (
    DigestInvalid,
    Invalid,
    MoorageError,
    NotFound,
    SizeInvalid,
    Unreachable,
)
from moorage.oci import digest as digests
from moorage.oci import media_types
from moorage.oci.manifest import MAX_BYTES
from moorage.remotes.lists import Names, linked
from moorage.remotes.records import Fetched, Listed, joined, origin
from moorage.remotes.requests import Requests
from moorage.remotes.throttle import FREE, Throttle

LIST_BYTES = 16 << 20
"""Bytes of one page of a list."""
PAGE = 1000
MOST_REFERRERS = 10_000
REFERRERS_BYTES = 16 << 20
"""Bytes of all pages of one list of referrers."""

ACCEPT = ", ".join(
    (
        media_types.OCI_MANIFEST,
        media_types.OCI_INDEX,
        media_types.DOCKER_MANIFEST,
        media_types.DOCKER_LIST,
        media_types.OCI_ARTIFACT,
    )
)


class Reading(Requests):
    """The read side of `Remote`."""

    async def ping(self) -> None:
        """Whether it is there and knows the account; raises Denied, Unreachable, Invalid."""
        if self.adapter.ping is not None:
            await self.adapter.ping(self)
            return
        answer = await self.ask("GET", self.url("/v2/"), scopes=(), again=False, expect=(200, 404))
        await answer.aclose()
        if answer.status_code == 404:
            raise Invalid(f"{self.endpoint.host} is no registry: it has no /v2/")

    # --- manifests

    async def manifest(self, repository: str, reference: str, *, again: bool = True) -> Fetched:
        """A manifest by its tag or digest; raises NotFound, DigestInvalid, SizeInvalid."""
        answer, payload = await self.text(
            "GET",
            self._manifest(repository, reference),
            MAX_BYTES,
            scopes=(pulling(repository),),
            headers={"accept": ACCEPT},
            again=again,
        )
        said = answer.headers.get("docker-content-digest", "")
        wanted = reference if digests.is_digest(reference) else _trusted(said)
        algorithm = digests.parse(wanted)[0] if wanted else "sha256"
        digest = digests.of(payload, algorithm)
        if wanted and digest != wanted:
            raise DigestInvalid(
                f"{self.endpoint.host} sends another manifest than {wanted}: its digest is {digest}"
            )
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Fetched(digest, _media_type(payload) or media_type, payload)

    async def head(self, repository: str, reference: str, *, again: bool = True) -> Listed | None:
        """What a tag or digest names; None: nothing."""
        try:
            answer = await self.ask(
                "HEAD",
                self._manifest(repository, reference),
                scopes=(pulling(repository),),
                headers={"accept": ACCEPT},
                again=again,
            )
        except NotFound:
            return None
        await answer.aclose()
        digest = _trusted(answer.headers.get("docker-content-digest", ""))
        if not digest:
            try:
                found = await self.manifest(repository, reference, again=again)
            except NotFound:
                return None
            return Listed(found.digest, found.media_type, len(found.payload))
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Listed(digest, media_type, _length(answer) or 0)

    async def delete(self, repository: str, reference: str) -> None:
        """Delete a manifest or a tag; raises NotFound, Invalid where the registry does not."""
        scopes = (f"repository:{repository}:delete,pull,push",)
        url = self._manifest(repository, reference)
        answer = await self.ask("DELETE", url, scopes=scopes, expect=(200, 202, 204))
        await answer.aclose()

    # --- blobs

    async def has_blob(self, repository: str, digest: str) -> int | None:
        """The length of a blob; None: it is not there."""
        # Asked with the right to push, a registry that knows leases promises to keep it.
        return await self._look(repository, digest, pushing(repository))

    async def blob_size(self, repository: str, digest: str, *, again: bool = True) -> int | None:
        """The same for who only reads."""
        return await self._look(repository, digest, pulling(repository), again=again)

    async def _look(
        self, repository: str, digest: str, scope: str, *, again: bool = True
    ) -> int | None:
        try:
            answer = await self.ask(
                "HEAD", self._blob(repository, digest), scopes=(scope,), again=again
            )
        except NotFound:
            return None
        await answer.aclose()
        return _length(answer) or 0

    async def blob(
        self,
        repository: str,
        digest: str,
        size: int,
        start: int = 0,
        *,
        throttle: Throttle = FREE,
    ) -> AsyncIterator[bytes]:
        """Bytes of a blob from `start` to its end; goes on where a connection was cut.

        Raises SizeInvalid when there are more or fewer than `size`, NotFound, Unreachable.
        """
        offset, failures = start, 0
        while offset < size:
            try:
                async with aclosing(self._from(repository, digest, size, offset)) as parts:
                    async for part in parts:
                        await throttle.pass_(len(part))
                        offset += len(part)
                        failures = 0
                        yield part
                if offset < size:
                    raise Unreachable(
                        f"{self.endpoint.host} sent {offset} of the {size} bytes of {digest}"
                    )
            except Unreachable:
                failures += 1
                if failures >= self.tries:
                    raise
                await self.pause(failures - 1)

    async def _from(
        self, repository: str, digest: str, size: int, offset: int
    ) -> AsyncGenerator[bytes, None]:
        """What one answer brings from `offset` on."""
        answer = await self.ask(
            "GET",
            self._blob(repository, digest),
            scopes=(pulling(repository),),
            headers={"range": f"bytes={offset}-{size - 1}"} if offset else {},
            expect=(200, 206) if offset else (200,),
        )
        try:
            skip = offset if answer.status_code == 200 else 0
            self._check_length(answer, digest, size, offset - skip)
            async for part in answer.aiter_raw():
                if skip >= len(part):
                    skip -= len(part)
                    continue
                piece, skip = part[skip:] if skip else part, 0
                offset += len(piece)
                if offset > size:
                    raise SizeInvalid(
                        f"{self.endpoint.host} sends more than the {size} bytes of {digest}"
                    )
                yield piece
        finally:
            await answer.aclose()

    def _check_length(self, answer: httpx2.Response, digest: str, size: int, start: int) -> None:
        """Raises SizeInvalid before anything is stored that cannot be right."""
        length = _length(answer)
        if length is not None and start + length != size:
            raise SizeInvalid(
                f"{self.endpoint.host} says that {digest} has {start + length} bytes, "
                f"its manifest says {size}"
            )

    # --- lists

    async def tags(self, repository: str) -> list[str]:
        """Every tag; raises NotFound."""
        path = f"/v2/{quote(repository)}/tags/list?n={PAGE}"
        return await self._names(path, "tags", pulling(repository))

    async def catalog(self) -> list[str]:
        """Every repository; raises what the registry answers who does not list them."""
        return await self._names(f"/v2/_catalog?n={PAGE}", "repositories", "registry:catalog:*")

    async def _names(self, path: str, key: str, scope: str) -> list[str]:
        names = Names(self.endpoint.host)
        url, guessed = self.url(path), False
        while url:
            try:
                answer, document = await self.json("GET", url, LIST_BYTES, scopes=(scope,))
            except (NotFound, Invalid):
                if not guessed:
                    raise
                break
            said = document.get(key) if isinstance(document, dict) else None
            found = said if isinstance(said, list) else []
            new = names.page(found)
            following = self.following(url, answer) or ""
            if following == url:
                raise Unreachable(f"{self.endpoint.host} sends a list without an end")
            guessed = not following and new > 0 and len(found) >= PAGE
            if guessed:  # some cut a list, and do not say that there is more
                following = self.url(f"{path}&{urlencode({'last': names.last})}")
            url = following if found else ""
        return names.found

    def following(self, url: str, answer: httpx2.Response) -> str | None:
        """The next page of a list: on the same server, whatever the header says."""
        link = linked(answer.headers.get("link", ""))
        if not link:
            return None
        following = joined(url, link)
        if origin(following) != origin(self.endpoint.url):
            parts = urlsplit(following)  # a registry that does not know its own name
            following = self.url(parts.path + (f"?{parts.query}" if parts.query else ""))
        return following

    # --- referrers

    async def referrers(
        self, repository: str, digest: str, artifact_type: str = ""
    ) -> list[Listed]:
        """Manifests whose subject has the digest (OCI distribution-spec, "Listing Referrers").

        Read from the tag that stands in for them where the registry has no such list.
        """
        if self.traits.lists_referrers is not False:
            query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
            try:
                return _of_type(await self._listed(repository, f"{digest}{query}"), artifact_type)
            except NotFound:
                # Some answer so of a subject that they have not, which says nothing of the others.
                if not self.traits.lists_referrers and await self.head(repository, digest):
                    self.traits.lists_referrers = False
            except Invalid:
                self.traits.lists_referrers = False
        try:
            found = await self.manifest(repository, stand_in(digest))
        except NotFound:
            return []
        return _of_type(entries(found.payload), artifact_type)

    async def _listed(self, repository: str, path: str) -> list[Listed]:
        url: str | None = self.url(f"/v2/{quote(repository)}/referrers/{path}")
        found: dict[str, Listed] = {}  # some list one for each of its tags
        size = 0
        while url is not None:
            answer, body = await self.text(
                "GET", url, MAX_BYTES, scopes=(pulling(repository),), headers={"accept": ACCEPT}
            )
            if media_types.OCI_INDEX not in answer.headers.get("content-type", ""):
                raise Invalid(f"{self.endpoint.host} answers with no list of referrers")
            self.traits.lists_referrers = True
            size += len(body)
            if size > REFERRERS_BYTES:
                raise Unreachable(f"{self.endpoint.host} sends a list without an end")
            page = entries(body)
            found |= {each.digest: each for each in page}
            following = self.following(url, answer)
            url = following if page and following != url and len(found) < MOST_REFERRERS else None
        return list(found.values())

    # --- addresses

    def _manifest(self, repository: str, reference: str) -> str:
        return self.url(f"/v2/{quote(repository)}/manifests/{quote(reference, safe=':')}")

    def _blob(self, repository: str, digest: str) -> str:
        return self.url(f"/v2/{quote(repository)}/blobs/{digest}")


def pulling(repository: str) -> str:
    """The scope of who reads."""
    return f"repository:{repository}:pull"


def pushing(repository: str) -> str:
    """The scope of who writes."""
    return f"repository:{repository}:pull,push"


def stand_in(digest: str) -> str:
    """The tag of the index of a subject's referrers (OCI distribution-spec, "Referrers Tag")."""
    return digest.replace(":", "-", 1)[:128]


def entries(payload: bytes) -> list[Listed]:
    """The descriptors of an index; what is none is left out."""
    try:
        document = orjson.loads(payload)
        found: list[Any] = document.get("manifests") or []
    except (orjson.JSONDecodeError, AttributeError):
        return []
    listed = []
    for each in found if isinstance(found, list) else []:
        try:
            digests.parse(each["digest"])
            listed.append(
                Listed(
                    each["digest"],
                    str(each.get("mediaType", "")),
                    int(each.get("size", 0)),
                    str(each.get("artifactType", "")),
                    _annotations(each),
                )
            )
        except (MoorageError, LookupError, TypeError, ValueError, AttributeError):
            continue
    return listed


def _annotations(descriptor: dict[str, Any]) -> dict[str, str]:
    found = descriptor.get("annotations") or {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _of_type(listed: list[Listed], artifact_type: str) -> list[Listed]:
    """A registry need not narrow the list itself."""
    if not artifact_type:
        return listed
    return [each for each in listed if each.artifact_type == artifact_type]


def _media_type(payload: bytes) -> str:
    try:
        found = orjson.loads(payload).get("mediaType", "")
    except (orjson.JSONDecodeError, AttributeError):
        return ""
    return found if isinstance(found, str) else ""


def _trusted(digest: str) -> str:
    """A digest of a header, if it is one of ours."""
    try:
        digests.parse(digest)
    except DigestInvalid:
        return ""
    return digest


def _length(answer: httpx2.Response) -> int | None:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
