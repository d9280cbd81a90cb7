"""The registries of clouds, on this machine: each signs in and lists as its documentation says.

    Cloud(FACTS["quay"], authority)    TLS under the real names, one port for all of them
    Detour(cloud.port, …)              a guard whose every connection ends there

Tokens hold the scopes that they were asked for and open nothing else. Whatever is asked stays in
`requests`, so that a test sees which of the hosts were told a secret.
"""

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.certificates import Authority
from tests.support.otherregistry import Answer, OtherRegistry, Request

from moorage.outgoing import Guard


@dataclass(frozen=True)
class Facts:
    """One kind of registry."""

    kind: str
    host: str
    account: tuple[str, str]
    realm: str = ""  # of its Bearer tokens; empty: it takes Basic alone
    service: str = ""
    answer: str = "token"  # under which name a token service answers
    expires: int | None = 300  # seconds; None: it does not say
    basic: bool = False  # whether the registry itself takes the password too
    catalog: str = ""  # v2, hub, quay, gitlab or none
    api: str = ""  # host of what else it has
    entry: str = ""  # host that it is registered under, if that is another one

    @property
    def hosts(self) -> set[str]:
        """Every name that it answers under."""
        return {self.host, self.api, urlsplit(self.realm).netloc} - {""}


_ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
_ECR_API = "api.ecr.eu-west-1.amazonaws.com"
_ALI = "registry.cn-hangzhou.aliyuncs.com"

CLOUDS = (
    Facts(
        "docker-hub",
        "registry-1.docker.io",
        ("someone", "dckr_pat_secret"),
        "https://auth.docker.io/token",
        "registry.docker.io",
        catalog="hub",
        api="hub.docker.com",
    ),
    Facts(
        "github-ghcr",
        "ghcr.io",
        ("someone", "ghp_secret"),
        "https://ghcr.io/token",
        "ghcr.io",
        expires=None,
    ),
    Facts(
        "gitlab",
        "registry.gitlab.com",
        ("someone", "glpat-secret"),
        "https://gitlab.com/jwt/auth",
        "container_registry",
        expires=None,
        catalog="gitlab",
        api="gitlab.com",
    ),
    Facts(
        "quay",
        "quay.io",
        ("org+robot", "secret"),
        "https://quay.io/v2/auth",
        "quay.io",
        expires=None,
        catalog="quay",
    ),
    Facts(
        "aws-ecr",
        _ECR,
        ("AKIAEXAMPLE", "secret"),
        basic=True,
        catalog="v2",
        api=_ECR_API,
    ),
    Facts(  # as Harbor names it
        "aws-ecr",
        _ECR,
        ("AKIAEXAMPLE", "secret"),
        basic=True,
        catalog="v2",
        api=_ECR_API,
        entry=_ECR_API,
    ),
    Facts(
        "aws-ecr",
        "public.ecr.aws",
        ("AKIAEXAMPLE", "secret"),
        "https://public.ecr.aws/token/",
        "public.ecr.aws",
        api="api.ecr-public.us-east-1.amazonaws.com",
    ),
    Facts(
        "azure-acr",
        "acme.azurecr.io",
        ("principal", "secret"),
        "https://acme.azurecr.io/oauth2/token",
        "acme.azurecr.io",
        answer="access_token",
        expires=None,
        catalog="v2",
    ),
    Facts(
        "google-gcr",
        "gcr.io",
        ("_json_key", '{"type": "service_account",\n"private_key": "secret"}'),
        "https://gcr.io/v2/token",
        "gcr.io",
        basic=True,
        catalog="v2",
    ),
    Facts(  # Artifact Registry, whose first challenge names no service
        "google-gcr",
        "europe-west1-docker.pkg.dev",
        ("_json_key", '{"type": "service_account"}'),
        "https://europe-west1-docker.pkg.dev/v2/token",
        "",
    ),
    Facts(
        "ali-acr",
        _ALI,
        ("someone@acme", "secret"),
        "https://dockerauth.cn-hangzhou.aliyuncs.com/auth",
        "registry.aliyuncs.com:cn-hangzhou:26842",
    ),
    Facts(
        "tencent-tcr",
        "acme.tencentcloudcr.com",
        ("100000000001", "secret"),
        "https://acme.tencentcloudcr.com/service/token",
        "harbor-registry",
    ),
    Facts(
        "huawei-SWR",
        "swr.cn-north-4.myhuaweicloud.com",
        ("cn-north-4@AK", "secret"),
        "https://swr.cn-north-4.myhuaweicloud.com/swr/auth/v2/registry/auth",
        "dockyard",
        basic=True,
    ),
    Facts(
        "jfrog-artifactory",
        "acme.jfrog.io",
        ("someone", "secret"),
        "https://acme.jfrog.io/artifactory/api/docker/docker-local/v2/token",
        "acme.jfrog.io",
        basic=True,
        catalog="v2",
    ),
)


