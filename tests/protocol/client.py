"""A client that calls an ASGI application directly and can misbehave as real ones do."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    file: str | None = None  # what the server was told to send instead

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name.lower()]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the first error; fails where the body has not the form of the OCI."""
        errors = self.json()["errors"]
        assert errors
        assert all(isinstance(e["code"], str) and isinstance(e["message"], str) for e in errors)
        return str(errors[0]["code"])

    @property
    def location(self) -> str:
        """Where the next request goes."""
        value = self.header("location")
        assert value is not None
        return value


class Client:
    """Asks one application, with the same credentials each time."""

    def __init__(self, app: ASGIApp, authorization: str | None = None) -> None:
        self._app = app
        self.authorization = authorization

    async def ask(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        length: int | None = None,
        breaks_off: bool = False,
        scheme: str = "http",
        extensions: Iterable[str] = (),
    ) -> Answer:
        """Send one request and collect the answer.

        A body of several pieces goes chunked unless `length` announces one. `breaks_off` ends the
        connection after the last piece instead of completing the body.
        """
        raw, _, query = target.partition("?")
        pieces = [body] if isinstance(body, bytes) else list(body or ())
        fields = {"host": "registry.test", **(headers or {})}
        if self.authorization is not None:
            fields.setdefault("authorization", self.authorization)
        if length is None and isinstance(body, bytes):
            length = len(body)
        if length is not None:
            fields.setdefault("content-length", str(length))
        elif pieces:
            fields["transfer-encoding"] = "chunked"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": scheme,
            "path": unquote(raw),
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in fields.items()],
            "client": ("203.0.113.7", 4711),
            "server": ("registry.test", 80),
            "extensions": {name: {} for name in extensions},
        }
        return await self._run(scope, pieces, breaks_off)

    async def _run(self, scope: dict[str, Any], pieces: list[bytes], breaks_off: bool) -> Answer:
        waiting: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
        ]
        if breaks_off:
            waiting.append({"type": "http.disconnect"})
        elif waiting:
            waiting[-1]["more_body"] = False
        else:
            waiting.append({"type": "http.request", "body": b"", "more_body": False})
        sent: list[Message] = []

        async def receive() -> Message:
            if waiting:
                return waiting.pop(0)
            await asyncio.sleep(3600)
            raise AssertionError("nobody waits that long")

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        assert sent[0]["type"] == "http.response.start"
        assert not sent[-1].get("more_body", False), "the answer was not completed"
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in sent[0]["headers"]]
        assert all(key == key.lower() for key, _ in headers)
        body = b"".join(m.get("body", b"") for m in sent[1:])
        return Answer(sent[0]["status"], headers, body, sent[-1].get("path"))

    # --- what every client does

    async def push_blob(self, repository: str, content: bytes, algorithm: str = "sha256") -> str:
        """Push a blob in one request; returns its digest."""
        from moorage.oci import digest as digests

        digest = digests.of(content, algorithm)
        answer = await self.ask(
            "POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", body=content
        )
        assert answer.status == 201, answer
        return digest

    async def push_manifest(
        self, repository: str, reference: str, document: Mapping[str, Any], **more: Any
    ) -> Answer:
        """Push a manifest; `reference` empty: by its digest."""
        from moorage.oci import digest as digests

        payload = json.dumps(document).encode()
        media_type = str(document["mediaType"])
        return await self.ask(
            "PUT",
            f"/v2/{repository}/manifests/{reference or digests.of(payload)}",
            headers={"content-type": media_type},
            body=payload,
            **more,
        )

    async def push_image(self, repository: str, tag: str, layer: bytes = b"layer") -> str:
        """Push config, one layer and a manifest; returns the manifest's digest."""
        config = await self.push_blob(repository, b"{}")
        await self.push_blob(repository, layer)
        answer = await self.push_manifest(repository, tag, image(config, layer))
        assert answer.status == 201, answer
        digest = answer.header("docker-content-digest")
        assert digest is not None
        return digest


IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def image(config: str, *layers: bytes, **more: Any) -> dict[str, Any]:
    """An OCI image manifest over a config of `{}` and layers."""
    from moorage.oci import digest as digests

    return {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": 2,
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digests.of(layer),
                "size": len(layer),
            }
            for layer in layers
        ],
        **more,
    }
