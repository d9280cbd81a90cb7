"""How other roles are, asked where the settings say they are."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.certificates import Authority

from moorage.config.health import HealthSettings
from moorage.ops import Operations
from moorage.roles.faces import Role
from moorage.roles.health import Health

pytestmark = pytest.mark.anyio


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Nobody trusts it unless told to."""
    return Authority(tmp_path)


@asynccontextmanager
async def registry(authority: Authority) -> AsyncIterator[str]:
    """The URL of a role that is ready, over TLS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    context: ssl.SSLContext = authority.server_context("127.0.0.1")
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def told(settings: HealthSettings) -> str:
    """What the health page of a core says of the registry."""
    operations = Operations(None)  # type: ignore[arg-type]
    dashboard: Any = SimpleNamespace(workers=lambda: asyncio.sleep(0, 1))
    db: Any = SimpleNamespace(commits_waiting=lambda: asyncio.sleep(0, 0))
    health = Health(operations, Role.CORE, settings, dashboard, db)
    return (await health.check())["registry"]


async def test_a_role_with_a_certificate_of_ones_own(authority: Authority) -> None:
    """It is well for those who know its authority, and not called healthy by others."""
    async with registry(authority) as url:
        assert await told(HealthSettings(registry_url=url, ca_file=authority.path)) == ""
        assert "not trusted" in await told(HealthSettings(registry_url=url))
    assert "cannot be reached" in await told(
        HealthSettings(registry_url=url, ca_file=authority.path)
    )
