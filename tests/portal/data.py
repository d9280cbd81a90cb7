"""A registry as a company has it after a while, made through the API that everybody uses.

    python -m tests.portal.data http://127.0.0.1:8080 admin PASSWORD [--projects 30 …]

Projects with members, labels, robots, rules and webhooks; repositories with tags by version,
images for two platforms, charts, signatures, bills of materials. The same arguments make the same
digests. Every text that a person can write may carry a canary that runs where it is not escaped.
"""

import argparse
import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CHART = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"

CANARY = "\"><img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
"""Does something where it is taken for HTML."""

TEAMS = (
    *(
        "payments",
        "checkout",
        "identity",
        "catalog",
        "search",
        "mobile",
        "platform",
        "data-science",
    ),
    *("observability", "shipping", "pricing", "fraud", "ledger", "notifications", "cms", "edge"),
)
SERVICES = (
    *("api", "worker", "web", "scheduler", "gateway", "importer", "exporter", "cache", "proxy"),
    *("batch/nightly", "batch/hourly", "ui", "migrations", "sidecar", "cli", "operator"),
)
STEPS = (
    "/bin/sh -c #(nop) ADD file:8f2c5 in /",
    "ENV PYTHON_VERSION=3.11.9",
    "RUN /bin/sh -c apt-get update && apt-get install -y --no-install-recommends ca-certificates",
    "WORKDIR /app",
    "COPY requirements.txt . # buildkit",
    "RUN /bin/sh -c pip install -r requirements.txt # buildkit",
    "COPY . . # buildkit",
    'CMD ["python" "-m" "app"]',
)
_FILLED = (0, 2, 5, 6)
"""Steps that make a layer."""


