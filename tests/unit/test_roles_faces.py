"""Which face gets a request."""

import asyncio
from pathlib import Path

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from moorage.config.settings import Settings
from moorage.errors import StorageUnavailable
from moorage.ops import Operations
from moorage.roles.core import volume_of
from moorage.roles.faces import Faces
from moorage.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio


class Face:
    """Remembers where requests wanted to go."""

    def __init__(self) -> None:
        self.paths: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append((scope["path"], scope["raw_path"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_a_slash_too_many_in_front_is_none() -> None:
    """Clients join `https://host/` and `/api/v2.0`; nginx, which Harbor stands behind, merges."""
    faces, face = Faces(Operations(Metrics("1"))), Face()
    faces._api = faces._pages = face
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=faces)) as client:
        for sent in (b"//api/v2.0/ping", b"///c/login", b"//api/a%252Fb"):
            url = httpx2.URL("http://test").copy_with(raw_path=sent)
            assert (await client.get(url)).status_code == 204
    assert face.paths == [
        ("/api/v2.0/ping", b"/api/v2.0/ping"),
        ("/c/login", b"/c/login"),
        ("/api/a%2Fb", b"/api/a%252Fb"),
    ]


async def test_a_request_waits_for_the_start() -> None:
    """A proxy repeats no push, so one that comes too soon is held back; not for ever."""
    faces, face = Faces(Operations(Metrics("1")), patience=60), Face()
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=faces), base_url="http://test"
    ) as client:
        push = asyncio.create_task(client.post("/v2/library/a/blobs/uploads/"))
        assert (await client.get("/healthz")).status_code == 200
        await asyncio.sleep(0)
        assert not face.paths
        faces._distribution = face
        faces._opened.set()
        assert (await push).status_code == 204
    late = Faces(Operations(Metrics("1")), patience=0.01)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=late), base_url="http://test"
    ) as client:
        answer = await client.post("/v2/library/a/blobs/uploads/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


async def test_the_volume_of_the_blobs(tmp_path: Path) -> None:
    """Its size and what is free; an object store has none, a folder that is gone is an error."""
    settings = Settings(data_dir=tmp_path)
    (tmp_path / "blobs").mkdir()
    look = volume_of(settings)
    assert look is not None
    total, free = await look()
    assert total >= free > 0
    (tmp_path / "blobs").rmdir()
    with pytest.raises(StorageUnavailable):
        await look()
    assert volume_of(Settings.model_validate({"storage": {"driver": "memory"}})) is None
