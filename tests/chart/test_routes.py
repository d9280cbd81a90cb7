"""Each path that the product answers reaches the role that answers it: nginx, ingress, route.

nginx runs with the configuration of the chart; the addresses in it are changed to this machine's,
and nothing else.
"""

import os
import re
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.charts import Rendered, merged, nested, render
from tests.support.kubeapi import running_api
from tests.support.requirements import path_of
from tools.ports import free_ports

from moorage.api.app import create_api
from moorage.distribution.routes import ROUTES
from moorage.ops.endpoints import PATHS
from moorage.portal.assets import PATH as STATIC
from moorage.portal.pages import ROUTES as PAGES
from moorage.signin.exchange import PATH as EXCHANGE
from moorage.signin.token import PATH as TOKEN

PLAIN = nested(expose={"type": "clusterIP", "tls": {"enabled": False}})
TLS = merged(nested(expose__type="clusterIP"), nested(internalTLS__enabled=True))
NO_PAGES = ("/v1", "/apis", "/cc", "/v2x", "/harborx")
ROLES = {"registry": "5000", "core": "80", "portal": "80"}


def paths() -> dict[str, str]:
    """Every path of the product's own tables, and the role that answers it."""
    samples = {
        "<name>": "library/a/b",
        "<reference>": "v1",
        "<digest>": "sha256:0",
        "<session>": "s",
    }
    found = {TOKEN: "registry", EXCHANGE: "core", "/v2": "registry"}
    for route in ROUTES:
        path = route.path
        for name, sample in samples.items():
            path = path.replace(name, sample)
        found[path] = "registry"
    api = create_api(None)  # type: ignore[arg-type]
    for path in api.openapi()["paths"]:
        found[re.sub(r"\{[^}]*\}", "library", path)] = "core"
    pages = ("/c/login", "/c/log_out", "/c/oidc/login", "/c/oidc/callback")
    found |= dict.fromkeys((*pages, "/api/version"), "core")
    for path, _, _ in PAGES:
        found[re.sub(r"\{[^}]*\}", "library", path)] = "portal"
    for path in (f"{STATIC}app.css", *NO_PAGES):
        found[path] = "portal"
    return found


