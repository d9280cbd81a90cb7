"""Where the S3 driver finds its credentials, each source played by a small server or a file."""

import json
import os
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import moorage.blobstore
from moorage.config.storage import StorageSettings
from moorage.errors import StorageUnavailable

pytestmark = pytest.mark.anyio

KEYS = {
    "AccessKeyId": "ASIATEMPORARY",
    "SecretAccessKey": "temporary-secret",
    "Token": "temporary-token",
    "Expiration": "2099-01-01T00:00:00Z",
}

TEMPORARY = ("ASIATEMPORARY", "temporary-token")

STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>ASIATEMPORARY</AccessKeyId><SecretAccessKey>temporary-secret</SecretAccessKey>
<SessionToken>temporary-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


def certificate(folder: Path) -> Path:
    """A file with a new key and a certificate of its own for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class Amazon:
    """S3, the token service and both kinds of metadata on one port, which write down who asked."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(inner) -> None:
                length = int(inner.headers.get("Content-Length") or 0)
                form = inner.rfile.read(length).decode(errors="replace")
                headers = {name.lower(): value for name, value in inner.headers.items()}
                path = inner.path
                if inner.command == "POST":  # the token service takes its question in the body
                    path += ("&" if "?" in path else "?") + form
                self.requests.append((inner.command, path, headers))
                status, body = self.reply(inner.command, urlsplit(path).path, path, headers)
                inner.send_response(status)
                inner.send_header("Content-Length", str(len(body)))
                if inner.command == "HEAD":
                    inner.send_header("Last-Modified", "Mon, 23 Nov 2026 06:00:00 GMT")
                    inner.send_header("ETag", '"x"')
                inner.end_headers()
                if inner.command != "HEAD":
                    inner.wfile.write(body)

            do_GET = do_PUT = do_POST = do_HEAD = answer

            def log_message(inner, *arguments: Any) -> None:
                return

        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
        plain, secure = self._servers
        self.url = f"http://127.0.0.1:{plain.server_address[1]}"
        self.secure = f"https://127.0.0.1:{secure.server_address[1]}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority = certificate(folder)
        context.load_cert_chain(self.authority)
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def reply(
        self, method: str, path: str, whole: str, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """What each of the services says."""
        if path == "/latest/api/token" and method == "PUT":
            return 200, b"metadata-session"
        if path.rstrip("/") == "/latest/meta-data/iam/security-credentials":
            return 200, b"the-role"
        if path == "/latest/meta-data/iam/security-credentials/the-role":
            good = headers.get("x-aws-ec2-metadata-token") == "metadata-session"
            return (200, json.dumps({"Code": "Success", **KEYS}).encode()) if good else (401, b"")
        if path == "/pod-identity":
            good = headers.get("authorization") == "pod-token"
            return (200, json.dumps(KEYS).encode()) if good else (401, b"")
        if "AssumeRoleWithWebIdentity" in whole:
            asked = parse_qs(urlsplit(whole).query)
            return (200, STS.encode()) if asked["WebIdentityToken"] == ["web-token"] else (403, b"")
        return 200, b"12345"

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def signer(self) -> tuple[str, str | None]:
        """Access key and session token of the last request to the bucket."""
        headers = [headers for _, path, headers in self.requests if path.startswith("/b/")][-1]
        credential = headers["authorization"].partition("Credential=")[2]
        return credential.partition("/")[0], headers.get("x-amz-security-token")


@pytest.fixture
def amazon(tmp_path: Path) -> Iterator[Amazon]:
    """The services on the loopback interface."""
    server = Amazon(tmp_path)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of the machine that runs the tests."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


async def ask(amazon: Amazon, **section: object) -> tuple[str, str | None]:
    """Who signs a request to the bucket under these settings."""
    section = {"regionendpoint": amazon.url, "bucket": "b", "retries": 0, **section}
    settings = StorageSettings.model_validate({"driver": "s3", "s3": section})
    store = moorage.blobstore.open(settings, data_dir=Path("/nonexistent"))
    assert await store.size("blobs/x") == 5
    return amazon.signer()


async def test_static_keys(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the settings win over everything in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert await ask(amazon, accesskey="AKIASETTINGS", secretkey="s") == ("AKIASETTINGS", None)
    keys = {"accesskey": "ASIASETTINGS", "secretkey": "s", "sessiontoken": "t"}
    assert await ask(amazon, **keys) == ("ASIASETTINGS", "t")


async def test_keys_of_the_environment(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_ACCESS_KEY_ID and its companions."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert await ask(amazon) == ("ASIAENVIRONMENT", "token")


async def test_web_identity(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A service account of Kubernetes: the token file is exchanged for keys of the role (IRSA)."""
    token = tmp_path / "token"
    token.write_text("web-token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/registry")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", amazon.secure)
    assert await ask(amazon, cacert=amazon.authority) == TEMPORARY
    exchange = [path for _, path, _ in amazon.requests if "AssumeRoleWithWebIdentity" in path]
    assert "role%2Fregistry" in exchange[0] or "role/registry" in exchange[0]


async def test_pod_identity(
    amazon: Amazon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The agent of a container or pod hands out keys to whoever shows the token file."""
    token = tmp_path / "token"
    token.write_text("pod-token")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{amazon.url}/pod-identity")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    assert await ask(amazon) == TEMPORARY


async def test_instance_role(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata service of the machine, with a session token as version 2 asks for."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", amazon.url)
    assert await ask(amazon) == TEMPORARY


def shared_files(home: Path) -> None:
    """The two files of Amazon's tools."""
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n"
        "[registry]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n"
        "aws_session_token = t\n"
    )
    (home / ".aws/config").write_text(
        f"[profile irsa]\nrole_arn = arn:aws:iam::1:role/registry\n"
        f"web_identity_token_file = {home}/token\n"
        "[profile sso]\nsso_start_url = https://example.test\n"
    )
    (home / "token").write_text("web-token")


async def test_profiles(amazon: Amazon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`profile`, AWS_PROFILE, a profile with a web identity, and the default profile."""
    shared_files(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", amazon.secure)
    assert await ask(amazon) == ("AKIADEFAULT", None)
    assert await ask(amazon, profile="registry") == ("AKIAPROFILE", "t")
    assert await ask(amazon, profile="irsa", cacert=amazon.authority) == TEMPORARY
    monkeypatch.setenv("AWS_PROFILE", "registry")
    assert await ask(amazon) == ("AKIAPROFILE", "t")
    for name, says in (("sso", "sso_start_url"), ("missing", "no profile 'missing'")):
        with pytest.raises(StorageUnavailable, match=says):
            await ask(amazon, profile=name)


async def test_encryption_and_storage_class(amazon: Amazon) -> None:
    """New objects carry the encryption, the key and the class that the settings ask for."""
    section = {
        "regionendpoint": amazon.url,
        "bucket": "b",
        "accesskey": "a",
        "secretkey": "s",
        "encrypt": True,
        "keyid": "arn:aws:kms:eu-central-1:1:key/k",
        "storageclass": "STANDARD_IA",
    }
    settings = StorageSettings.model_validate({"driver": "s3", "s3": section})
    store = moorage.blobstore.open(settings, data_dir=Path("/nonexistent"))
    writer = store.create("blobs/x")
    await writer.write(b"12345")
    await writer.commit()
    _, path, headers = next(each for each in amazon.requests if each[0] == "PUT")
    assert path == "/b/blobs/x"
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == section["keyid"]
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["content-disposition"] == "attachment"
    assert headers["user-agent"].startswith("moorage")
    signed = headers["authorization"].partition("SignedHeaders=")[2]
    assert "x-amz-storage-class" in signed


async def test_virtual_hosts() -> None:
    """Without path style the bucket is in the host's name, also behind an endpoint."""
    for endpoint, style, expected in (
        ("https://s3.example.test", None, "https://s3.example.test/b/blobs/x?"),
        ("s3.example.test:8333", None, "https://s3.example.test:8333/b/blobs/x?"),
        ("https://s3.example.test", False, "https://b.s3.example.test/blobs/x?"),
        ("", None, "https://b.s3.eu-central-1.amazonaws.com/blobs/x?"),
        ("", True, "https://s3.eu-central-1.amazonaws.com/b/blobs/x?"),
    ):
        section = {
            "regionendpoint": endpoint,
            "region": "eu-central-1",
            "bucket": "b",
            "accesskey": "a",
            "secretkey": "s",
            "forcepathstyle": style,
        }
        settings = StorageSettings.model_validate({"driver": "s3", "s3": section})
        store = moorage.blobstore.open(settings, data_dir=Path("/nonexistent"))
        url = await store.presign("blobs/x", seconds=60, filename="x")
        assert url is not None
        assert url.startswith(expected)


async def test_certificates(amazon: Amazon) -> None:
    """An unknown authority is refused; `cacert` trusts it, `skipverify` trusts anybody."""
    keys = {"accesskey": "a", "secretkey": "s", "regionendpoint": amazon.secure}
    with pytest.raises(StorageUnavailable):
        await ask(amazon, **keys)
    assert await ask(amazon, **keys, cacert=amazon.authority) == ("a", None)
    assert await ask(amazon, **keys, skipverify=True) == ("a", None)
    with pytest.raises(StorageUnavailable, match="cannot be read"):
        await ask(amazon, **keys, cacert="/none/such.pem")
