"""The registries that are compared, and the contents that both hold.

peer             docker-registry on files, nobody signs in
moorage          one process on SQLite and files; every request carries a token
… behind nginx   the same two with nginx in front
… on PostgreSQL  the peer again, and moorage with its rows in a PostgreSQL that syncs its log,
                 and Redis for its cache
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.clients import Home, Skopeo
from tests.support.images import image

from benchmarks.usage import cpu_seconds, family, peak_mib
from benchmarks.wire import Wire, bearer, push

REPOSITORY = "library/bench"
TOKEN_SECONDS = 600  # a token is used for this long, well within its life


@dataclass
class Server:
    """One registry under one address."""

    name: str
    host: str
    folder: Path
    roots: Callable[[], list[int]]  # processes that were started; their children count as well
    username: str = ""
    password: str = ""
    _token: str = field(default="", repr=False)
    _token_at: float = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}"

    def headers(self) -> str:
        """Header lines that every request carries: a token, where the registry asks for one."""
        if self.username and time.monotonic() - self._token_at > TOKEN_SECONDS:
            self._token = bearer(self.url, self.username, self.password, REPOSITORY)
            self._token_at = time.monotonic()
        return self._token

    def home(self) -> Home:
        """A home for real clients."""
        return Home(self.folder / "home", self.host, self.username, self.password)

    def _pids(self) -> list[int]:
        return [pid for root in self.roots() for pid in family(root)]

    def cpu(self) -> float:
        """CPU seconds of all its processes so far."""
        return cpu_seconds(self._pids())

    def peak(self) -> float:
        """Peak memory of all its processes, MiB."""
        return peak_mib(self._pids())


class Contents:
    """What both registries hold before anything is measured, and fresh content on request."""

    repository = REPOSITORY

    def __init__(self, folder: Path, sizes: tuple[int, ...]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._image = image(folder / "image", seed="bench", layers=10, size=1 << 14)
        self.manifest = self._image.digest
        self._files = {size: self._make(size, folder / f"blob-{size}") for size in sizes}
        self.blobs = {size: digest for size, (digest, _) in self._files.items()}

    def store(self, server: Server) -> None:
        """Push the image and the blobs into a registry."""
        Skopeo().push(server.home(), self._image, f"{server.host}/{REPOSITORY}:v1")
        wire = Wire(server.host, server.headers())
        for digest, path in self._files.values():
            push(wire, REPOSITORY, digest, path, ("POST", "PUT"))
        wire.close()

    def fresh(self, size: int, number: int) -> tuple[str, Path]:
        """Digest and file of a blob that nobody has pushed; `number` tells files in use apart."""
        return self._make(size, self.folder / f"fresh-{number}")

    def _make(self, size: int, path: Path) -> tuple[str, Path]:
        noise = os.urandom(1 << 20)
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for start in range(0, size, len(noise)):
                block = start.to_bytes(8, "big") + noise[8 : size - start]
                digest.update(block)
                file.write(block)
        return "sha256:" + digest.hexdigest(), path

    def remove(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.folder)
