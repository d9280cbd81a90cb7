"""Real registry clients, each with the same two verbs, so that any two can be set against another.

    push(layout, reference)          send what an OCI layout holds
    pull(reference, folder)          fetch it again as an OCI layout

They share one home: a docker `config.json` with the registry's user, and nothing of the
machine's own settings. A client whose binary is absent skips the test by name.
"""

import base64
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.support.images import Layout, opened
from tests.support.requirements import path_of


class ClientFailed(Exception):
    """A client ended with an error; the message is what it wrote."""


@dataclass(frozen=True)
class Home:
    """Where clients keep their settings: the user's name and password for one registry."""

    folder: Path
    registry: str  # host:port
    username: str
    password: str
    environment: dict[str, str] = field(default_factory=dict)
    short: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="mr-")))

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        auth = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        auths = {self.registry: {"auth": auth}} if self.username else {}
        (self.folder / "config.json").write_text(json.dumps({"auths": auths}))
        (self.folder / "registries.conf").write_text("")
        (self.folder / "containers.conf").write_text('[engine]\ncgroup_manager="cgroupfs"\n')
        self.environment.update(
            PATH=os.environ["PATH"],
            HOME=str(self.folder),
            XDG_RUNTIME_DIR=str(self.folder),
            TMPDIR=str(self.folder),
            DOCKER_CONFIG=str(self.folder),
            REGISTRY_AUTH_FILE=str(self.folder / "config.json"),
            REGCTL_CONFIG=str(self.folder / "regctl.json"),
            CONTAINERS_REGISTRIES_CONF=str(self.folder / "registries.conf"),
            CONTAINERS_CONF=str(self.folder / "containers.conf"),
            HELM_REGISTRY_CONFIG=str(self.folder / "config.json"),
            COSIGN_PASSWORD="",
        )

    def close(self) -> None:
        """Remove what lies outside of the folder."""
        shutil.rmtree(self.short, ignore_errors=True)

    def run(self, binary: str, *arguments: str | Path, seconds: float = 300) -> str:
        """Run a client to its end; its standard output. Raises ClientFailed."""
        done = subprocess.run(
            [path_of(binary), *map(str, arguments)],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise ClientFailed(f"{binary} {' '.join(map(str, arguments))}: {said}")
        return done.stdout


class Client(Protocol):
    """What every client of the matrix can do."""

    name: str

    def push(self, home: Home, layout: Layout, reference: str) -> None:
        """Send the layout's tag to `host:port/repository:tag`."""

    def pull(self, home: Home, reference: str, folder: Path) -> Layout:
        """Fetch a reference into a new layout."""


class Skopeo:
    """skopeo from Debian."""

    name = "skopeo"

    def _copy(self, home: Home, side: str, source: str, target: str) -> None:
        home.run(
            "skopeo", "copy", "--quiet", "--all", "--preserve-digests",
            f"--{side}-tls-verify=false", source, target,
        )  # fmt: skip

    def push(self, home: Home, layout: Layout, reference: str) -> None:
        """Copy from the layout."""
        self._copy(home, "dest", f"oci:{layout.reference}", f"docker://{reference}")

    def pull(self, home: Home, reference: str, folder: Path) -> Layout:
        """Copy to a layout."""
        self._copy(home, "src", f"docker://{reference}", f"oci:{folder}:pulled")
        return opened(folder, "pulled")


class Crane:
    """crane of go-containerregistry."""

    name = "crane"

    def push(self, home: Home, layout: Layout, reference: str) -> None:
        """Push the layout."""
        home.run("crane", "push", "--insecure", layout.folder, reference)

    def pull(self, home: Home, reference: str, folder: Path) -> Layout:
        """Pull as a layout."""
        home.run("crane", "pull", "--insecure", "--format=oci", reference, folder)
        return opened(folder)


class Regctl:
    """regctl of regclient."""

    name = "regctl"

    def _copy(self, home: Home, source: str, target: str) -> None:
        host = f"reg={home.registry},tls=disabled"
        home.run("regctl", "--host", host, "image", "copy", source, target)

    def push(self, home: Home, layout: Layout, reference: str) -> None:
        """Copy from the layout."""
        self._copy(home, f"ocidir://{layout.reference}", reference)

    def pull(self, home: Home, reference: str, folder: Path) -> Layout:
        """Copy to a layout."""
        self._copy(home, reference, f"ocidir://{folder}:pulled")
        return opened(folder, "pulled")


class Oras:
    """oras."""

    name = "oras"

    def push(self, home: Home, layout: Layout, reference: str) -> None:
        """Copy from the layout."""
        home.run(
            "oras", "copy", "--no-tty", "--from-oci-layout", layout.reference,
            "--to-plain-http", reference,
        )  # fmt: skip

    def pull(self, home: Home, reference: str, folder: Path) -> Layout:
        """Copy to a layout."""
        home.run(
            "oras", "copy", "--no-tty", "--from-plain-http", reference,
            "--to-oci-layout", f"{folder}:pulled",
        )  # fmt: skip
        return opened(folder, "pulled")


class Podman:
    """podman, through its local storage.

    It unpacks and packs layers again, so what it pushes has digests of its own: compare what
    others pull with what the registry then holds, not with the layout.
    """

    name = "podman"
    binary = "podman"

    def _storage(self, home: Home) -> list[str]:
        folder = home.folder / f"{self.binary}-{secrets.token_hex(4)}"
        return [
            f"--root={folder}",
            # Of the runroot, podman refuses more than 50 characters.
            f"--runroot={home.short / folder.name}",
            "--storage-driver=vfs",
        ]

    def push(self, home: Home, layout: Layout, reference: str) -> None:
        """Load the layout into the storage, then push."""
        storage = self._storage(home)
        image = home.run(self.binary, *storage, "pull", "--quiet", f"oci:{layout.reference}")
        home.run(
            self.binary, *storage, "push", "--quiet", "--tls-verify=false",
            image.split()[-1], f"docker://{reference}",
        )  # fmt: skip

    def pull(self, home: Home, reference: str, folder: Path) -> Layout:
        """Pull into an empty storage, then write the image with its layers as they came."""
        storage = self._storage(home)
        home.run(
            self.binary, *storage, "pull", "--quiet", "--tls-verify=false", f"docker://{reference}"
        )
        home.run(self.binary, *storage, "push", "--quiet", reference, f"oci:{folder}:pulled")
        return opened(folder, "pulled")


class Buildah(Podman):
    """buildah: the same storage under another command."""

    name = "buildah"
    binary = "buildah"


#: Clients that keep every byte of what they are given: what they push has the layout's digests.
FAITHFUL: tuple[Client, ...] = (Skopeo(), Crane(), Regctl(), Oras())
REPACKING: tuple[Client, ...] = (Podman(), Buildah())
