"""Images made on the spot, as OCI layouts on disk (OCI image-spec, "Image Layout").

    image(folder)      layers that are real gzipped tar files, a config, a manifest
    index(folder)      one image for each of two platforms, under an index
    Layout.digests()   everything that the tag leads to, verified

Contents come from a seed: the same arguments give the same digests, and no network is needed.
"""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
NAME = "org.opencontainers.image.ref.name"

Descriptor = dict[str, Any]


def digest_of(content: bytes) -> str:
    """The sha256 digest of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Layout:
    """An OCI layout folder and the one tag in it."""

    folder: Path
    tag: str
    digest: str

    @property
    def reference(self) -> str:
        """The layout as most clients name it: folder and tag."""
        return f"{self.folder}:{self.tag}"

    def blob(self, digest: str) -> Path:
        """The file of a blob."""
        algorithm, _, encoded = digest.partition(":")
        return self.folder / "blobs" / algorithm / encoded

    def digests(self) -> set[str]:
        """Everything the tag leads to: manifests, configs and layers; each file is verified."""
        found: set[str] = set()
        for digest, media_type in self._walk(self.digest, ""):
            actual = hashlib.sha256()
            with self.blob(digest).open("rb") as file:
                while block := file.read(1 << 20):
                    actual.update(block)
            assert "sha256:" + actual.hexdigest() == digest, f"{media_type} {digest} is damaged"
            found.add(digest)
        return found

    def _walk(self, digest: str, media_type: str) -> Iterator[tuple[str, str]]:
        yield digest, media_type
        if media_type not in (MANIFEST, INDEX, ""):
            return
        document = json.loads(self.blob(digest).read_bytes())
        for child in references(document):
            yield from self._walk(child["digest"], child["mediaType"])


def references(document: dict[str, Any]) -> list[Descriptor]:
    """The descriptors a manifest or index needs: children, config, layers."""
    config = [document["config"]] if "config" in document else []
    return [*document.get("manifests", []), *config, *document.get("layers", [])]


def opened(folder: Path, tag: str | None = None) -> Layout:
    """Read a layout that a client wrote; with several entries, the one of `tag`."""
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    if tag is not None and len(entries) > 1:
        entries = [entry for entry in entries if _name(entry) == tag]
    assert len(entries) == 1, f"{len(entries)} entries in {folder}"
    return Layout(folder, _name(entries[0]) or tag or "", entries[0]["digest"])


def _name(entry: Descriptor) -> str | None:
    name: str | None = entry.get("annotations", {}).get(NAME)
    return name


def layer(seed: str, size: int = 4096, level: int = 6) -> tuple[bytes, str]:
    """A gzipped tar file with one file of `size` random bytes, and the digest of the tar file."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        entry = tarfile.TarInfo(f"data/{seed.replace(' ', '-')}")
        entry.size = size
        archive.addfile(entry, io.BytesIO(random.Random(seed).randbytes(size)))
    packed = gzip.compress(plain.getvalue(), compresslevel=level, mtime=0)
    return packed, digest_of(plain.getvalue())


def image(
    folder: Path, *, seed: str = "image", layers: int = 2, size: int = 4096, tag: str = "v1"
) -> Layout:
    """Make an image of some layers."""
    descriptor = _image(folder, [f"{seed} {number}" for number in range(layers)], size, "amd64")
    return _finish(folder, descriptor, tag)


def image_of(folder: Path, seeds: list[str], *, size: int = 4096, tag: str = "v1") -> Layout:
    """Make an image whose layers are told by their seeds, so that images can share some."""
    return _finish(folder, _image(folder, seeds, size, "amd64"), tag)


def index(folder: Path, *, seed: str = "index", tag: str = "v1") -> Layout:
    """Make an index of two platforms that share a layer."""
    children = []
    for architecture in ("amd64", "arm64"):
        child = _image(folder, [f"{seed} shared", f"{seed} {architecture}"], 4096, architecture)
        child["platform"] = {"os": "linux", "architecture": architecture}
        children.append(child)
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
    return _finish(folder, _store_json(folder, INDEX, document), tag)


def large(folder: Path, size: int, *, tag: str = "v1") -> Layout:
    """Make an image with one layer of `size` bytes (whole MiB) that hardly fills the memory."""
    noise = random.Random("large").randbytes((1 << 20) - 8)
    entry = tarfile.TarInfo("data/noise")
    entry.size = size
    plain = hashlib.sha256()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "layer"
    with gzip.GzipFile(path, "wb", compresslevel=0, mtime=0) as packed:
        packed.write(entry.tobuf())
        plain.update(entry.tobuf())
        for number in range(size >> 20):
            plain.update(block := number.to_bytes(8, "big") + noise)
            packed.write(block)
        packed.write(end := bytes(2 * 512))
        plain.update(end)
    with path.open("rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    config = _config("amd64", "large", ["sha256:" + plain.hexdigest()])
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _store_json(folder, CONFIG, config),
        "layers": [{"mediaType": LAYER, "digest": digest, "size": path.stat().st_size}],
    }
    path.rename(folder / "blobs" / "sha256" / digest.removeprefix("sha256:"))
    return _finish(folder, _store_json(folder, MANIFEST, document), tag)


def _config(architecture: str, seed: str, diff_ids: list[str]) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": [f"SEED={seed}"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }


def _image(folder: Path, seeds: list[str], size: int, architecture: str) -> Descriptor:
    packed = [layer(seed, size, level=1) for seed in seeds]
    config = _config(architecture, "".join(seeds[:1]), [diff for _, diff in packed])
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _store_json(folder, CONFIG, config),
        "layers": [_store(folder, LAYER, content) for content, _ in packed],
    }
    return _store_json(folder, MANIFEST, document)


def _store(folder: Path, media_type: str, content: bytes) -> Descriptor:
    digest = digest_of(content)
    path = folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _store_json(folder: Path, media_type: str, document: dict[str, Any]) -> Descriptor:
    return _store(folder, media_type, json.dumps(document, separators=(",", ":")).encode())


def _finish(folder: Path, descriptor: Descriptor, tag: str) -> Layout:
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {**descriptor, "annotations": {NAME: tag}}
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(document))
    return Layout(folder, tag, descriptor["digest"])
