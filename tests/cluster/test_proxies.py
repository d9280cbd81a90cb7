"""Proxies in front: every path lands at a role that answers it, and TLS may end anywhere."""

import json
import re
import ssl
import subprocess
import threading
import time
import urllib.parse
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.images import MANIFEST, digest_of
from tests.support.nginx import Nginx
from tests.support.replicas import Answer, manifest
from tests.support.requirements import path_of, require
from tests.support.serving import Registry
from tools.ports import free_port

from moorage.api.app import create_api
from moorage.distribution.routes import ROUTES

pytestmark = pytest.mark.slow
ROLES = ("registry", "core", "portal")


class Echo(BaseHTTPRequestHandler):
    """Answers with the name of the role whose port was asked."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.server.role.encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("X-Role", name.decode())
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx in front of one stand-in for each role."""
    require("nginx")
    servers = {}
    for role in ROLES:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        server.role = role  # type: ignore[attr-defined]
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers[role] = server
    ports = {role: [server.server_address[1]] for role, server in servers.items()}
    nginx = Nginx(
        tmp_path_factory.mktemp("nginx"),
        ports["registry"],
        core=ports["core"],
        portal=ports["portal"],
    )
    try:
        yield nginx.start()
    finally:
        nginx.stop()
        for server in servers.values():
            server.shutdown()
            server.server_close()


def asked(nginx: Nginx, method: str, path: str) -> tuple[int, str]:
    """The status, and which role answered."""
    with closing(HTTPConnection("127.0.0.1", nginx.port, timeout=30)) as wire:
        wire.request(method, path, headers={"Content-Length": "0"})
        answer = wire.getresponse()
        answer.read()
        return answer.status, answer.headers.get("X-Role", "")


def test_every_route_lands_at_a_role_that_answers_it(routed: Nginx) -> None:
    """The route tables of `/v2`, of the REST API and of sign-in; the rest is the portal's."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for route in ROUTES:
        wanted[route.method, _filled(route.path)] = {"registry"}
    document = create_api(None).openapi()  # type: ignore[arg-type]
    (server,) = document.get("servers", [{"url": ""}])
    for path, operations in document["paths"].items():
        for method in operations:
            whole = path if path.startswith("/api") else server["url"] + path
            wanted[method.upper(), _filled(whole)] = {"core"}
    wanted |= {
        ("GET", "/v2"): {"registry"},
        ("GET", "/service/token"): {"registry", "core"},
        ("POST", "/service/token/exchange"): {"core"},
        ("POST", "/c/login"): {"core"},
        ("GET", "/c/log_out"): {"core"},
        ("GET", "/c/oidc/callback"): {"core"},
        ("GET", "/"): {"portal"},
        ("GET", "/harbor/projects"): {"portal"},
        ("GET", "/account/sign-in"): {"portal"},
    }
    wrong = {}
    for (method, path), roles in wanted.items():
        status, role = asked(routed, method, path)
        if status != 200 or role not in roles:
            wrong[method, path] = (status, role)
    assert not wrong
    assert len(wanted) > 150


def _filled(path: str) -> str:
    named = {"name": "library/app", "digest": f"sha256:{'0' * 64}", "project_name": "library"}
    return re.sub(r"[{<](\w+)(?::\w+)?[}>]", lambda found: named.get(found[1], "1"), path)


def test_what_is_nobodys(routed: Nginx) -> None:
    """Health and metrics stay inside; so does what Harbor's proxy hides."""
    for path in ("/healthz", "/readyz", "/metrics", "/v1/_ping", "/service/notifications"):
        assert asked(routed, "GET", path) == (404, "")


# --- TLS that ends in front


class Secure:
    """Requests over TLS, as a client that knows only the outer address."""

    def __init__(self, port: int, authority: Path, registry: Registry) -> None:
        self.port = port
        self._trust = ssl.create_default_context(cafile=str(authority))
        basic = b64encode(f"{registry.username}:{registry.password}".encode()).decode()
        self.basic = {"Authorization": f"Basic {basic}"}

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        wire = HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self._trust)
        with closing(wire):
            wire.request(method, path, body, dict(headers or self.basic))
            answer = wire.getresponse()
            names = {name.lower(): text for name, text in answer.getheaders()}
            return Answer(answer.status, names, answer.read())


