"""Amazon ECR: what its own API is asked for, signed with an access key (AWS Signature Version 4).

    123456789012.dkr.ecr.eu-west-1.amazonaws.com   the registry of an account
    api.ecr.eu-west-1.amazonaws.com                its API, as Harbor names it: tells the registry
    public.ecr.aws                                 the public one, for nobody or with a key

GetAuthorizationToken    a password of twelve hours, and where the registry is
CreateRepository         before the first push into it
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from moorage.errors import Denied, Invalid, Unreachable
from moorage.remotes.records import Endpoint

if TYPE_CHECKING:
    from moorage.remotes.reading import Reading

HOST = re.compile(
    r"\d{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)"
)
API = re.compile(r"api\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
PUBLIC, PUBLIC_API = "public.ecr.aws", "api.ecr-public.us-east-1.amazonaws.com"
TARGET, PUBLIC_TARGET = "AmazonEC2ContainerRegistry_V20150921", "SpencerFrontendService"
LIVES = 11 * 3600.0
"""Seconds; the token's own twelve hours less one."""
ANSWER = 1 << 16
_WORD = re.compile(r"[^A-Za-z]")
_REGIONS = (
    "af-south-1",
    "ap-east-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-south-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "me-south-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
)
ENDPOINTS = {
    **{region: f"https://api.ecr.{region}.amazonaws.com" for region in _REGIONS},
    "cn-north-1": "https://api.ecr.cn-north-1.amazonaws.com.cn",
    "cn-northwest-1": "https://api.ecr.cn-northwest-1.amazonaws.com.cn",
    "public": f"https://{PUBLIC}",
}
"""Those that a form offers."""


@dataclass(frozen=True, slots=True)
class Service:
    """The API of a registry."""

    host: str
    region: str
    name: str = "ecr"  # that it signs under
    target: str = TARGET


async def login(endpoint: Endpoint, http: Any) -> tuple[str, str, float]:
    """Name and password for the registry, and the seconds that they live."""
    service = _service(endpoint)
    if service is None:
        # A gateway in front of it, or a test: what was registered is its password.
        return endpoint.username, endpoint.password, LIVES
    said = await _authorization(service, endpoint, http)
    try:
        username, _, password = base64.b64decode(said["authorizationToken"]).decode().partition(":")
    except (LookupError, TypeError, ValueError):
        raise Unreachable(f"{service.host} answers without a password") from None
    return username, password, LIVES


async def locate(endpoint: Endpoint, http: Any) -> str:
    """The address of the registry; asked for where that of its API is registered."""
    service = _service(endpoint)
    if service is None or API.fullmatch(_host(endpoint.url)) is None:
        return endpoint.url
    if not endpoint.password:
        raise Denied(f"{service.host} tells nobody his registry without an access key")
    said = await _authorization(service, endpoint, http)
    url = str(said.get("proxyEndpoint", "")).rstrip("/")
    found = HOST.fullmatch(url.removeprefix("https://"))
    if not url.startswith("https://") or found is None or found[1] != service.region:
        raise Unreachable(f"{service.host} names no registry of its region")
    return url


async def _authorization(service: Service, endpoint: Endpoint, http: Any) -> dict[str, Any]:
    body = b"{}"
    headers = _headers(service, "GetAuthorizationToken", endpoint, body)
    answer = await http.post(f"https://{service.host}/", content=body, headers=headers)
    if answer.status_code != 200 or len(answer.content) > ANSWER:
        raise Denied(
            f"{service.host} gives no password for {endpoint.host}: it answers {answer.status_code}"
        )
    try:
        said = orjson.loads(answer.content)["authorizationData"]
        found = said if isinstance(said, dict) else said[0]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        found = None
    if not isinstance(found, dict):
        raise Unreachable(f"{service.host} answers without a password")
    return found


async def ensure(remote: "Reading", repository: str) -> None:
    """Make a repository unless it is there: a push makes none."""
    service = _service(remote.endpoint)
    if service is None or not remote.endpoint.password:
        return
    # The public one has each account's repositories under an alias, which their names lack.
    name = repository.partition("/")[2] if service.target == PUBLIC_TARGET else repository
    body = orjson.dumps({"repositoryName": name})
    answer, said = await remote.json(
        "POST",
        f"https://{service.host}/",
        ANSWER,
        headers=_headers(service, "CreateRepository", remote.endpoint, body),
        content=body,
        expect=(200, 400),
    )
    kind = str(said.get("__type", "")) if isinstance(said, dict) else ""
    if answer.status_code == 400 and "RepositoryAlreadyExists" not in kind:
        raise Denied(f"{service.host} makes no repository {repository}: {_WORD.sub('', kind)[:80]}")


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _service(endpoint: Endpoint) -> Service | None:
    """The registry's own API; None: it is behind something else."""
    host = _host(endpoint.url)
    if host == PUBLIC:
        return Service(PUBLIC_API, "us-east-1", "ecr-public", PUBLIC_TARGET)
    if (api := API.fullmatch(host)) is not None:
        return Service(host, api[1])
    if (found := HOST.fullmatch(host)) is None:
        return None
    suffix = "amazonaws.com.cn" if host.endswith(".cn") else "amazonaws.com"
    return Service(f"api.ecr.{found[1]}.{suffix}", found[1])


def _headers(service: Service, action: str, endpoint: Endpoint, body: bytes) -> dict[str, str]:
    account = endpoint.username, endpoint.password
    return signed(service, *account, body, datetime.now(UTC), action)


def signed(
    service: Service,
    key: str,
    secret: str,
    body: bytes,
    moment: datetime,
    action: str = "GetAuthorizationToken",
) -> dict[str, str]:
    """The headers of a request to ECR's own API, signed."""
    if not key.isascii() or not key.isalnum():
        raise Invalid("the access key of ECR is letters and digits")
    stamp, day = f"{moment:%Y%m%dT%H%M%SZ}", f"{moment:%Y%m%d}"
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": service.host,
        "x-amz-date": stamp,
        "x-amz-target": f"{service.target}.{action}",
    }
    names = ";".join(headers)
    canonical = "\n".join(
        (
            "POST",
            "/",
            "",
            *(f"{name}:{value}" for name, value in headers.items()),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{day}/{service.region}/{service.name}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, digest))
    signing = f"AWS4{secret}".encode()
    for part in (day, service.region, service.name, "aws4_request"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    signature = hmac.digest(signing, text.encode(), "sha256").hex()
    credential = f"Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}