@contextmanager
def upstream(name: str, context: ssl.SSLContext | None = None, file: str = "") -> Iterator[int]:
    """A server that says its name, and what it was told of the client; or which `file` to send."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told = self.headers.get("X-Forwarded-Proto", "")
            body = f"{name} {self.path} {told} {self.headers['Host']}".encode()
            self.send_response(200)
            if file:
                self.send_header("X-Accel-Redirect", file)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def placed(found: Rendered, folder: Path, ports: Mapping[str, int]) -> tuple[str, dict[str, int]]:
    """The configuration on this machine, and where it listens: by the port that it names."""
    conf = found.one("ConfigMap", "nginx")["data"]["nginx.conf"]
    conf = "\n".join(line for line in conf.splitlines() if "listen [::]" not in line)
    for role, port in ports.items():
        conf = re.sub(rf"moorage-{role}:\d+", f"127.0.0.1:{port}", conf)
    wanted = sorted(set(re.findall(r"listen (\d+)", conf)))
    listening = dict(zip(wanted, free_ports(len(wanted)), strict=True))
    for port, free in listening.items():
        conf = conf.replace(f"listen {port}", f"listen 127.0.0.1:{free}")
    conf = conf.replace("/tmp/", f"{folder}/").replace("/etc/nginx/", f"{folder}/")
    return conf.replace("/dev/stdout", f"{folder}/access"), listening


@contextmanager
def nginx(conf: str, folder: Path) -> Iterator[None]:
    """nginx with a configuration, started when it accepts connections."""
    (folder / "nginx.conf").write_text(conf)
    command = [
        path_of("nginx"),
        "-e",
        "stderr",
        "-c",
        str(folder / "nginx.conf"),
        "-p",
        str(folder),
    ]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "[emerg]" not in tested.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def ask(port: int, path: str, trust: ssl.SSLContext | None = None) -> tuple[int, str]:
    """Status and body; waits until somebody listens."""
    for _ in range(1200):
        made: Any = (
            HTTPConnection("127.0.0.1", port, timeout=30)
            if trust is None
            else HTTPSConnection("127.0.0.1", port, timeout=30, context=trust)
        )
        with closing(made) as wire:
            try:
                wire.request("GET", path, headers={"Host": "registry.example.com"})
            except ConnectionRefusedError:
                threading.Event().wait(0.05)
                continue
            answer = wire.getresponse()
            return answer.status, answer.read().decode()
    raise AssertionError("nginx does not listen")


def test_nginx_sends_each_path_to_its_role(tmp_path: Path) -> None:
    """Also what says how clients came, where TLS ends in front and nobody else does."""
    found = render(PLAIN)
    with ExitStack() as stack:
        ports = {role: stack.enter_context(upstream(role)) for role in ROLES}
        conf, listening = placed(found, tmp_path, ports)
        stack.enter_context(nginx(conf, tmp_path))
        front = listening["8080"]
        assert ask(listening["8081"], "/alive") == (204, "")
        for path, role in paths().items():
            assert ask(front, path) == (200, f"{role} {path} https registry.example.com"), path
        for path in (*PATHS, "/-/blobs/x"):
            assert ask(front, path)[0] == 404, path
        assert ask(listening["8081"], "/v2/")[0] == 404


def test_nginx_sends_blobs_from_their_volume(tmp_path: Path) -> None:
    """What the registry names by X-Accel-Redirect is read there, and nothing else of it is told."""
    found = render(nested(expose={"type": "clusterIP", "tls": {"enabled": False}}))
    (tmp_path / "blobs" / "ab").mkdir(parents=True)
    (tmp_path / "blobs" / "ab" / "key").write_bytes(b"bytes of a layer")
    prefix = found.settings("registry").http.accel_redirect
    with ExitStack() as stack:
        ports = {role: stack.enter_context(upstream(role)) for role in ("core", "portal")}
        ports["registry"] = stack.enter_context(upstream("registry", file=f"{prefix}ab/key"))
        conf, listening = placed(found, tmp_path, ports)
        conf = conf.replace("alias /storage/", f"alias {tmp_path}/blobs/")
        conf = f"user root;\n{conf}"  # nobody else may read a test's folder
        stack.enter_context(nginx(conf, tmp_path))
        front = listening["8080"]
        assert ask(front, "/v2/library/a/blobs/x") == (200, "bytes of a layer")
        assert ask(front, f"{prefix}ab/key")[0] == 404


def test_nginx_with_certificates_on_both_sides(tmp_path: Path) -> None:
    """It shows the one that was made, and checks those of the roles by their names."""
    with running_api() as api:
        found = render(TLS, *api.arguments)
    for secret, name in (("tls", "tls"), ("internal-tls", "internal")):
        (tmp_path / name).mkdir()
        for key, text in found.secret(secret).items():
            (tmp_path / name / key).write_text(text)
    trust = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.crt")
    trust.check_hostname = False  # asked by its address
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(tmp_path / "internal" / "tls.crt", tmp_path / "internal" / "tls.key")
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_cert_chain(tmp_path / "tls" / "tls.crt", tmp_path / "tls" / "tls.key")
    with ExitStack() as stack:
        ports = {role: stack.enter_context(upstream(role, inside)) for role in ("registry", "core")}
        ports["portal"] = stack.enter_context(upstream("portal", stranger))
        conf, listening = placed(found, tmp_path, ports)
        stack.enter_context(nginx(conf, tmp_path))
        for path, role in (("/v2/", "registry"), (TOKEN, "registry"), ("/api/v2.0/ping", "core")):
            assert ask(listening["8443"], path, trust)[1].startswith(role)
        assert ask(listening["8443"], "/", trust)[0] == 502
        assert ask(listening["8080"], "/v2/")[0] == 308


def test_nginx_reads_a_certificate_that_was_renewed(tmp_path: Path) -> None:
    """By itself, as those of cert-manager come every few weeks; also after a probe ended one."""
    with running_api() as api:
        found = render(TLS, *api.arguments)
    conf, listening = placed(found, tmp_path, dict(zip(ROLES, free_ports(3), strict=True)))
    for name in ("moorage", "tls", "internal"):
        (tmp_path / name).mkdir()
    (tmp_path / "moorage" / "nginx.conf").write_text(conf)
    (tmp_path / "internal" / "ca.crt").write_text(found.secret("internal-tls")["ca.crt"])
    script = found.one("ConfigMap", "nginx")["data"]["start.sh"]
    script = script.replace("/tmp/", f"{tmp_path}/").replace("/etc/nginx/", f"{tmp_path}/")
    script = script.replace("sleep 60", "sleep 0.1")

    def shown(secret: str) -> bytes:
        for key, text in found.secret(secret).items():
            (tmp_path / "tls" / key).write_text(text)
        return ssl.PEM_cert_to_DER_cert(found.secret(secret)["tls.crt"])

    def seen() -> bytes:
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        with closing(HTTPSConnection("127.0.0.1", listening["8443"], context=trust)) as wire:
            wire.connect()
            return wire.sock.getpeercert(binary_form=True) or b""

    (tmp_path / "leaving").touch()  # by the container before
    first = shown("tls")
    path = f"{Path(path_of('nginx')).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["sh", "-c", script],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PATH": path},
        start_new_session=True,
    )
    try:
        ask(listening["8081"], "/alive")
        assert seen() == first
        second = shown("internal-tls")
        for _ in range(1200):
            if seen() == second:
                break
            threading.Event().wait(0.05)
        assert seen() == second
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # all of a container ends with its first process
        process.wait()


@pytest.mark.parametrize("has_ipv6", [True, False])
def test_nginx_binds_what_the_node_has(tmp_path: Path, has_ipv6: bool) -> None:
    """Without IPv6 the lines that need it are left out; nothing else changes."""
    data = render(PLAIN).one("ConfigMap", "nginx")["data"]
    conf, script = data["nginx.conf"], data["start.sh"]
    assert conf.count("listen [::]:") == conf.count("listen 80") == 2
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nginx").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "bin" / "nginx").chmod(0o755)
    (tmp_path / "nginx.conf").write_text(conf)
    if has_ipv6:
        (tmp_path / "if_inet6").write_text("00000000000000000000000000000001 01 80 10 80 lo\n")
    script = script.replace("/proc/net/if_inet6", f"{tmp_path}/if_inet6")
    script = script.replace("/etc/nginx/moorage/", f"{tmp_path}/").replace(
        "/tmp/nginx", f"{tmp_path}/used"
    )
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": path}
    )
    assert "daemon off;" in done.stdout
    used = (tmp_path / "used.conf").read_text()
    wanted = [line for line in conf.splitlines() if has_ipv6 or "listen [::]" not in line]
    assert used.splitlines() == wanted


def _first(path: str, rules: list[tuple[str, str, str]]) -> str:
    """The backend that Kubernetes picks: an exact match, else the longest prefix by parts."""
    for kind, value, backend in rules:
        if kind == "Exact" and value == path:
            return backend
    fitting = [
        (len(value), backend)
        for kind, value, backend in rules
        if kind in ("Prefix", "PathPrefix")
        and (path == value.rstrip("/") or path.startswith(value.rstrip("/") + "/"))
    ]
    return max(fitting)[1] if fitting else ""


def test_ingress_and_route_send_each_path_to_its_role() -> None:
    """Straight to the roles, as an ingress controller or a gateway reads them; what is no page
    stays inside, metrics and health among it."""
    ingress = render().one("Ingress", "ingress")["spec"]["rules"][0]["http"]["paths"]
    rules = [
        (each["pathType"], each["path"], each["backend"]["service"]["name"]) for each in ingress
    ]
    gate = nested(expose={"type": "route", "route": {"parentRefs": [{"name": "gate"}]}})
    route = render(gate).one("HTTPRoute", "route")["spec"]["rules"]
    others = [
        (match["path"]["type"], match["path"]["value"], rule["backendRefs"][0]["name"])
        for rule in route
        for match in rule["matches"]
    ]
    wanted = {path: f"moorage-{role}" for path, role in paths().items()}
    wanted |= dict.fromkeys((*PATHS, *NO_PAGES), "")
    for path, backend in wanted.items():
        assert _first(path, rules) == backend, path
        assert _first(path, others) == backend, path


@pytest.mark.parametrize(("controller", "end"), [("gce", "/*"), ("alb", "/*"), ("ncp", "/.*")])
def test_controllers_that_write_paths_otherwise(controller: str, end: str) -> None:
    """What they call everything below a path."""
    found = render(nested(expose__ingress__controller=controller)).one("Ingress", "ingress")
    listed = [each["path"] for each in found["spec"]["rules"][0]["http"]["paths"]]
    api, pages = ("v2", "api", "service", "c"), ("harbor", "account", "static")
    below = [f"/{name}{end}" for name in api]
    assert listed == [TOKEN, *below, "/", "/oidc-onboard", *(f"/{name}{end}" for name in pages)]
