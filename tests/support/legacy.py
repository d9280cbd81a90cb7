"""Storage as distribution writes it, made without it.

    python -m tests.support.legacy FOLDER 10000 10     10,000 repositories of 10 manifests each

Each repository has images, an index over the first two of them, and a tag for each. Layers are
shared by many; each image has a config of its own.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.content import image, index, sha256

ROOT = "docker/registry/v2"


@dataclass
class Legacy:
    """One folder of a registry."""

    folder: Path
    tags: dict[tuple[str, str], bytes] = field(default_factory=dict)  # to the manifest

    def write(self, path: str, content: bytes) -> None:
        """A file of the registry."""
        file = self.folder / ROOT / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def blob(self, content: bytes) -> str:
        """Bytes; their digest."""
        digest = sha256(content)
        self.write(self.data(digest), content)
        return digest

    @staticmethod
    def data(digest: str) -> str:
        """Where the bytes of a digest are."""
        value = digest.removeprefix("sha256:")
        return f"blobs/sha256/{value[:2]}/{value}/data"

    def manifest(self, repository: str, payload: bytes, *tags: str) -> str:
        """A manifest of a repository, and tags of it; its digest."""
        digest = self.blob(payload)
        where = f"repositories/{repository}/_manifests"
        value = digest.removeprefix("sha256:")
        self.write(f"{where}/revisions/sha256/{value}/link", digest.encode())
        for tag in tags:
            self.write(f"{where}/tags/{tag}/current/link", digest.encode())
            self.write(f"{where}/tags/{tag}/index/sha256/{value}/link", digest.encode())
            self.tags[repository, tag] = payload
        return digest

    def image(self, repository: str, seed: str, *tags: str) -> bytes:
        """An image with one layer of its own; its manifest."""
        layer = seed.encode() * 50
        self.blob(layer)
        self.blob(config := json.dumps({"seed": seed}).encode())
        self.manifest(repository, payload := image(config, [layer]), *tags)
        return payload


@dataclass(frozen=True)
class Repository:
    """What one repository of many holds; each image has a config of its own."""

    name: str
    layers: Sequence[bytes]  # of all its images
    configs: Sequence[bytes]
    images: Sequence[bytes]
    index: bytes  # of the first two images

    @property
    def tags(self) -> dict[tuple[str, str], bytes]:
        """Names of its tags, and what each means."""
        found = {(self.name, f"v{tag}"): image for tag, image in enumerate(self.images)}
        return found | {(self.name, "latest"): self.index}


LAYERS = [hashlib.sha512(b"%d" % number).digest() * 4 for number in range(200)]
"""What many repositories share."""


def repositories(count: int, each: int) -> Iterator[Repository]:
    """Many of them in ten projects, each with so many manifests and tags."""
    for number in range(count):
        name = f"project{number % 10}/team/app-{number:06}"
        layers = [LAYERS[(number * 7 + layer) % len(LAYERS)] for layer in range(4)]
        configs = [json.dumps({"image": f"{name}:{tag}"}).encode() for tag in range(each - 1)]
        images = [image(config, layers) for config in configs]
        yield Repository(name, layers, configs, images, index(images[:2]))


def many(folder: Path, count: int, each: int) -> Legacy:
    """The same, written without the registry."""
    made = Legacy(folder)
    for layer in LAYERS:
        made.blob(layer)
    for repository in repositories(count, each):
        for config in repository.configs:
            made.blob(config)
        for (name, tag), payload in repository.tags.items():
            made.manifest(name, payload, tag)
    return made


if __name__ == "__main__":
    many(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
