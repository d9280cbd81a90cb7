"""Values that cross the border of `remotes`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from moorage.errors import Unreachable

Origin = tuple[str, str | None, int | None]


def origin(url: str) -> Origin:
    """(scheme, host, port): what tells one server from another; raises Unreachable."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        raise Unreachable("a registry names an address that is none") from None
    return parts.scheme, parts.hostname, port


def joined(base: str, target: str) -> str:
    """Where a header of an answer leads; raises Unreachable for what is no web address."""
    try:
        found = urljoin(base, target)
    except ValueError:
        raise Unreachable("a registry names an address that is none") from None
    scheme, host, _ = origin(found)
    if scheme not in ("http", "https") or not host:
        raise Unreachable("a registry names an address that is none")
    return found


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a registry, and as whom."""

    kind: str
    url: str  # without a slash at its end
    username: str = ""
    password: str = field(default="", repr=False)
    insecure: bool = False
    ca: str = ""  # PEM; empty: the authorities of this machine

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc


@dataclass(slots=True)
class Traits:
    """What a registry was found to do; None: not known yet."""

    takes_at_once: bool | None = None  # stores a blob that comes with the POST
    lists_referrers: bool | None = None
    mounts: bool | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that is registered."""

    id: int
    name: str
    description: str
    kind: str
    url: str
    credential_type: str
    username: str
    insecure: bool
    ca_certificate: str
    status: str  # healthy, unhealthy, or empty: not looked at yet
    created_at: datetime
    updated_at: datetime
    sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """What an administrator says of a registry. None: as before."""

    name: str | None = None
    description: str | None = None
    kind: str | None = None
    url: str | None = None
    credential_type: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    insecure: bool | None = None
    ca_certificate: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest whose bytes have this digest."""

    digest: str
    media_type: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """What a registry says of a manifest without sending it."""

    digest: str
    media_type: str = ""
    size: int = 0  # bytes; 0: it does not say
    artifact_type: str = ""
    annotations: Mapping[str, Any] = field(default_factory=dict)
