"""Many clients at once in front of a proxy cache, whose registry counts what it serves.

TESTS_PROXY_MIB says how large the image is.
"""

import asyncio
import hashlib
import json
import os
from base64 import b64encode
from collections import Counter
from pathlib import Path

import pytest
from tests.support.content import sha256
from tests.support.otherregistry import OtherRegistry
from tests.support.requirements import require
from tests.support.serving import Registry
from tests.support.sites import made, moorage, register

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CLIENTS = 64
MIB = int(os.environ.get("TESTS_PROXY_MIB", "4"))
PIECE = 1 << 18


async def fetched(site: Registry, path: str) -> tuple[str, bytes]:
    """The digest of what a path holds, and its first bytes."""
    pair = b64encode(f"{site.username}:{site.password}".encode()).decode()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=PIECE)
    head = f"GET {path} HTTP/1.1\r\nhost: {site.host}\r\nauthorization: Basic {pair}\r\n"
    writer.write(f"{head}accept: */*\r\nconnection: close\r\n\r\n".encode())
    try:
        status = await reader.readuntil(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 200"), status
        hasher, beginning = hashlib.sha256(), b""
        while part := await reader.read(PIECE):
            hasher.update(part)
            beginning = beginning or part
        return f"sha256:{hasher.hexdigest()}", beginning
    finally:
        writer.close()
        await writer.wait_closed()


async def pull(site: Registry, digest: str) -> None:
    """An image by its tag, every byte of it, as clients do."""
    there = "/v2/cache/library/app"
    found, payload = await fetched(site, f"{there}/manifests/v1")
    assert found == digest
    document = json.loads(payload)
    for each in (document["config"], *document["layers"]):
        assert (await fetched(site, f"{there}/blobs/{each['digest']}"))[0] == each["digest"]


async def test_many_clients_pull_one_image_at_once(tmp_path: Path) -> None:
    """The registry behind serves each blob and the manifest once; then it is not needed."""
    require()
    site = moorage(tmp_path / "site")
    with site.running():
        async with OtherRegistry().serving() as other:
            layers = os.urandom(MIB << 20), b"small"
            digest = other.push("library/app", "v1", layers=layers)
            number = await asyncio.to_thread(register, site, "peer", "docker-registry", other.url)
            body = {"project_name": "cache", "registry_id": number}
            await asyncio.to_thread(made, site, "/projects", body)
            await asyncio.gather(*(pull(site, digest) for _ in range(CLIENTS)))
            served = Counter(each.path for each in other.asked("GET", "/library/app/"))
            blobs = [f"/v2/library/app/blobs/{sha256(each)}" for each in (b"{}", *layers)]
            assert served == dict.fromkeys([f"/v2/library/app/manifests/{digest}", *blobs], 1)
        await asyncio.gather(*(pull(site, digest) for _ in range(CLIENTS)))
