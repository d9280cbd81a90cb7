"""Amazon ECR: what its own API is asked for, signed with an access key (AWS Signature Version 4).

GetAuthorizationToken    a password of twelve hours
CreateRepository         before the first push into it
"""

import base64
import hashlib
import hmac
import re
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
TARGET = "AmazonEC2ContainerRegistry_V20150921"
LIVES = 11 * 3600.0
"""Seconds; the token's own twelve hours less one."""
ANSWER = 1 << 16
_WORD = re.compile(r"[^A-Za-z]")


async def login(endpoint: Endpoint, http: Any) -> tuple[str, str, float]:
    """Name and password for the registry, and the seconds that they live."""
    service = _service(endpoint)
    if service is None:
        # A gateway in front of it, or a test: what was registered is its password.
        return endpoint.username, endpoint.password, LIVES
    body = b"{}"
    headers = _headers(service, "GetAuthorizationToken", endpoint, body)
    answer = await http.post(f"https://{service[0]}/", content=body, headers=headers)
    if answer.status_code != 200 or len(answer.content) > ANSWER:
        raise Denied(
            f"{service[0]} gives no password for {endpoint.host}: it answers {answer.status_code}"
        )
    try:
        token = orjson.loads(answer.content)["authorizationData"][0]["authorizationToken"]
        username, _, password = base64.b64decode(token).decode().partition(":")
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        raise Unreachable(f"{service[0]} answers without a password") from None
    return username, password, LIVES


async def ensure(remote: "Reading", repository: str) -> None:
    """Make a repository unless it is there: a push makes none."""
    service = _service(remote.endpoint)
    if service is None:
        return
    body = orjson.dumps({"repositoryName": repository})
    answer, said = await remote.json(
        "POST",
        f"https://{service[0]}/",
        ANSWER,
        headers=_headers(service, "CreateRepository", remote.endpoint, body),
        content=body,
        expect=(200, 400),
    )
    kind = str(said.get("__type", "")) if isinstance(said, dict) else ""
    if answer.status_code == 400 and "RepositoryAlreadyExists" not in kind:
        raise Denied(f"{service[0]} makes no repository {repository}: {_WORD.sub('', kind)[:80]}")


def _service(endpoint: Endpoint) -> tuple[str, str] | None:
    """Host of the registry's own API, and its region; None: it is behind something else."""
    host = urlsplit(endpoint.url).hostname or ""
    region = HOST.fullmatch(host)
    if region is None:
        return None
    suffix = "amazonaws.com.cn" if host.endswith(".cn") else "amazonaws.com"
    return f"api.ecr.{region[1]}.{suffix}", region[1]


def _headers(
    service: tuple[str, str], action: str, endpoint: Endpoint, body: bytes
) -> dict[str, str]:
    account = endpoint.username, endpoint.password
    return signed(*service, *account, body, datetime.now(UTC), action)


def signed(
    host: str,
    region: str,
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
        "host": host,
        "x-amz-date": stamp,
        "x-amz-target": f"{TARGET}.{action}",
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
    scope = f"{day}/{region}/ecr/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, digest))
    signing = f"AWS4{secret}".encode()
    for part in (day, region, "ecr", "aws4_request"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    signature = hmac.digest(signing, text.encode(), "sha256").hex()
    credential = f"Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}
