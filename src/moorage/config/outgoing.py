"""Settings of connections to other servers, and how a proxy between is written.

http_proxy, https_proxy    http://[user:password@]host[:80], https://[user:password@]host[:443]

no_proxy    example.com      that name and those below it
            .example.com     those below it only, as *.example.com
            10.0.0.0/8       addresses of that network, where a URL has an address
            10.1.2.3, ::1    that address
            *                everything
            …:8443           each of them may end with a port: [::1]:8443
"""

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

PORTS = {"http": 80, "https": 443}
"""Of a URL that names none."""
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_WITH_PORT = re.compile(r"(?P<host>\[[^]]*\]|[^:]*):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """A proxy, and who we are to it."""

    tls: bool
    host: str
    port: int
    account: tuple[str, str] | None = None  # user name and password

    def __str__(self) -> str:
        """The address without its secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    __repr__ = __str__


def parse_proxy(url: str) -> ProxyAddress:
    """Read the URL of a proxy. Raises ValueError, without the URL in it: it may hold a password."""
    refused = ValueError(
        "give http://host:port or https://host:port, before the host user:password@ where the "
        "proxy asks for it, with %40 for @, %2F for / and the like in both"
    )
    if not url.isascii() or not url.isprintable() or " " in url:
        raise refused
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise refused from None
    if parts.scheme not in PORTS or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise refused
    if port == 0 or not (_NAME.fullmatch(host) or literal(host)):
        raise refused
    userinfo, given, _ = parts.netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    account = (unquote(username), unquote(password)) if given else None
    return ProxyAddress(parts.scheme == "https", host, port or PORTS[parts.scheme], account)


@dataclass(frozen=True, slots=True)
class Bypass:
    """Servers that are reached without a proxy: of a network, or of a name; else every one."""

    network: IPv4Network | IPv6Network | None = None
    name: str = ""
    below_only: bool = False  # not the name itself
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        """Whether a server is one of them; `host` is in small letters, IPv6 without brackets."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            address = literal(host)
            return address is not None and address in self.network
        host = host.rstrip(".")
        same = host == self.name and not self.below_only
        return not self.name or same or host.endswith(f".{self.name}")


def parse_bypass(text: str) -> Bypass:
    """Read an entry of `no_proxy`; raises ValueError."""
    host, port = text.strip().lower(), None
    if not literal(host) and (found := _WITH_PORT.fullmatch(host)):
        host, port = found["host"], int(found["port"])
    host = host.removeprefix("[").removesuffix("]")
    if host == "*":
        return Bypass(port=port)
    try:
        return Bypass(network=ip_network(host, strict=False), port=port)
    except ValueError:
        below = host.startswith((".", "*."))
        name = (host.partition(".")[2] if below else host).removesuffix(".")
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{text[:100]!r} is no host: give a name, .name for all below it, an address, "
            "a network or *, each with :port or without"
        )
    return Bypass(name=name, below_only=below, port=port)


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, without brackets; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


class OutgoingSettings(BaseModel):
    """Connections to other servers: sign-in providers, scanners, syslog and the like."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )

    allow: tuple[IPv4Network | IPv6Network, ...] = Field(
        (),
        description="Networks beside the public Internet that this server may connect to, such as "
        "`10.0.0.0/8`. What users or other servers name reaches nothing else.",
    )
    ca_file: Path | None = Field(
        None, description="Certificates of authorities to trust beside those of the system, PEM."
    )
    http_proxy: SecretStr | None = Field(
        None,
        description="The proxy for URLs with `http://`, such as `http://proxy.example.com:3128`, "
        "with `user:password@` before the host where it asks for it.",
    )
    https_proxy: SecretStr | None = Field(
        None,
        description="The proxy for URLs with `https://`, written the same way. It is asked for a "
        "tunnel, and reads nothing of what goes through.",
    )
    no_proxy: tuple[str, ...] = Field(
        (),
        description="Servers that are reached without the proxy: `example.com` with all below it, "
        "`.example.com` for those below it alone, addresses, networks such as `10.0.0.0/8` for "
        "URLs with an address, or `*`; each with `:port` or without. Names without a dot and "
        "this machine itself never go through it.",
    )

    @field_validator("http_proxy", "https_proxy")
    @classmethod
    def _proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        parse_proxy(value.get_secret_value())
        return value

    @field_validator("no_proxy")
    @classmethod
    def _bypasses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        named = tuple(entry for entry in value if entry.strip())
        for entry in named:
            parse_bypass(entry)
        return named
