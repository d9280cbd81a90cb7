"""A process that answers HTTPS itself, and one that listens on every address."""

import socket
import ssl
import time
from base64 import b64encode
from contextlib import closing
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.images import digest_of
from tests.support.serving import Registry

BODY = b"over tls" * 300_000
DIGEST = digest_of(BODY)


class Secure(Registry):
    """A process that is asked over HTTPS."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        cert, key = authority.issue("127.0.0.1")
        super().__init__(folder, settings={"http.cert_file": cert, "http.key_file": key})
        self._trust = ssl.create_default_context(cafile=authority.path)

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, known: bool = True
    ) -> tuple[int, str, bytes]:
        """Status, challenge and body of the answer to one request."""
        code = b64encode(f"{self.username}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {code}"} if known else {}
        wire = HTTPSConnection("127.0.0.1", self.port, context=self._trust, timeout=30)
        with closing(wire):
            wire.request(method, path, body, headers)
            answer = wire.getresponse()
            return answer.status, answer.getheader("WWW-Authenticate", ""), answer.read()

    def ready(self, path: str = "/readyz") -> int:
        """The status of a health page; 0 while nothing answers."""
        try:
            return self.ask("GET", path)[0]
        except OSError:
            return 0


def test_https_with_a_certificate(tmp_path: Path) -> None:
    """Pushes and pulls go over TLS; the challenge names an address with https."""
    registry = Secure(tmp_path / "registry", Authority(tmp_path))
    with registry.running():
        status, challenge, _ = registry.ask("GET", "/v2/", known=False)
        assert status == 401
        assert f'realm="https://127.0.0.1:{registry.port}/service/token"' in challenge
        uploads = f"/v2/library/a/blobs/uploads/?digest={DIGEST}"
        assert registry.ask("POST", uploads, BODY)[0] == 201
        status, _, body = registry.ask("GET", f"/v2/library/a/blobs/{DIGEST}")
        assert (status, body) == (200, BODY)
        assert f"https://127.0.0.1:{registry.port}" in registry.log()


def test_a_certificate_that_is_none_stops_the_start(tmp_path: Path) -> None:
    """The message names the file, and there is no traceback."""
    registry = Registry(
        tmp_path / "registry",
        settings={"http.cert_file": tmp_path / "no.crt", "http.key_file": tmp_path / "no.key"},
    )
    assert registry.launch().ended(120) == 1
    assert "no.crt" in registry.log()
    assert "Traceback" not in registry.log()


def test_an_empty_host_means_all_addresses(tmp_path: Path) -> None:
    """IPv4, and IPv6 where the machine has it, at the same port."""
    with Registry(tmp_path / "registry", settings={"http.host": ""}).running() as registry:
        hosts = ["127.0.0.1"]
        with closing(socket.socket(socket.AF_INET6)) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                pass
            else:
                hosts.append("::1")
        for host in hosts:
            with closing(HTTPConnection(host, registry.port, timeout=30)) as wire:
                wire.request("GET", "/healthz")
                assert wire.getresponse().status == 200, host


def test_a_portal_that_asks_over_https(tmp_path: Path) -> None:
    """It is ready with the authority of the API's certificate, and not without."""
    authority = Authority(tmp_path)
    api = Secure(tmp_path / "api", authority)
    with api.running():
        core = {"portal.core_url": f"https://127.0.0.1:{api.port}"}
        trusting = {**core, "portal.ca_file": authority.path}
        with Registry(tmp_path / "knows", role="portal", settings=trusting).running():
            pass
        doubting = Registry(tmp_path / "doubts", role="portal", settings=core).launch()
        try:
            end = time.monotonic() + 60
            while doubting.ready("/healthz") != 200:
                assert time.monotonic() < end, doubting.log()
                time.sleep(0.05)
            assert doubting.ready() == 503
        finally:
            doubting.kill()