class Detour(Guard):
    """Every name leads to one port of this machine; certificates are checked all the same."""

    def __init__(self, port: int, authority: Path) -> None:
        super().__init__((), authority)
        self._port = port

    async def addresses(
        self, host: str, port: int, *, datagrams: bool = False
    ) -> list[tuple[int, Any]]:
        return [(socket.AF_INET, ("127.0.0.1", self._port))]


@dataclass
class Cloud(OtherRegistry):
    """One of them."""

    facts: Facts = CLOUDS[0]
    made: set[str] = field(default_factory=set)  # repositories that were made before a push
    proxy: str = ""  # where ECR says that the registry is, if it lies
    secret: str = "of-twelve-hours"  # the password that ECR sells

    @asynccontextmanager
    async def running(self, authority: Authority) -> AsyncIterator[Detour]:
        """Serve; yields the guard that leads here."""
        self.tls = authority.server_context(*self.facts.hosts)
        async with self.serving():
            yield Detour(urlsplit(self.url).port or 0, authority.path)

    def told(self, secret: str) -> set[str]:
        """Hosts that a secret was sent to."""
        return {
            each.headers["host"]
            for each in self.requests
            if secret in each.body.decode(errors="replace")
            or any(secret in _plain(value) for value in each.headers.values())
        }

    def _answer(self, request: Request) -> Answer:
        host, facts = request.headers["host"], self.facts
        if facts.realm and f"https://{host}{request.path}" == facts.realm:
            return self._sell(request)
        if host == facts.api or (facts.catalog == "quay" and request.path.startswith("/api/")):
            handler: Any = getattr(self, f"_{facts.kind.replace('-', '_')}")
            answer: Answer = handler(request)
            return answer
        if host != facts.host:
            return Answer(421)
        starting = request.method == "POST" and request.path.startswith("/v2/")
        if facts.kind == "aws-ecr" and starting and _repository(request.path) not in self.made:
            return Answer(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}')
        self.catalog = facts.catalog == "v2"
        return super()._answer(request)

    def _challenge(self, request: Request) -> Answer | None:
        held, facts = request.headers.get("authorization", ""), self.facts
        wanted = _wanted(request)
        if held.startswith("Bearer "):
            scopes = json.loads(base64.urlsafe_b64decode(held.removeprefix("Bearer ")))
            if not wanted or any(_covers(scope, wanted) for scope in scopes):
                return None
        elif held and facts.basic and self._known(request):
            return None
        if not facts.realm:
            said = f'Basic realm="https://{facts.host}/",service="ecr.amazonaws.com"'
        else:
            service = f',service="{facts.service}"' if facts.service else ""
            scope = f',scope="{wanted}"' if wanted else ""
            said = f'Bearer realm="{facts.realm}"{service}{scope}'
        error = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        return Answer(401, error, {"www-authenticate": said})

    def _known(self, request: Request) -> bool:
        account = ("AWS", self.secret) if self.facts.kind == "aws-ecr" else self.facts.account
        return _plain(request.headers["authorization"]) == ":".join(account)

    def _sell(self, request: Request) -> Answer:
        signed = "authorization" in request.headers
        service = request.query.get("service", [""])[0]
        if service != self.facts.service or (signed and not self._known(request)):
            return Answer(401, b'{"details":"incorrect username or password"}')
        scopes = [each for each in request.query.get("scope", []) if signed or "push" not in each]
        token = base64.urlsafe_b64encode(json.dumps(scopes).encode()).decode()
        said: dict[str, Any] = {self.facts.answer: token}
        if self.facts.expires is not None:
            said["expires_in"] = self.facts.expires
        return Answer(200, json.dumps(said).encode())

    # --- lists

    @property
    def _repositories(self) -> list[str]:
        return sorted({name for name, _ in self.manifests})

    def _docker_hub(self, request: Request) -> Answer:
        """Pages of two; the rest of the address is in `next`."""
        namespace = request.path.split("/")[3]
        names = [each for each in self._repositories if each.startswith(f"{namespace}/")]
        page = int(request.query.get("page", ["1"])[0])
        some = names[page * 2 - 2 : page * 2]
        following = f"https://{self.facts.api}{request.path}?page={page + 1}&page_size=100"
        document = {
            "count": len(names),
            "next": following if names[page * 2 :] else None,
            "previous": None,
            "results": [{"name": each.split("/")[1], "namespace": namespace} for each in some],
        }
        return Answer(200, json.dumps(document).encode())

    def _gitlab(self, request: Request) -> Answer:
        if request.headers.get("private-token") != self.facts.account[1]:
            return Answer(401, b'{"message":"401 Unauthorized"}')
        if request.path != "/api/v4/groups/org/registry/repositories":
            return Answer(404, b'{"message":"404 Group Not Found"}')
        page = int(request.query.get("page", ["1"])[0])
        some = self._repositories[page * 2 - 2 : page * 2]
        rows = [{"id": 1, "name": "", "path": each, "location": ""} for each in some]
        return Answer(200, json.dumps(rows).encode())

    def _quay(self, request: Request) -> Answer:
        if request.query.get("namespace") != ["org"]:
            return Answer(400, b'{"error_message":"namespace is needed"}')
        start = int(request.query.get("next_page", ["0"])[0])
        rows = [{"namespace": "org", "name": each[4:]} for each in self._repositories]
        document: dict[str, Any] = {"repositories": rows[start : start + 2]}
        if rows[start + 2 :]:
            document["next_page"] = str(start + 2)
        return Answer(200, json.dumps(document).encode())

    # --- ECR's own API

    def _aws_ecr(self, request: Request) -> Answer:
        host = self.facts.host
        if not _signed(request, self.facts.account[1]):
            return Answer(400, b'{"__type":"InvalidSignatureException"}')
        action = request.headers["x-amz-target"].rpartition(".")[2]
        if action == "GetAuthorizationToken":
            token = base64.b64encode(f"AWS:{self.secret}".encode()).decode()
            data = {"authorizationToken": token, "proxyEndpoint": self.proxy or f"https://{host}"}
            said = {"authorizationData": data if host == "public.ecr.aws" else [data]}
            return Answer(200, json.dumps(said).encode())
        name = json.loads(request.body)["repositoryName"]
        if "Spencer" in request.headers["x-amz-target"]:
            name = f"org/{name}"  # the alias of whose key this is
        if name in self.made:
            return Answer(400, b'{"__type":"RepositoryAlreadyExistsException"}')
        self.made.add(name)
        return Answer(200, b'{"repository":{}}')