class Maker:
    """Pushes and sets up."""

    def __init__(self, url: str, name: str, password: str, seed: int = 7) -> None:
        self._client = httpx2.Client(
            base_url=url, auth=(name, password), timeout=60, trust_env=False
        )
        self._random = random.Random(seed)
        self._held: dict[str, set[str]] = {}
        self._bases = [self._layer(f"base{n}", 60_000 * (n + 1)) for n in range(3)]

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def api(self, method: str, path: str, body: Any = None, **query: str) -> httpx2.Response:
        """One call; what is there already is fine."""
        answer = self._client.request(method, f"/api/v2.0{path}", json=body, params=query)
        assert answer.is_success or answer.status_code == 409, (path, answer.text)
        return answer

    def _layer(self, seed: str, size: int) -> bytes:
        content = random.Random(seed).randbytes(size)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo(f"app/{seed}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        return gzip.compress(buffer.getvalue(), 1, mtime=0)

    def blob(self, repository: str, content: bytes, media_type: str) -> dict[str, Any]:
        """Push a blob once; its descriptor."""
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        held = self._held.setdefault(repository, set())
        if digest not in held:
            path = f"/v2/{repository}/blobs/uploads/"
            answer = self._client.post(path, params={"digest": digest}, content=content)
            assert answer.status_code == 201, answer.text
            held.add(digest)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def manifest(self, repository: str, reference: str, document: Mapping[str, Any]) -> str:
        """Push a manifest; its digest."""
        content = json.dumps(document).encode()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        answer = self._client.put(
            f"/v2/{repository}/manifests/{reference or digest}",
            content=content,
            headers={"Content-Type": document["mediaType"]},
        )
        assert answer.status_code == 201, answer.text
        return digest

    def image(
        self, repository: str, tag: str, *, seed: str = "", architecture: str = "amd64"
    ) -> str:
        """Push an image of four layers, the lowest of which many share."""
        seed = seed or f"{repository}:{tag}"
        base = self._bases[sum(seed.encode()) % 3]
        layers = [
            self.blob(repository, base, LAYER),
            self.blob(repository, self._layer(f"{repository}/deps", 20_000), LAYER),
            self.blob(repository, self._layer(f"{seed}/install/{architecture}", 4_000), LAYER),
            self.blob(repository, self._layer(f"{seed}/copy/{architecture}", 1_000), LAYER),
        ]
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": "2026-11-02T09:30:00Z",
            "author": "Platform team",
            "config": {
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", f"APP_VERSION={tag}"],
                "Entrypoint": ["/app/run"],
                "Cmd": ["serve"],
                "WorkingDir": "/app",
                "Labels": {"org.opencontainers.image.version": tag},
            },
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
            "history": [
                {
                    "created": "2026-11-02T09:30:00Z",
                    "created_by": step,
                    "empty_layer": place not in _FILLED,
                }
                for place, step in enumerate(STEPS)
            ],
        }
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(repository, json.dumps(config).encode(), CONFIG),
            "layers": layers,
            "annotations": {"org.opencontainers.image.source": "https://git.example/" + repository},
        }
        return self.manifest(repository, tag, document)

    def index(self, repository: str, tag: str) -> str:
        """Push one for two platforms."""
        children = []
        for architecture in ("amd64", "arm64"):
            digest = self.image(repository, "", seed=tag + architecture, architecture=architecture)
            answer = self._client.head(f"/v2/{repository}/manifests/{digest}")
            children.append(
                {
                    "mediaType": MANIFEST,
                    "digest": digest,
                    "size": int(answer.headers["content-length"]),
                    "platform": {"os": "linux", "architecture": architecture},
                }
            )
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
        return self.manifest(repository, tag, document)

    def attach(self, repository: str, digest: str, artifact_type: str) -> str:
        """Push something whose subject that is."""
        answer = self._client.head(f"/v2/{repository}/manifests/{digest}")
        subject = {
            "mediaType": answer.headers["content-type"],
            "digest": digest,
            "size": int(answer.headers["content-length"]),
        }
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": self.blob(repository, b"{}", EMPTY),
            "layers": [self.blob(repository, f"about {digest}".encode(), "text/plain")],
            "subject": subject,
        }
        return self.manifest(repository, "", document)

    def chart(self, repository: str, version: str, *, note: str = "") -> str:
        """Push a Helm chart with a README."""
        name = repository.rpartition("/")[2]
        about = {
            "apiVersion": "v2",
            "name": name,
            "version": version,
            "description": note or "Runs the service in a cluster",
            "dependencies": [{"name": "redis", "version": "^19", "repository": "oci://charts"}],
        }
        files = {
            "Chart.yaml": json.dumps(about),
            "values.yaml": f"replicas: 2\nimage: {name}\nnote: {json.dumps(note)}\n",
            "README.md": f"# {name}\n\nInstall it with **helm**.\n\n{note}\n\n"
            "| value | default |\n| --- | --- |\n| replicas | 2 |\n",
        }
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(f"{name}/{path}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        packed = gzip.compress(buffer.getvalue(), 1, mtime=0)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(repository, json.dumps(about).encode(), CHART),
            "layers": [self.blob(repository, packed, CHART_LAYER)],
            "annotations": {"note": note} if note else {},
        }
        return self.manifest(repository, version, document)

    def project(self, name: str, *, public: bool = False, note: str = "") -> int:
        """A project with labels, rules, a robot and a webhook."""
        body = {"project_name": name, "metadata": {"public": str(public).lower()}}
        self.api("POST", "/projects", body)
        found = self.api("GET", f"/projects/{name}").json()
        number = int(found["project_id"])
        for label, color in (("production", "#1c7a4b"), ("staging", "#8a5300")):
            about = {"name": label, "color": color, "scope": "p", "project_id": number}
            self.api("POST", "/labels", {**about, "description": note})
        pull = [
            {"resource": "repository", "action": "pull"},
            {"resource": "repository", "action": "push"},
        ]
        robot = {
            "name": "ci",
            "level": "project",
            "duration": 90,
            "description": note or "Builds of the main branch",
            "permissions": [{"kind": "project", "namespace": name, "access": pull}],
        }
        self.api("POST", "/robots", robot)
        selector = {"kind": "doublestar", "decoration": "matches", "pattern": "v*"}
        where = {"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}
        rule = {
            "action": "immutable",
            "template": "immutable_template",
            "tag_selectors": [selector],
            "scope_selectors": {"repository": [where]},
        }
        self.api("POST", f"/projects/{name}/immutabletagrules", rule)
        hook = {
            "name": "deploy",
            "description": note,
            "enabled": True,
            "event_types": ["PUSH_ARTIFACT"],
            "targets": [{"type": "http", "address": "https://hooks.example/deploy"}],
        }
        self.api("POST", f"/projects/{name}/webhook/policies", hook)
        return number

    def people(self, names: Sequence[str], note: str = "") -> None:
        """Users of the database."""
        for name in names:
            body = {
                "username": name,
                "email": f"{name}@example.com",
                "realname": note or name.capitalize(),
                "comment": "<script>pwned()</script>" if note else "",
                "password": "Work-2026-Long",
            }
            self.api("POST", "/users", body)

    def label(self, repository: str, reference: str, label_id: int) -> None:
        """Put a label on an artifact."""
        project, _, name = repository.partition("/")
        path = f"/projects/{project}/repositories/{name.replace('/', '%252F')}"
        self.api("POST", f"{path}/artifacts/{reference}/labels", {"id": label_id})

    def versions(self, count: int) -> list[str]:
        """So many versions, in the order in which they come out."""
        found: list[str] = []
        major, minor, patch = 1, 0, 0
        while len(found) < count:
            roll = self._random.random()
            if roll < 0.05:
                major, minor, patch = major + 1, 0, 0
            elif roll < 0.4:
                minor, patch = minor + 1, 0
            else:
                patch += 1
            found.append(f"{major}.{minor}.{patch}")
        return found


def fill(
    maker: Maker, *, projects: int = 3, repositories: int = 4, artifacts: int = 6, note: str = ""
) -> None:
    """The whole of it; `artifacts` is the mean of each repository."""
    maker.people(["mara", "jonas", "li", "amina"], note)
    names = [
        TEAMS[n % len(TEAMS)] + (f"-{n // len(TEAMS)}" if n >= len(TEAMS) else "")
        for n in range(projects)
    ]
    for place, name in enumerate(names):
        number = maker.project(name, public=place % 3 == 1, note=note)
        for role, user in ((2, "mara"), (4, "jonas"), (3, "li")):
            member = {"role_id": role, "member_user": {"username": user}}
            maker.api("POST", f"/projects/{number}/members", member)
        labels = maker.api("GET", "/labels", scope="p", project_id=str(number)).json()
        for step in range(repositories):
            service = SERVICES[step % len(SERVICES)]
            suffix = f"-{step // len(SERVICES)}" if step >= len(SERVICES) else ""
            repository(maker, f"{name}/{service}{suffix}", artifacts, labels)
        maker.chart(f"{name}/charts/{name}", "0.4.2", note=note)


def repository(maker: Maker, name: str, artifacts: int, labels: Sequence[Any]) -> None:
    """A repository of so many versions, the newest of which is an index, signed and described."""
    tags = maker.versions(artifacts)
    for place, tag in enumerate(tags):
        latest = place == len(tags) - 1
        digest = maker.index(name, tag) if latest or place % 10 == 3 else maker.image(name, tag)
        if latest:
            maker.attach(name, digest, SIGNATURE)
            signed = maker.attach(name, digest, "application/spdx+json")
            maker.attach(name, signed, SIGNATURE)
            maker.label(name, tag, labels[0]["id"])
        elif place == len(tags) - 2:
            maker.label(name, tag, labels[1]["id"])
    maker.image(name, "latest", seed=f"{name}:{tags[-1]}")


def main() -> None:
    """Fill a registry by hand."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    for each in ("url", "user", "password"):
        parser.add_argument(each)
    for each, default in (("--projects", 30), ("--repositories", 13), ("--artifacts", 50)):
        parser.add_argument(each, type=int, default=default)
    given = parser.parse_args()
    fill(
        Maker(given.url, given.user, given.password),
        projects=given.projects,
        repositories=given.repositories,
        artifacts=given.artifacts,
    )


if __name__ == "__main__":
    main()
