"""`sslmode`, against a PostgreSQL that speaks TLS."""

import ipaddress
import os
import pwd
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.databases import PostgresServer, running_postgres

from moorage.clock import SystemClock
from moorage.db import connect
from moorage.errors import DatabaseUnavailable

pytestmark = pytest.mark.anyio


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
) -> bytes:
    names = [x509.DNSName(name)]
    if name == "127.0.0.1":
        names = [x509.IPAddress(ipaddress.ip_address(name))]  # type: ignore[list-item]
    moment = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two authorities, and certificates of the first for the right and for a wrong name."""
    folder = tmp_path_factory.mktemp("tls")
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ours", "other", "server")}
    found = {}
    for name in ("ours", "other"):
        found[name] = folder / f"{name}.pem"
        found[name].write_bytes(_certificate(name, keys[name], name, keys[name]))
    for label, host in (("right", "127.0.0.1"), ("wrong", "elsewhere.test")):
        found[label] = folder / f"{label}.pem"
        found[label].write_bytes(_certificate(host, keys["server"], "ours", keys["ours"]))
    found["key"] = folder / "key.pem"
    found["key"].write_bytes(
        keys["server"].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return found


@pytest.fixture(scope="module", params=["right", "wrong"])
def tls_server(
    request: pytest.FixtureRequest, authorities: dict[str, Path]
) -> Iterator[tuple[str, PostgresServer]]:
    """A server whose certificate names the address that clients use, or another one."""
    with running_postgres() as server:
        server.stop("fast")
        data = server.folder / "data"
        for source, target in ((request.param, "server.crt"), ("key", "server.key")):
            (data / target).write_bytes(authorities[source].read_bytes())
            (data / target).chmod(0o600)
            if os.geteuid() == 0:
                os.chown(data / target, pwd.getpwnam("postgres").pw_uid, -1)
        with (data / "postgresql.conf").open("a") as stream:
            stream.write("ssl = on\n")
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
        server.start()
        yield request.param, server


async def test_sslmode(
    tls_server: tuple[str, PostgresServer], authorities: dict[str, Path], tmp_path: Path
) -> None:
    """Each mode checks what it names, and nothing falls back to plain text."""
    certificate, server = tls_server
    expected = {
        ("disable", None): False,
        ("require", None): True,
        ("verify-ca", "ours"): True,
        ("verify-ca", "other"): False,
        ("verify-full", "ours"): certificate == "right",
        ("verify-full", "other"): False,
    }
    for (mode, authority), works in expected.items():
        root = authorities[authority] if authority else None
        settings = server.settings("postgres", sslmode=mode, sslrootcert=root)
        db = connect(settings, data_dir=tmp_path, clock=SystemClock())
        try:
            await db.ping()
            connected = True
        except DatabaseUnavailable:
            connected = False
        finally:
            await db.close()
        assert connected == works, (certificate, mode, authority)
