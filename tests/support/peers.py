"""Foreign registries to copy from and to compare with, without sign-in.

docker-registry    Debian's, version 2 of distribution
distribution       version 3, built by `make clients`
ociserver          the module ociregistry, in memory: lists referrers, by pages of five names
crane              the one of go-containerregistry, in memory: no mounts, no ranges without an end
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.requirements import path_of
from tests.support.stores import Bucket, wait_for
from tools.ports import free_port

_CONFIG = """\
version: 0.1
log: {{ level: error, accesslog: {{ disabled: true }} }}
storage:
  {storage}
  delete: {{ enabled: true }}
http:
  addr: 127.0.0.1:{port}
  headers: {{ X-Content-Type-Options: [nosniff] }}
"""


_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"}


PROGRAMS = ("docker-registry", "distribution")
IN_MEMORY = ("ociserver", "crane")
LISTING = ("ociserver",)
"""Those that list referrers themselves."""


class _Served:
    """One process of a program; what it says is in its folder."""

    def __init__(self, folder: Path, program: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Host and port, as clients name a registry."""
        return f"127.0.0.1:{self.port}"

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [self._process.pid] if self._process else []

    def configure(self) -> None:
        """Make what it needs before it starts."""
        self._folder.mkdir(parents=True, exist_ok=True)

    def arguments(self) -> Sequence[str]:
        """What the program is started with."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self.configure()
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [path_of(self._program), *self.arguments()],
                stdout=output,
                stderr=output,
                env=_ENVIRONMENT,
            )
        wait_for(f"http://{self.host}/v2/", self._process, log)
        return self

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class DockerRegistry(_Served):
    """One process of them on files in a folder, or on a bucket."""

    def __init__(
        self,
        folder: Path,
        bucket: Bucket | None = None,
        program: str = PROGRAMS[0],
        *,
        root: Path | None = None,
    ) -> None:
        """`root` is where its files are, for several processes on one folder."""
        super().__init__(folder, program)
        self._storage = f"filesystem: {{ rootdirectory: {root or folder / 'registry'} }}"
        if bucket is not None:
            section = json.dumps({**bucket.section(), "secure": False, "v4auth": True})
            self._storage = f"s3: {section}"  # JSON is YAML

    @property
    def _config(self) -> Path:
        return self._folder / "config.yml"

    def collect(self) -> int:
        """Collect garbage, which nobody may push to meanwhile; how many blobs went."""
        done = subprocess.run(
            [path_of(self._program), "garbage-collect", str(self._config)],
            env=_ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
        )
        return (done.stdout + done.stderr).count("blob eligible for deletion")

    def configure(self) -> None:
        """Write its configuration."""
        super().configure()
        self._config.write_text(_CONFIG.format(storage=self._storage, port=self.port))

    def arguments(self) -> Sequence[str]:
        """It reads all else from its configuration."""
        return "serve", str(self._config)


class MemoryRegistry(_Served):
    """One process of them, which forgets everything with its end."""

    def arguments(self) -> Sequence[str]:
        """Its address, and for `ociserver` how many names a page has."""
        return {
            "ociserver": (self.host, "5"),
            "crane": ("registry", "serve", "--address", self.host),
        }[self._program]


def peer_of(folder: Path, program: str) -> DockerRegistry | MemoryRegistry:
    """One of all, not started yet."""
    if program in IN_MEMORY:
        return MemoryRegistry(folder, program)
    return DockerRegistry(folder, program=program)
