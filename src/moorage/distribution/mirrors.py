"""Pulls by the name of another registry, as clients do that know this one as its mirror.

    GET /v2/library/nginx/manifests/1?ns=docker.io        containerd
    GET /v2/library/nginx/manifests/1  Host: hub.example  one host name for each registry
         └─► /v2/<project>/library/nginx/manifests/1

Both are looked up in what the operator wrote down. What is not there means what it says: no request
makes this server talk to a registry that nobody has chosen.
"""

from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.types import Scope

_ROOTS = ("/v2", "/v2/", "/v2/_catalog")


class Mirrors:
    """`names` maps registries, `hosts` maps host names of this server to projects."""

    def __init__(self, names: Mapping[str, str], hosts: Mapping[str, str]) -> None:
        self._names = {name.lower(): project for name, project in names.items()}
        self._hosts = {name.lower(): project for name, project in hosts.items()}

    def __bool__(self) -> bool:
        return bool(self._names or self._hosts)

    def rewritten(self, scope: Scope) -> Scope:
        """The request as one for the project, or as it is."""
        path = scope["path"]
        if not path.startswith("/v2/") or path in _ROOTS:
            return scope
        project = self._project(scope)
        if project is None or path.startswith(f"/v2/{project}/"):
            return scope
        raw = scope.get("raw_path") or path.encode("utf-8", "surrogateescape")
        prefix = f"/v2/{project}/"
        return {
            **scope,
            "path": prefix + path.removeprefix("/v2/"),
            "raw_path": prefix.encode() + raw.removeprefix(b"/v2/"),
        }

    def _project(self, scope: Scope) -> str | None:
        query: bytes = scope.get("query_string", b"")
        if self._names and b"ns=" in query and len(query) < 8192:
            named = parse_qs(query.decode("latin-1"), max_num_fields=256).get("ns", [""])[0]
            return self._names.get(named.lower())
        if self._hosts:
            host = next((value for name, value in scope["headers"] if name == b"host"), b"")
            name = host.decode("latin-1").lower()
            return self._hosts.get(name) or self._hosts.get(name.rpartition(":")[0])
        return None
