"""nginx in front of registries, on a free port, in a temporary folder.

Nginx(folder, [8081, 8082])             round robin over these ports
Nginx(folder, [8081], blobs=path)       sends blobs from their directory itself (X-Accel)
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.requirements import path_of
from tests.support.stores import free_ports, wait_for

BLOBS = "/-/blobs/"
"""The internal location over the blob directory: the setting `http.accel_redirect`."""

_CONFIG = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream registry {{
        {servers}
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        location / {{
            proxy_pass http://registry;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_read_timeout 900s;
            proxy_send_timeout 900s;
        }}
        {blobs}
    }}
}}
"""

# X-Accel-Redirect drops these headers of the answer: put them back.
_BLOBS = """location {prefix} {{
            internal;
            alias {root}/;
            etag off;
            add_header Docker-Content-Digest $upstream_http_docker_content_digest;
            add_header ETag $upstream_http_etag;
        }}"""


class Nginx:
    """One nginx process."""

    def __init__(self, folder: Path, ports: Sequence[int], *, blobs: Path | None = None) -> None:
        (self.port,) = free_ports(1)
        self._folder = folder
        self._ports = ports
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
                port=self.port,
                servers="\n        ".join(f"server 127.0.0.1:{port};" for port in self._ports),
                blobs=_BLOBS.format(prefix=BLOBS, root=self._blobs) if self._blobs else "",
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
