"""Many clients at once in front of a proxy cache, whose registry counts what it serves.

TESTS_PROXY_MIB says how large the image is; of 256 MiB it takes forty seconds on two cores.
"""

import asyncio
import os
import socket
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.content import sha256
from tests.support.otherregistry import OtherRegistry
from tests.support.requirements import require
from tests.support.serving import Registry
from tests.support.sites import made, moorage, register

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CLIENTS = 64
MIB = int(os.environ.get("TESTS_PROXY_MIB", "256"))
PIECE = 1 << 20
APP = "library/app"


async def fetched(site: Registry, path: str, wanted: bytes) -> None:
    """Compare every byte of what a path holds: hashes would take longer than the sending."""
    loop = asyncio.get_running_loop()
    pair = b64encode(f"{site.username}:{site.password}".encode()).decode()
    head = (
        f"GET /v2/cache/{APP}/{path} HTTP/1.1\r\nhost: {site.host}\r\nauthorization: Basic {pair}"
    )
    buffer = bytearray(PIECE)
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", site.port))
        await loop.sock_sendall(
            client, f"{head}\r\naccept: */*\r\nconnection: close\r\n\r\n".encode()
        )
        got = b""
        while b"\r\n\r\n" not in got:
            count = await loop.sock_recv_into(client, buffer)
            assert count, got
            got += buffer[:count]
        status, _, part = got.partition(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 200"), status
        assert wanted.startswith(part), path
        at = len(part)
        while count := await loop.sock_recv_into(client, buffer):
            assert wanted.startswith(memoryview(buffer)[:count], at), (path, at)
            at += count
            await asyncio.sleep(0)  # the others of this process read as well
        assert at == len(wanted), (path, at)


async def pull(site: Registry, manifest: bytes, blobs: Mapping[str, bytes]) -> None:
    """An image by its tag, as clients do."""
    await fetched(site, "manifests/v1", manifest)
    for digest, data in blobs.items():
        await fetched(site, f"blobs/{digest}", data)


async def test_many_clients_pull_one_image_at_once(tmp_path: Path) -> None:
    """The registry behind serves each blob and the manifest once; then it is not needed."""
    require()
    site = moorage(tmp_path / "site")
    with site.running():
        async with OtherRegistry().serving() as other:
            layers = os.urandom(MIB << 20), b"small"
            digest = other.push(APP, "v1", layers=layers)
            blobs = {sha256(each): each for each in (b"{}", *layers)}
            manifest = other.manifests[APP, digest][1]
            number = await asyncio.to_thread(register, site, "peer", "docker-registry", other.url)
            body = {"project_name": "cache", "registry_id": number}
            await asyncio.to_thread(made, site, "/projects", body)
            await asyncio.gather(*(pull(site, manifest, blobs) for _ in range(CLIENTS)))
            served = Counter(each.path for each in other.asked("GET", f"/{APP}/"))
            paths = [f"manifests/{digest}", *(f"blobs/{each}" for each in blobs)]
            assert served == dict.fromkeys([f"/v2/{APP}/{each}" for each in paths], 1)
        await asyncio.gather(*(pull(site, manifest, blobs) for _ in range(CLIENTS)))
