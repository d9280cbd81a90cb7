"""Style, scripts, icons and the font: read once, compressed once, kept by browsers for ever.

/static/app.css?v=3f2a…   of this version: immutable
/static/inter.woff2       without one: a day, then asked about by its ETag
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
PATH = "/static/"

TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    packed: bytes | None
    type: str
    version: str


class Assets:
    """The files of `static/`."""

    def __init__(self) -> None:
        self._files = {
            file.name: _asset(file) for file in sorted(FOLDER.iterdir()) if file.suffix in TYPES
        }

    def url(self, name: str) -> str:
        """Where this version of a file is."""
        return f"{PATH}{name}?v={self._files[name].version}"

    def answer(self, request: Request) -> Response:
        """A file, compressed for whoever can read that."""
        found = self._files.get(request.scope["path"].removeprefix(PATH))
        if found is None:
            return Response("not found\n", 404, media_type="text/plain")
        own = request.query_params.get("v") == found.version
        headers = {
            "Cache-Control": f"public, max-age={31536000 if own else 86400}"
            + (", immutable" if own else ""),
            "ETag": f'"{found.version}"',
            "Content-Type": found.type,
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        body = found.content
        if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = found.packed, "gzip"
        return Response(body, headers=headers)


def _asset(file: Path) -> Asset:
    content = file.read_bytes()
    packed = gzip.compress(content, 9, mtime=0)
    return Asset(
        content,
        packed if len(packed) < 0.9 * len(content) else None,
        TYPES[file.suffix],
        hashlib.sha256(content).hexdigest()[:16],
    )
