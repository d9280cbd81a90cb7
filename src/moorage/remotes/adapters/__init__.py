"""What is particular about each kind of registry: the table ADAPTERS.

    kind              signs in with               lists repositories with
    docker-registry   what the challenge asks     /v2/_catalog
    harbor            Basic                       its REST API; makes projects, deletes tags
    docker-hub        tokens of auth.docker.io    hub.docker.com, by namespace
    github-ghcr       tokens of its own           nothing: names are given
    gitlab            tokens of gitlab.com        its REST API
    quay              tokens of its own           its REST API, by namespace
    aws-ecr           a password of 12 hours      /v2/_catalog; makes repositories
    azure-acr         Basic                       /v2/_catalog
    google-gcr        Basic                       /v2/_catalog; Artifact Registry has none
    ali-acr           tokens of aliyuncs.com      nothing: names are given
    tencent-tcr       tokens of its own           nothing: names are given
    huawei-SWR        tokens of its own           nothing: names are given
    volcengine-cr     tokens of its own           nothing: names are given
    jfrog-artifactory Basic                       /v2/_catalog

Where nothing lists them, a filter names repositories without wildcards, or with braces.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moorage.errors import Invalid
from moorage.remotes.adapters import amazon, catalogs, harbor
from moorage.remotes.records import Endpoint

if TYPE_CHECKING:
    from moorage.remotes.reading import Reading

Catalog = Callable[["Reading", str], Awaitable[Sequence[str]]]
"""Repositories; the text is the part of their names before the first wildcard."""

GENERIC, HARBOR, HUB = "docker-registry", "harbor", "docker-hub"


@dataclass(frozen=True)
class Adapter:
    """One kind."""

    title: str
    basic: bool = False  # the password may go along with the first request
    realms: tuple[str, ...] = ()  # hosts whose tokens are this service's, or ends of hosts
    catalog: Catalog | None = catalogs.generic
    login: Callable[[Endpoint, Any], Awaitable[tuple[str, str, float]]] | None = None
    locate: Callable[[Endpoint, Any], Awaitable[str]] | None = None  # the registry, by its API
    ping: Callable[["Reading"], Awaitable[None]] | None = None
    has_project: Callable[["Reading", str], Awaitable[bool]] | None = None  # that of a repository
    ensure: Callable[["Reading", str], Awaitable[None]] | None = None  # makes it, or the repository
    delete_tag: Callable[["Reading", str, str], Awaitable[None]] | None = None
    endpoints: Mapping[str, str] | None = None  # where instances of it are, by a name
    proxied: bool = False  # projects may be a cache of it
    labels: bool = False  # its artifacts have labels that are known here


ADAPTERS: Mapping[str, Adapter] = {
    GENERIC: Adapter("Docker Registry", proxied=True),
    HARBOR: Adapter(
        "Harbor",
        basic=True,
        catalog=harbor.catalog,
        ping=harbor.ping,
        has_project=harbor.has_project,
        ensure=harbor.ensure,
        delete_tag=harbor.delete_tag,
        proxied=True,
    ),
    HUB: Adapter(
        "Docker Hub",
        realms=("auth.docker.io",),
        catalog=catalogs.hub,
        endpoints={"hub.docker.com": "https://registry-1.docker.io"},
        proxied=True,
    ),
    "github-ghcr": Adapter(
        "GitHub GHCR", catalog=None, endpoints={"ghcr.io": "https://ghcr.io"}, proxied=True
    ),
    "gitlab": Adapter(
        "GitLab",
        realms=("gitlab.com",),
        catalog=catalogs.gitlab,
        endpoints={"gitlab.com": "https://registry.gitlab.com"},
        proxied=True,
    ),
    "quay": Adapter(
        "Quay", catalog=catalogs.quay, endpoints={"quay.io": "https://quay.io"}, proxied=True
    ),
    "aws-ecr": Adapter(
        "AWS ECR",
        basic=True,
        login=amazon.login,
        locate=amazon.locate,
        ensure=amazon.ensure,
        endpoints=amazon.ENDPOINTS,
        proxied=True,
    ),
    "azure-acr": Adapter("Azure ACR", proxied=True),
    "google-gcr": Adapter(
        "Google GCR",
        basic=True,
        endpoints={
            "gcr.io": "https://gcr.io",
            "us.gcr.io": "https://us.gcr.io",
            "eu.gcr.io": "https://eu.gcr.io",
            "asia.gcr.io": "https://asia.gcr.io",
        },
        proxied=True,
    ),
    "ali-acr": Adapter("Alibaba ACR", realms=(".aliyuncs.com",), catalog=None, proxied=True),
    "tencent-tcr": Adapter("Tencent TCR", realms=(".tencentcloudcr.com",), catalog=None),
    "huawei-SWR": Adapter("Huawei SWR", realms=(".myhuaweicloud.com",), catalog=None),
    "volcengine-cr": Adapter("Volcengine CR", realms=(".volces.com",), catalog=None),
    "jfrog-artifactory": Adapter("JFrog Artifactory", basic=True, proxied=True),
}


def of(kind: str) -> Adapter:
    """The adapter of a kind; raises Invalid."""
    if kind not in ADAPTERS:
        raise Invalid(f"unknown type of registry {kind[:64]!r}; use one of {', '.join(ADAPTERS)}")
    return ADAPTERS[kind]
