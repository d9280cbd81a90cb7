"""Values that cross the border of `remotes`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

Origin = tuple[str, str | None, int | None]


def origin(url: str) -> Origin:
    """(scheme, host, port): what tells one server from another."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


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
