"""nginx in front of registries, on a free port, in a temporary folder.

Nginx(folder, [8081, 8082])             round robin over these ports
Nginx(folder, [8081], blobs=path)       sends blobs from their directory itself (X-Accel)
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from string import Template

from tests.support.requirements import path_of
from tests.support.stores import free_ports, wait_for

BLOBS = "/-/blobs/"
"""The internal location over the blob directory: the setting `http.accel_redirect`."""

TEMPLATE = Path(__file__).parents[2] / "deploy" / "nginx" / "moorage.conf.template"
"""The file that operators use, so that every test through nginx is a test of it."""

_CONFIG = """\
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


class Nginx:
    """One nginx process."""

    def __init__(
        self,
        folder: Path,
        ports: Sequence[int],
        *,
        core: Sequence[int] | None = None,
        portal: Sequence[int] | None = None,
        blobs: Path | None = None,
    ) -> None:
        """`core` and `portal` are the ports of those roles.

        `core` is the same as `ports` where each has every role, `portal` the same as `core`.
        """
        (self.port,) = free_ports(1)
        self._folder = folder
        self._ports = ports
        self._core = ports if core is None else core
        self._portal = self._core if portal is None else portal
        self._blobs = blobs
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Host and port, as clients name a registry."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The master process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> "Nginx":
        """Start it and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "nginx.conf"
        file.write_text(
            _CONFIG.format(
                # Started by root it would give up the right to read a private blob directory.
                user="user root;" if os.geteuid() == 0 else "",
                folder=self._folder,
            )
        )
        (self._folder / "moorage.conf").write_text(
            Template(TEMPLATE.read_text()).safe_substitute(
                LISTEN=f"127.0.0.1:{self.port}",
                REGISTRY=_servers(self._ports),
                CORE=_servers(self._core),
                PORTAL=_servers(self._portal),
                ACCEL=BLOBS,
                BLOBS=f"{self._blobs or self._folder / 'none'}/",
            )
        )
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [path_of("nginx"), "-c", str(file), "-p", str(self._folder), "-e", "stderr"],
                stdout=output,
                stderr=output,
            )
        wait_for(f"http://{self.host}/v2/", self._process, log)
        return self

    def stop(self) -> None:
        """End it with its workers."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


def _servers(ports: Sequence[int]) -> str:
    return " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
