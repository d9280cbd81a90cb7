"""The certificate of a process follows its files."""

import asyncio
import ssl
from pathlib import Path

import pytest
from tests.support.certificates import Authority

from moorage.config.settings import HttpSettings
from moorage.roles.certificate import Certificate, certificate_of

pytestmark = pytest.mark.anyio


async def shown(certificate: Certificate, authority: Authority) -> bytes:
    """What a new connection gets to see."""
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        trust = ssl.create_default_context(cafile=authority.path)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        seen: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return seen


async def test_a_new_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    """New connections see it; nothing happens while the files stay."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    certificate = Certificate(cert, key)
    first = await shown(certificate, authority)
    assert not certificate.renew()
    authority.issue("127.0.0.1")
    assert certificate.renew()
    assert await shown(certificate, authority) != first
    assert not certificate.renew()


async def test_half_of_a_pair_leaves_the_old_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate without its key, as in the middle of a change, is not used, nor is none."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    certificate = Certificate(cert, key)
    first = await shown(certificate, authority)
    old = key.read_bytes()
    authority.issue("127.0.0.1")
    new = key.read_bytes()
    key.write_bytes(old)
    assert not certificate.renew()
    assert "cannot read the new certificate" in caplog.text
    assert await shown(certificate, authority) == first
    key.unlink()
    assert not certificate.renew()
    key.write_bytes(new)
    assert certificate.renew()


def test_without_files_there_is_no_certificate(tmp_path: Path) -> None:
    """Plain HTTP is the default; half a pair is refused."""
    assert certificate_of(HttpSettings()) is None
    with pytest.raises(ValueError, match="belong together"):
        HttpSettings(cert_file=tmp_path / "a")
