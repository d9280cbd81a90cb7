"""Processes of ours: started in sessions of their own, ended by their ids."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_FOLDERS = (
    str(Path(sys.prefix) / "bin"),  # servers that come as Python packages
    os.environ.get("PATH", ""),
    "/usr/sbin",
    "/usr/local/sbin",
    *(str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
)


class Missing(Exception):
    """A program is not on this machine; the message says which, and where it comes from."""


def program(name: str, source: str) -> str:
    """The full path of a program; raises Missing, naming the package that has it."""
    found = shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if found is None:
        raise Missing(f"{name} is not on this machine; it comes with {source}")
    return found


class Child:
    """One process that can be ended and started again; its output goes to `folder/log`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        """`user`: the id to run under, where this process may choose."""
        self.name = name
        self.folder = folder
        self.command = list(command)
        self._environment = environment
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its id; RuntimeError when it does not run."""
        if self._process is None or not self.running:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    def launch(self) -> None:
        """Start it and wait for nothing; nothing happens when it runs."""
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # A session of its own: Ctrl-C in a terminal goes to whoever ends the parts in order.
        own = {} if self._user is None else {"user": self._user, "extra_groups": []}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **own,  # type: ignore[call-overload]
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float = 180) -> None:
        """Return when `ready` says so; RuntimeError with the log's end when it does not."""
        until = time.monotonic() + seconds
        while self.running and time.monotonic() < until:
            with contextlib.suppress(OSError):
                if ready():
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} is not ready: {self.log()[-2000:]}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Let it hang, with its connections open."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.signal(signal.SIGCONT)

    def end(self, number: int, seconds: float = 60) -> int | None:
        """End it with a signal, by force when that takes too long; its status, None if none."""
        if self._process is None:
            return None
        if self.running:
            os.kill(self._process.pid, number)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGCONT)  # it may have been paused
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._process = None
        return status

    def stop(self, seconds: float = 60) -> int | None:
        """End it as an operator does."""
        return self.end(signal.SIGTERM, seconds)

    def kill(self) -> None:
        """End it as a crash of its machine does."""
        self.end(signal.SIGKILL)

    def log(self) -> str:
        """What it wrote so far."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""
