"""Pushes over plain HTTP with Basic credentials, without any client program."""

import urllib.error
import urllib.request
from base64 import b64encode

from tests.support.content import image, sha256
from tests.support.serving import Registry

from moorage.oci import media_types


class Pusher:
    """Pushes small images into a served registry."""

    def __init__(self, registry: Registry) -> None:
        self._url = registry.url
        self._auth = b64encode(f"{registry.username}:{registry.password}".encode()).decode()

    def image(self, repository: str, tag: str, layer: bytes) -> bytes:
        """Push an image of one layer; its manifest, when that was acknowledged."""
        for blob in (b"{}", layer):
            path = f"/v2/{repository}/blobs/uploads/?digest={sha256(blob)}"
            self.send("POST", path, blob, "application/octet-stream")
        manifest = image(b"{}", [layer])
        path = f"/v2/{repository}/manifests/{tag}"
        self.send("PUT", path, manifest, media_types.OCI_MANIFEST)
        return manifest

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest."""
        self.send("DELETE", f"/v2/{repository}/manifests/{digest}", b"", "text/plain")

    def send(self, method: str, path: str, body: bytes, media_type: str) -> None:
        """One request; raises urllib's errors."""
        headers = {"Authorization": f"Basic {self._auth}", "Content-Type": media_type}
        request = urllib.request.Request(
            self._url + path, data=body, headers=headers, method=method
        )
        try:
            urllib.request.urlopen(request, timeout=60).close()
        except urllib.error.HTTPError as error:
            error.add_note(f"{method} {path}: {error.read()!r}")
            raise
