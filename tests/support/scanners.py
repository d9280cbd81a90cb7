"""The adapter of a scanner, over a real socket: the metadata of the pluggable scanner API."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest


class Adapter:
    """What it is asked, and what it says."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[dict[str, str]] = []
        self.said: Any = {
            "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "0.72"},
            "capabilities": [
                {
                    "type": "vulnerability",
                    "consumes_mime_types": ["application/vnd.oci.image.manifest.v1+json"],
                    "produces_mime_types": ["application/vnd.security.vulnerability.report"],
                }
            ],
            "properties": {"env": "test"},
        }
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.headers.append(dict(line.lower().split(": ", 1) for line in head[1:] if line))
        body = json.dumps(self.said).encode() if head[0].startswith("GET /api/v1/metadata") else b""
        status = self.status if body else 404
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()


@pytest.fixture
async def adapter() -> AsyncIterator[Adapter]:
    """One that works."""
    made = Adapter()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    async with server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made
