"""A foreign registry to copy from and to compare with: Debian's docker-registry, no sign-in."""

import signal
import subprocess
from pathlib import Path

from tests.support.requirements import path_of
from tests.support.stores import free_ports, wait_for

_CONFIG = """\
version: 0.1
log: {{ level: error, accesslog: {{ disabled: true }} }}
storage:
  filesystem: {{ rootdirectory: {folder}/registry }}
  delete: {{ enabled: true }}
http:
  addr: 127.0.0.1:{port}
  headers: {{ X-Content-Type-Options: [nosniff] }}
"""


class DockerRegistry:
    """One docker-registry process on files in a folder."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Host and port, as clients name a registry."""
        return f"127.0.0.1:{self.port}"

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [self._process.pid] if self._process else []

    def start(self) -> "DockerRegistry":
        """Start it and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "config.yml"
        config.write_text(_CONFIG.format(folder=self._folder, port=self.port))
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [path_of("docker-registry"), "serve", str(config)],
                stdout=output,
                stderr=output,
                env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
            )
        wait_for(f"http://{self.host}/v2/", self._process, log)
        return self

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