def _plain(header: str) -> str:
    """A header as text; of Basic, what is in it."""
    scheme, _, rest = header.partition(" ")
    return base64.b64decode(rest).decode() if scheme == "Basic" else header


def _repository(path: str) -> str:
    for end in ("/manifests/", "/blobs/", "/tags/", "/referrers/"):
        if end in path:
            return path.removeprefix("/v2/").partition(end)[0]
    return ""


def _wanted(request: Request) -> str:
    """The scope that a request needs; none for `/v2/`."""
    if request.path == "/v2/_catalog":
        return "registry:catalog:*"
    name = _repository(request.path)
    writes = request.method in ("POST", "PUT", "PATCH")
    return f"repository:{name}:{'pull,push' if writes else 'pull'}" if name else ""


def _covers(scope: str, wanted: str) -> bool:
    kind, _, rest = wanted.partition(":")
    name, _, actions = rest.rpartition(":")
    begins = f"{kind}:{name}:"
    held = set(scope.removeprefix(begins).split(","))
    return scope.startswith(begins) and set(actions.split(",")) <= held


def _signed(request: Request, secret: str) -> bool:
    """Whether AWS Signature Version 4 holds for what arrived (AWS, "Signature Version 4")."""
    fields = dict(
        part.strip().split("=", 1)
        for part in request.headers["authorization"].partition(" ")[2].split(",")
    )
    names = fields["SignedHeaders"].split(";")
    canonical = [request.method, request.path, ""]
    canonical += [f"{name}:{request.headers[name].strip()}" for name in names]
    canonical += ["", fields["SignedHeaders"], hashlib.sha256(request.body).hexdigest()]
    _, *scope = fields["Credential"].split("/")
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", request.headers["x-amz-date"], "/".join(scope), hashed))
    key = f"AWS4{secret}".encode()
    for part in (*scope, ""):
        if part:
            key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), fields["Signature"])
