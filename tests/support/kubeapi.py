"""As much of a Kubernetes API as `lookup` in a chart asks for: lists, and Secrets that it keeps."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_GROUPS: Mapping[str, Mapping[str, str]] = {
    "v1": {
        "secrets": "Secret",
        "services": "Service",
        "configmaps": "ConfigMap",
        "serviceaccounts": "ServiceAccount",
        "persistentvolumeclaims": "PersistentVolumeClaim",
    },
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "networking.k8s.io/v1": {"ingresses": "Ingress"},
    "gateway.networking.k8s.io/v1": {"httproutes": "HTTPRoute"},
}
"""Version to the kinds that renders of the tests have, by the names of their paths."""


class KubeApi:
    """A cluster with nothing in it; `secrets` are by name, in every namespace."""

    def __init__(self) -> None:
        self.secrets: dict[str, Any] = {}
        self.asked: list[str] = []
        self.port = 0

    @property
    def arguments(self) -> tuple[str, ...]:
        """What makes `helm template` ask this cluster."""
        server = ("--kube-apiserver", f"http://127.0.0.1:{self.port}", "--kube-token", "t")
        return ("--dry-run=server", "--disable-openapi-validation", *server)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body of one GET."""
        self.asked.append(path)
        parts = path.partition("?")[0].strip("/").split("/")
        if parts == ["version"]:
            return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
        if parts == ["api"]:
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        if parts == ["apis"]:
            groups = [_group(version) for version in _GROUPS if "/" in version]
            return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        version = "/".join(parts[1:])
        if version in _GROUPS:
            resources = [
                {"name": name, "kind": kind, "namespaced": True, "verbs": ["get", "list"]}
                for name, kind in _GROUPS[version].items()
            ]
            body = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
            return 200, body
        if parts[:3] == ["api", "v1", "namespaces"] and len(parts) == 5:
            kind = _GROUPS["v1"][parts[4]]
            return 200, {"kind": f"{kind}List", "apiVersion": "v1", "items": []}
        kept = self.secrets.get(parts[-1]) if parts[-2:-1] == ["secrets"] else None
        if kept is not None:
            return 200, kept
        return 404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}


def _group(version: str) -> dict[str, Any]:
    found = {"groupVersion": version, "version": version.rpartition("/")[2]}
    name = version.partition("/")[0]
    return {"name": name, "versions": [found], "preferredVersion": found}


@contextmanager
def running_api() -> Iterator[KubeApi]:
    """A cluster on a free port of this machine."""
    api = KubeApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = api.answer(self.path)
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield api
        finally:
            server.shutdown()
