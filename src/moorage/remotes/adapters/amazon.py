"""Amazon ECR: a password of twelve hours, bought with an access key (AWS Signature Version 4)."""

import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from moorage.errors import Denied, Invalid, Unreachable
from moorage.remotes.records import Endpoint

HOST = re.compile(
    r"\d{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)"
)
TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
LIVES = 11 * 3600.0
"""Seconds; the token's own twelve hours less one."""
ANSWER = 1 << 16


async def login(endpoint: Endpoint, http: Any) -> tuple[str, str, float]:
    """Name and password for the registry, and the seconds that they live."""
    host = urlsplit(endpoint.url).hostname or ""
    region = HOST.fullmatch(host)
    if region is None:
        # A gateway in front of it, or a test: what was registered is its password.
        return endpoint.username, endpoint.password, LIVES
    suffix = "amazonaws.com.cn" if host.endswith(".cn") else "amazonaws.com"
    api = f"api.ecr.{region[1]}.{suffix}"
    body = b"{}"
    headers = signed(api, region[1], endpoint.username, endpoint.password, body, datetime.now(UTC))
    answer = await http.post(f"https://{api}/", content=body, headers=headers)
    if answer.status_code != 200 or len(answer.content) > ANSWER:
        raise Denied(f"{api} gives no password for {host}: it answers {answer.status_code}")
    try:
        token = orjson.loads(answer.content)["authorizationData"][0]["authorizationToken"]
        username, _, password = base64.b64decode(token).decode().partition(":")
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        raise Unreachable(f"{api} answers without a password") from None
    return username, password, LIVES


def signed(
    host: str, region: str, key: str, secret: str, body: bytes, moment: datetime
) -> dict[str, str]:
    """The headers of a request to ECR's own API, signed."""
    if not key.isascii() or not key.isalnum():
        raise Invalid("the access key of ECR is letters and digits")
    stamp, day = f"{moment:%Y%m%dT%H%M%SZ}", f"{moment:%Y%m%d}"
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": host,
        "x-amz-date": stamp,
        "x-amz-target": TARGET,
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
