"""Storage as distribution writes it, made without it.

    python -m tests.support.legacy FOLDER 10000 10     10,000 repositories of 10 manifests each

Each repository has images, an index over the first two of them, and a tag for each. Layers are
shared by many; each image has a config of its own.
"""

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.content import image, index, sha256

ROOT = "docker/registry/v2"
LAYERS = 200


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


def many(folder: Path, repositories: int, each: int) -> Legacy:
    """Many repositories, in ten projects."""
    made = Legacy(folder)
    layers = [hashlib.sha512(b"%d" % number).digest() * 4 for number in range(LAYERS)]
    for layer in layers:
        made.blob(layer)
    for number in range(repositories):
        name = f"project{number % 10}/team/app-{number:06}"
        images = []
        for tag in range(each - 1):
            made.blob(config := json.dumps({"image": f"{name}:{tag}"}).encode())
            some = [layers[(number * 7 + tag * 3 + layer) % LAYERS] for layer in range(4)]
            images.append(image(config, some))
            made.manifest(name, images[-1], f"v{tag}")
        made.manifest(name, index(images[:2]), "latest")
    return made


if __name__ == "__main__":
    many(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
