"""A registry that is not ours, over a real socket: it is right, or lies, cuts, limits, redirects.

other = await stack.enter_async_context(OtherRegistry().serving())
other.push("library/app", "v1", image(...))      what it has
other.requests                                   what was asked: (method, path, headers)
other.cut = [1000]                               the next blobs end after so many bytes
"""

import asyncio
import base64
import hashlib
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.content import image, sha256

from moorage.oci import media_types

IMAGE, INDEX = media_types.OCI_MANIFEST, media_types.OCI_INDEX


@dataclass
class Request:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes = b""


@dataclass
class Answer:
    """What is sent; `cut` ends the connection after so many bytes of the body."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    length: int | None = None  # that is announced, when it is not that of the body


@dataclass
class OtherRegistry:
    """Content, knobs, and a log of what was asked."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    sessions: int = 0  # that were begun so far
    requests: list[Request] = field(default_factory=list)
    connections: dict["asyncio.Task[Any]", asyncio.StreamWriter] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)  # sent first, whatever was asked
    cut: list[int] = field(default_factory=list)
    ranges: bool = True
    native_referrers: bool = True
    at_once: bool = False  # whether a blob may come with the POST
    catalog: bool = True
    scheme: str = ""  # "", basic or bearer
    realm: str = ""
    account: tuple[str, str] = ("robot", "secret")
    swapped: dict[str, bytes] = field(default_factory=dict)  # blob → what is sent in its place
    pause: asyncio.Event | None = None  # that blobs wait for after their first byte
    redirect: str = ""  # where blobs are
    meeting: dict[tuple[str, str], asyncio.Barrier] = field(default_factory=dict)
    # (method, path) → its answers are found, and wait for one another before they are sent; once
    url: str = ""
    tls: ssl.SSLContext | None = None
    _tasks: list["asyncio.Task[Any]"] = field(default_factory=list)

    # --- content

    def blob(self, repository: str, data: bytes) -> str:
        """Put a blob there; its digest."""
        self.blobs[repository, sha256(data)] = data
        return sha256(data)

    def manifest(
        self,
        repository: str,
        payload: bytes,
        *tags: str,
        media_type: str = IMAGE,
    ) -> str:
        """Put a manifest there; its digest."""
        digest = sha256(payload)
        self.manifests[repository, digest] = (media_type, payload)
        for tag in tags:
            self.tags[repository, tag] = digest
        return digest

    def push(self, repository: str, *tags: str, layers: tuple[bytes, ...] = (b"layer",)) -> str:
        """Put an image there; its digest."""
        for data in (b"{}", *layers):
            self.blob(repository, data)
        return self.manifest(repository, image(b"{}", layers), *tags)

    def sign(self, repository: str, subject: str, what: bytes = b"signature") -> str:
        """Put a referrer there; its digest."""
        self.blob(repository, what)
        self.blob(repository, b"{}")
        media_type, payload = self.manifests[repository, subject]
        said = {"mediaType": media_type, "digest": subject, "size": len(payload)}
        return self.manifest(
            repository, image(b"{}", (what,), subject=said, artifactType="application/x.signature")
        )

    def asked(self, method: str, part: str) -> list[Request]:
        """Requests of a method whose path holds a text."""
        return [each for each in self.requests if each.method == method and part in each.path]

    # --- serving

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["OtherRegistry"]:
        """Answer on a free port of this machine."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for writer in self.connections.values():
                writer.transport.abort()  # one that waits for its client would stay open
            for task in self._tasks:
                task.cancel()
            for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """In a task of ours: one of the server's own would outlive the server."""
        task = asyncio.create_task(self._connection(reader, writer))
        self.connections[task] = writer
        self._tasks.append(task)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            while request := await _read(reader):
                self.requests.append(request)
                answer = self.answers.pop(0) if self.answers else self._answer(request)
                meeting = self.meeting.get((request.method, request.path))
                if meeting is not None:
                    await meeting.wait()
                    self.meeting.pop((request.method, request.path), None)
                await self._send(writer, request, answer)
                if answer.cut is not None:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            del self.connections[task]

    async def _send(self, writer: asyncio.StreamWriter, request: Request, answer: Answer) -> None:
        length = len(answer.body) if answer.length is None else answer.length
        head = [f"HTTP/1.1 {answer.status} X", f"content-length: {length}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join((*head, "", "")).encode())
        body = b"" if request.method == "HEAD" else answer.body[: answer.cut]
        if self.pause is not None and "/blobs/" in request.path and body:
            writer.write(body[:1])
            await writer.drain()
            await self.pause.wait()
            body = body[1:]
        writer.write(body)
        await writer.drain()

    def _answer(self, request: Request) -> Answer:
        path = request.path
        if path == "/token":
            return self._token(request)
        if refused := self._challenge(request):
            return refused
        if path in ("/v2", "/v2/"):
            return Answer(200, b"{}")
        if path == "/v2/_catalog":
            if not self.catalog:
                return _error(404, "UNSUPPORTED")
            return self._list(request, "repositories", sorted({name for name, _ in self.manifests}))
        for pattern, handler in _ROUTES:
            if found := re.fullmatch(pattern, path):
                answer: Answer = getattr(self, handler)(request, *found.groups())
                return answer
        return _error(404, "NOT_FOUND")

    def _token(self, request: Request) -> Answer:
        if "authorization" in request.headers and not self._known(request):
            return _error(401, "UNAUTHORIZED")
        kind = "signed" if "authorization" in request.headers else "anonymous"
        return Answer(200, json.dumps({"token": kind, "expires_in": 300}).encode())

    def _known(self, request: Request) -> bool:
        pair = base64.b64encode(":".join(self.account).encode()).decode()
        return request.headers["authorization"] == f"Basic {pair}"

    def _challenge(self, request: Request) -> Answer | None:
        held = request.headers.get("authorization", "")
        if self.scheme == "basic" and not (held and self._known(request)):
            return Answer(401, headers={"www-authenticate": 'Basic realm="there"'})
        if self.scheme == "bearer" and held not in ("Bearer signed", "Bearer anonymous"):
            realm = self.realm or f"{self.url}/token"
            said = f'Bearer realm="{realm}",service="there",scope="repository:x:pull"'
            return Answer(401, headers={"www-authenticate": said})
        return None

    def _list(self, request: Request, key: str, names: list[str]) -> Answer:
        last, count = request.query.get("last", [""])[0], int(request.query.get("n", ["100"])[0])
        rest = [name for name in names if name > last]
        headers = {}
        if len(rest) > count:
            headers["link"] = f'<{request.path}?n={count}&last={rest[count - 1]}>; rel="next"'
        return Answer(200, json.dumps({key: rest[:count]}).encode(), headers)

    def _tags(self, request: Request, name: str) -> Answer:
        if not any(each == name for each, _ in self.manifests):
            return _error(404, "NAME_UNKNOWN")
        return self._list(request, "tags", sorted(t for n, t in self.tags if n == name))

    def _referrers(self, request: Request, name: str, digest: str) -> Answer:
        if not self.native_referrers:
            return _error(404, "NOT_FOUND")
        found = [
            {
                "mediaType": kind,
                "digest": each,
                "size": len(payload),
                "artifactType": json.loads(payload).get("artifactType", ""),
            }
            for (place, each), (kind, payload) in self.manifests.items()
            if place == name and json.loads(payload).get("subject", {}).get("digest") == digest
        ]
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": found}).encode()
        return Answer(200, body, {"content-type": INDEX})

    def _manifest(self, request: Request, name: str, reference: str) -> Answer:
        if request.method == "PUT":
            media_type = request.headers["content-type"]
            tags = () if ":" in reference else (reference,)
            digest = self.manifest(name, request.body, *tags, media_type=media_type)
            headers = {"docker-content-digest": digest}
            subject = json.loads(request.body).get("subject")
            if subject and self.native_referrers:
                headers["oci-subject"] = subject["digest"]
            return Answer(201, headers=headers)
        digest = self.tags.get((name, reference), reference)
        if (name, digest) not in self.manifests:
            return _error(404, "MANIFEST_UNKNOWN")
        if request.method == "DELETE":
            if reference != digest:
                del self.tags[name, reference]
            else:
                del self.manifests[name, digest]
                self.tags = {key: each for key, each in self.tags.items() if each != digest}
            return Answer(202)
        media_type, payload = self.manifests[name, digest]
        payload = self.swapped.get(digest, payload)
        return Answer(200, payload, {"content-type": media_type, "docker-content-digest": digest})

    def _blob(self, request: Request, name: str, digest: str) -> Answer:
        data = self.blobs.get((name, digest))
        if data is None:
            return _error(404, "BLOB_UNKNOWN")
        if self.redirect and request.method == "GET":
            return Answer(307, headers={"location": f"{self.redirect}{request.path}"})
        data = self.swapped.get(digest, data)
        headers = {"docker-content-digest": digest}
        wanted = request.headers.get("range", "")
        status = 200
        if wanted and self.ranges and request.method == "GET":
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data, status = data[start:], 206
        large = request.method == "GET" and len(data) > 100
        cut = self.cut.pop(0) if self.cut and large else None
        return Answer(status, data, headers, cut)

    def _start(self, request: Request, name: str) -> Answer:
        mount, source = request.query.get("mount"), request.query.get("from")
        if mount and source and (source[0], mount[0]) in self.blobs:
            self.blobs[name, mount[0]] = self.blobs[source[0], mount[0]]
            return Answer(201)
        if self.at_once and (wanted := request.query.get("digest")):
            if sha256(request.body) != wanted[0]:
                return _error(400, "DIGEST_INVALID")
            self.blobs[name, wanted[0]] = request.body
            return Answer(201, headers={"docker-content-digest": wanted[0]})
        self.sessions += 1
        session = str(self.sessions)
        self.uploads[session] = bytearray()
        return Answer(202, headers={"location": f"/v2/{name}/blobs/uploads/{session}?state=x"})

    def _session(self, request: Request, name: str, session: str) -> Answer:
        held = self.uploads.get(session)
        if held is None:
            return _error(404, "BLOB_UPLOAD_UNKNOWN")
        headers = {
            "location": f"/v2/{name}/blobs/uploads/{session}?state=x",
            "range": f"0-{max(len(held) - 1, 0)}",
        }
        if request.method == "DELETE":
            del self.uploads[session]
            return Answer(204)
        if request.method == "GET":
            return Answer(204, headers=headers)
        start = request.headers.get("content-range", "").split("-")[0]
        if start and int(start) != len(held):
            return Answer(416, headers=headers)
        held += request.body
        if request.method == "PATCH":
            return Answer(202, headers=headers | {"range": f"0-{max(len(held) - 1, 0)}"})
        digest = request.query["digest"][0]
        if "sha256:" + hashlib.sha256(held).hexdigest() != digest:
            return _error(400, "DIGEST_INVALID")
        self.blobs[name, digest] = bytes(held)
        return Answer(201, headers={"docker-content-digest": digest})


_NAME = r"/v2/([a-z0-9._/-]+)"
_ROUTES = (
    (_NAME + r"/tags/list", "_tags"),
    (_NAME + r"/referrers/([a-z0-9:]+)", "_referrers"),
    (_NAME + r"/manifests/([\w.:-]+)", "_manifest"),
    (_NAME + r"/blobs/uploads/?", "_start"),
    (_NAME + r"/blobs/uploads/(\d+)", "_session"),
    (_NAME + r"/blobs/([a-z0-9:]+)", "_blob"),
)


def _error(status: int, code: str) -> Answer:
    return Answer(status, json.dumps({"errors": [{"code": code, "message": "x"}]}).encode())


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ")
    headers = {
        name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)
    }
    if headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int((await reader.readline()).strip(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()
        body = b"".join(parts)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    url = urlsplit(target)
    return Request(method, unquote(url.path), parse_qs(url.query), headers, body)
