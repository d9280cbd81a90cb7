"""A container engine of our own: podman with a storage that goes away, and a base image.

The base image of the Dockerfile is an official one of Python on Debian. Here one is made of
Debian's packages, with the same Debian and the same Python, so that nothing is fetched from a
registry of images.
"""

import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.requirements import path_of

BASE = "localhost/python"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_BASE = """
FROM scratch
ADD debian.tar /
COPY authorities.crt /etc/ssl/certs/ca-certificates.crt
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN ln -s python3.11 /usr/bin/python
"""
PACKAGES = "python3.11-minimal,python3.11,python3.11-venv,ca-certificates"
# Fewer of both than a machine's own bounds: an engine may not be allowed to raise them.
LIMITS = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=1024:1024")


class EngineFailed(Exception):
    """A command of the engine ended with an error; the message is what it wrote."""


class Engine:
    """Builds and runs; everything is on the network of the machine."""

    def __init__(self, folder: Path) -> None:
        self._podman = path_of("podman")
        self._folder = folder
        # Of the runroot, podman refuses more than 50 characters.
        self._short = Path(tempfile.mkdtemp(prefix="mr-"))
        self._storage = (
            f"--root={folder / 'storage'}",
            f"--runroot={self._short}",
            "--storage-driver=overlay",
            f"--runtime={path_of('runc')}",
            "--cgroup-manager=cgroupfs",
        )

    def run(self, *arguments: str, seconds: float = 300) -> str:
        """What a command wrote to stdout; raises EngineFailed."""
        done = self._done(arguments, seconds)
        if done.returncode:
            said = done.stdout[-2000:] + done.stderr[-2000:]
            raise EngineFailed(f"podman {' '.join(arguments)}: {said}")
        return done.stdout

    def log(self, name: str) -> str:
        """What a container wrote so far, to either."""
        done = self._done(("logs", name), 60)
        return done.stdout + done.stderr

    def _done(self, arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        command = [self._podman, *self._storage, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)

    def base(self) -> None:
        """Make the image that stands for the base of the Dockerfile."""
        context = self._folder / "base"
        context.mkdir()
        made = [path_of("mmdebstrap"), "--quiet", "--variant=minbase", f"--include={PACKAGES}"]
        subprocess.run([*made, "bookworm", str(context / "debian.tar")], check=True, timeout=600)
        shutil.copy(AUTHORITIES, context / "authorities.crt")
        (context / "Containerfile").write_text(_BASE)
        self.run("build", "--isolation=chroot", f"--tag={BASE}", str(context))
        shutil.rmtree(context)

    def build(self, tag: str, dockerfile: Path, context: Path, *options: str) -> None:
        """Build an image on the base; `docker` as its format, so that it has a health check."""
        self.run(
            *("build", "--isolation=chroot", "--format=docker", "--pull=never"),
            *(f"--build-arg=BASE={BASE}", f"--tag={tag}", f"--file={dockerfile}"),
            *(*options, str(context)),
            seconds=600,
        )

    def start(self, image: str, *options: str, command: tuple[str, ...] = ()) -> "Container":
        """Run it in the background."""
        name = f"moorage-{secrets.token_hex(4)}"
        self.run(
            *("run", "--detach", f"--name={name}", "--pull=never", "--network=host", *LIMITS),
            *(*options, image, *command),
        )
        return Container(self, name)

    def once(self, image: str, *command: str) -> str:
        """What a command in a container of its own prints."""
        return self.run("run", "--rm", "--pull=never", "--network=host", *LIMITS, image, *command)

    def remove(self) -> None:
        """Everything of it."""
        self.run("rm", "--all", "--force", "--time=0")
        self.run("system", "reset", "--force")
        shutil.rmtree(self._short, ignore_errors=True)


class Container:
    """One that was started."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name

    def do(self, *command: str) -> str:
        """What a command in it prints; raises EngineFailed."""
        return self._engine.run("exec", self.name, *command)

    def log(self) -> str:
        """What it wrote so far."""
        return self._engine.log(self.name)

    def until(self, ready: Callable[[], object], seconds: float = 240) -> None:
        """Wait until `ready` is true."""
        ends = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < ends, self.log()
            time.sleep(0.1)

    def stop(self, seconds: int = 120) -> int:
        """End it by SIGTERM, or by SIGKILL after so many seconds; its exit status."""
        self._engine.run("stop", f"--time={seconds}", self.name)
        return int(self._engine.run("inspect", "--format={{.State.ExitCode}}", self.name))

    def restart(self) -> None:
        """Start it again, on what it left behind."""
        self._engine.run("start", self.name)
