"""The routes of `/v2` (OCI distribution-spec, "Endpoints"), parsed by hand from the raw path.

    /v2/                                        base
    /v2/_catalog                                catalog
    /v2/<name>/manifests/<reference>            manifest
    /v2/<name>/blobs/<digest>                   blob
    /v2/<name>/blobs/uploads/                   uploads
    /v2/<name>/blobs/uploads/<session>          upload
    /v2/<name>/tags/list                        tags
    /v2/<name>/referrers/<digest>               referrers

A name holds slashes and may itself end in `/manifests` or `/blobs/uploads`, so the path is read
from its end: the last parts say the endpoint and what is left over is the name.
"""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from moorage.errors import NameInvalid
from moorage.oci.names import check_repository

Endpoint = Literal["base", "catalog", "manifest", "blob", "uploads", "upload", "tags", "referrers"]
Right = Literal["", "catalog", "pull", "push", "delete"]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one endpoint and the right that a caller needs for it."""

    method: str
    endpoint: Endpoint
    path: str
    right: Right  # in the repository of the path; empty: any identified caller
    summary: str


ROUTES = (
    Route("GET", "base", "/v2/", "", "Check the version and the credentials"),
    Route("HEAD", "base", "/v2/", "", "The same without a body"),
    Route("GET", "catalog", "/v2/_catalog", "catalog", "List repositories"),
    Route("GET", "manifest", "/v2/<name>/manifests/<reference>", "pull", "Pull a manifest"),
    Route("HEAD", "manifest", "/v2/<name>/manifests/<reference>", "pull", "Look for a manifest"),
    Route("PUT", "manifest", "/v2/<name>/manifests/<reference>", "push", "Push a manifest"),
    Route(
        "DELETE", "manifest", "/v2/<name>/manifests/<reference>", "delete", "Delete manifest or tag"
    ),
    Route("GET", "blob", "/v2/<name>/blobs/<digest>", "pull", "Pull a blob"),
    Route("HEAD", "blob", "/v2/<name>/blobs/<digest>", "pull", "Look for a blob"),
    Route("DELETE", "blob", "/v2/<name>/blobs/<digest>", "delete", "Delete a blob"),
    Route("POST", "uploads", "/v2/<name>/blobs/uploads/", "push", "Start, push at once, or mount"),
    Route("GET", "upload", "/v2/<name>/blobs/uploads/<session>", "push", "Ask how far it is"),
    Route("PATCH", "upload", "/v2/<name>/blobs/uploads/<session>", "push", "Send a chunk"),
    Route("PUT", "upload", "/v2/<name>/blobs/uploads/<session>", "push", "Finish an upload"),
    Route("DELETE", "upload", "/v2/<name>/blobs/uploads/<session>", "push", "Cancel an upload"),
    Route("GET", "tags", "/v2/<name>/tags/list", "pull", "List tags"),
    Route("GET", "referrers", "/v2/<name>/referrers/<digest>", "pull", "List referrers"),
)

BY_ENDPOINT: dict[str, dict[str, Route]] = {}
for _route in ROUTES:
    BY_ENDPOINT.setdefault(_route.endpoint, {})[_route.method] = _route


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names; repository and reference are empty where the endpoint has none."""

    endpoint: Endpoint
    repository: str = ""
    reference: str = ""  # tag, digest or session id, unchecked


def parse(raw_path: bytes) -> Target | None:
    """Read a path as it came over the wire; None: no such endpoint.

    Raises NameInvalid for a repository name or an encoding that no client of good will sends.
    """
    parts = _parts(raw_path)
    if parts is None:
        return None
    if parts in ([], [""]):
        return Target("base")
    if parts == ["_catalog"]:
        return Target("catalog")
    endpoint: Endpoint
    match parts:
        case [*name, "tags", "list"]:
            endpoint, reference = "tags", ""
        case [*name, "blobs", "uploads"] | [*name, "blobs", "uploads", ""]:
            endpoint, reference = "uploads", ""
        case [*name, "manifests", reference]:
            endpoint = "manifest"
        case [*name, "referrers", reference]:
            endpoint = "referrers"
        case [*name, "blobs", reference]:
            endpoint = "blob"
        case [*name, "blobs", "uploads", reference]:
            endpoint = "upload"
        case _:
            return None
    return Target(endpoint, check_repository("/".join(name)), reference)


def _parts(raw_path: bytes) -> list[str] | None:
    """The decoded parts after `/v2/`; None when the path is not ours."""
    if raw_path != b"/v2" and not raw_path.startswith(b"/v2/"):
        return None
    pieces = raw_path[4:].split(b"/") if len(raw_path) > 4 else []
    return [_decode(piece) for piece in pieces]


def _decode(piece: bytes) -> str:
    """One path part; an encoded slash or dot must not make a part mean something else later."""
    try:
        text = (unquote_to_bytes(piece) if b"%" in piece else piece).decode()
    except UnicodeDecodeError:
        raise NameInvalid("the path is not UTF-8") from None
    if text in (".", "..") or "/" in text or not text.isprintable():
        raise NameInvalid("the path has a part that is not allowed")
    return text
