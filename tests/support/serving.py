"""Moorage as its users run it: `python -m moorage serve` as a process of its own.

    Registry(folder)                       one process, SQLite and files
    Registry(folder, settings={…})         settings by path: {"database.url": …, "http.port": 8080}
    Fetcher(registry)                      reads manifests and blobs over plain HTTP

A process gets its settings by the environment only, listens on a free loopback port, and writes
its log to `folder/log`.
"""

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.images import INDEX, MANIFEST, references
from tests.support.verbs import ran
from tools.ports import free_port

ROOT = Path(__file__).parents[2]


class Registry:
    """One process; `kill` and `start` again keep its folder."""

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, object] | None = None,
        role: str | None = None,
        password: str | None = None,
    ) -> None:
        self.port = free_port()
        self.folder = folder
        self.username = "admin"
        self.password = password or f"Aa1{secrets.token_urlsafe(16)}"
        self._role = role
        self._settings: dict[str, object] = {
            "http.host": "127.0.0.1",
            "http.port": self.port,
            "data_dir": folder / "data",
            "auth.admin_password": self.password,
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def host(self) -> str:
        """Host and port, as clients name a registry."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}"

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The process's environment: nothing of this one's settings, its own instead."""
        inherited = dict(os.environ)
        own = {
            "MOORAGE_" + path.upper().replace(".", "__"): _text(setting)
            for path, setting in self._settings.items()
        }
        return {**inherited, **own, "PYTHONPATH": str(ROOT / "src")}

    def run(self, *arguments: str, seconds: float = 240) -> str:
        """Run another verb of the command line with the same settings; its standard output."""
        done = ran(arguments, self.folder, environment=self.environment(), seconds=seconds)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, seconds: float = 180) -> "Registry":
        """Start the process and wait until it is ready."""
        return self.launch().wait(seconds)

    def launch(self, *arguments: str) -> "Registry":
        """Start the process, with more options of `serve` if given, and wait for nothing."""
        role = ["--role", self._role] if self._role else []
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moorage", "serve", *role, *arguments],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def wait(self, seconds: float = 180) -> "Registry":
        """Wait until the process is ready; kills it when it is not in time, or ended."""
        assert self._process is not None
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._process.poll() is None:
            if self.ready() == 200:
                return self
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"not ready: {self.log()[-4000:]}")

    def ready(self, path: str = "/readyz") -> int:
        """The status of a health page; 0 while nothing answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def ended(self, seconds: float = 60) -> int:
        """The exit status of a process that ends by itself."""
        assert self._process is not None
        status = self._process.wait(seconds)
        self._process = None
        return status

    def memory(self) -> int:
        """Bytes that the process holds in memory right now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def worked(self) -> float:
        """Seconds that the process was on a processor."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        """What it wrote so far."""
        return (self.folder / "log").read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self, seconds: float = 60) -> int:
        """End it as an operator does; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(seconds)
        self._process = None
        return status

    @contextmanager
    def running(self) -> Iterator["Registry"]:
        """The started process; killed at the end."""
        self.start()
        try:
            yield self
        finally:
            self.kill()


def _text(setting: object) -> str:
    if isinstance(setting, bool):
        return str(setting).lower()
    return json.dumps(setting) if isinstance(setting, (dict, list)) else str(setting)


class Fetcher:
    """Reads a registry over plain HTTP with Basic credentials, following redirects."""

    def __init__(self, registry: Registry) -> None:
        self._url = registry.url
        self._auth = b64encode(f"{registry.username}:{registry.password}".encode()).decode()

    def get(self, path: str) -> tuple[bytes, Mapping[str, str]]:
        """The body and headers of `path`, which starts with `/`."""
        headers = {"Authorization": f"Basic {self._auth}", "Accept": f"{MANIFEST}, {INDEX}, */*"}
        request = urllib.request.Request(self._url + path, headers=headers)
        # An object store refuses a signed URL that comes with another Authorization.
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(request, timeout=60) as answer:
            body: bytes = answer.read()
            return body, dict(answer.headers)

    def tree(self, repository: str, reference: str) -> tuple[str, set[str]]:
        """The digest that a reference means, and every digest that it leads to; all verified."""
        document, _ = self.get(f"/v2/{repository}/manifests/{reference}")
        digest = "sha256:" + hashlib.sha256(document).hexdigest()
        found = {digest}
        for child in references(json.loads(document)):
            if child["mediaType"] in (MANIFEST, INDEX):
                found |= self.tree(repository, child["digest"])[1]
            else:
                body, _ = self.get(f"/v2/{repository}/blobs/{child['digest']}")
                assert "sha256:" + hashlib.sha256(body).hexdigest() == child["digest"]
                found.add(child["digest"])
        return digest, found


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*arguments)
        if request is not None:
            request.headers.pop("Authorization", None)
        return request