HAPROXY = """\
global
    maxconn 200
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port} ssl crt {pem}
    default_backend back
backend back
{headers}
    server one 127.0.0.1:{back}
"""
FORWARDED = """\
    option forwardfor
    http-request set-header X-Forwarded-Proto https
"""


@contextmanager
def haproxy(folder: Path, port: int, back: int, headers: str) -> Iterator[Path]:
    """HAProxy that ends TLS on a port; the certificate of who signed its own."""
    binary = path_of("haproxy")
    folder.mkdir()
    authority = Authority(folder)
    certificate, key = authority.issue("127.0.0.1")
    pem = folder / "both.pem"
    pem.write_bytes(certificate.read_bytes() + key.read_bytes())
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, pem=pem, back=back, headers=headers))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, "-db", "-f", str(config)], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as wire:
                    wire.connect()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
        yield authority.path
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def outer() -> int:
    """The port that clients know."""
    return free_port()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, outer: int) -> Iterator[Registry]:
    """A registry that knows its outer address and nothing of its proxies but their network."""
    require("haproxy", "nginx")
    settings = {
        "http.external_url": f"https://127.0.0.1:{outer}",
        "http.trusted_proxies": ["127.0.0.1/32"],
    }
    with Registry(tmp_path_factory.mktemp("registry"), settings=settings).running() as made:
        yield made


@pytest.mark.parametrize("told", [True, False], ids=["X-Forwarded", "nothing forwarded"])
@pytest.mark.parametrize("inner", [False, True], ids=["alone", "nginx behind"])
def test_tls_ends_in_front(
    tmp_path: Path, registry: Registry, outer: int, told: bool, inner: bool
) -> None:
    """The token's realm, `Location`, cookies and a chunked push are right through each chain."""
    nginx = Nginx(tmp_path / "nginx", [registry.port]).start() if inner else None
    back = nginx.port if nginx else registry.port
    try:
        with haproxy(tmp_path / "haproxy", outer, back, FORWARDED if told else "") as authority:
            _works(Secure(outer, authority, registry), registry)
    finally:
        if nginx:
            nginx.stop()


def _works(client: Secure, registry: Registry) -> None:
    challenge = client.ask("GET", "/v2/", headers={"Accept": "*/*"})
    assert challenge.status == 401
    realm = f'realm="https://127.0.0.1:{client.port}/service/token"'
    assert realm in challenge.headers["www-authenticate"]
    scope = urllib.parse.quote("repository:library/app:pull,push")
    token = client.ask("GET", f"/service/token?service=harbor-registry&scope={scope}")
    bearer = {"Authorization": f"Bearer {json.loads(token.body)['token']}"}

    data = b"layer" * 4096
    opened = client.ask("POST", "/v2/library/app/blobs/uploads/", headers=bearer)
    where = opened.headers["location"]
    assert where.startswith("/v2/")  # survives whatever the proxies say of scheme and host
    patched = client.ask("PATCH", where, data, {**bearer, "Content-Range": f"0-{len(data) - 1}"})
    assert patched.status == 202
    closed = client.ask(
        "PUT", f"{patched.headers['location']}?digest={digest_of(data)}", headers=bearer
    )
    assert closed.status == 201
    document = manifest(digest_of(data), len(data), 1)
    put = client.ask(
        "PUT", "/v2/library/app/manifests/v1", document, {**bearer, "Content-Type": MANIFEST}
    )
    assert put.status == 201
    assert client.ask("GET", put.headers["location"], headers=bearer).body == document
    assert client.ask("GET", closed.headers["location"], headers=bearer).body == data

    form = urllib.parse.urlencode(
        {"principal": registry.username, "password": registry.password}
    ).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    origin = {"Origin": f"https://127.0.0.1:{client.port}"}
    fresh = client.ask("GET", "/api/v2.0/systeminfo", headers=origin)
    csrf = fresh.headers.get("x-harbor-csrf-token", "")
    cookie = fresh.headers.get("set-cookie", "").partition(";")[0]
    sent = {**kind, **origin, "X-Harbor-CSRF-Token": csrf, "Cookie": cookie}
    signed = client.ask("POST", "/c/login", form, sent)
    assert signed.status == 200, signed
    assert "; secure" in signed.headers["set-cookie"].lower()
