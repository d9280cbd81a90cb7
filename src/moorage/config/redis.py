"""Settings of the cache and of the Redis that replicas share.

redis://[user:password@]host[:6379][/db]                  plain
rediss://…                                                TLS
unix:///path/to/socket[?db=0]                             unix socket
redis+sentinel://[user:password@]host[:26379],host…/set[/db]   ask Sentinels for the primary
rediss+sentinel://…                                       the same under TLS
redis://host,host:6380…                                   nodes of a cluster, in turn
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
# Charts of other registries put these behind the URL; they mean nothing for one shared connection.
_IGNORED = {"idle_timeout_seconds", "pool_size"}


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is: a unix socket, one server, nodes of a cluster, or Sentinels."""

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None  # a unix socket
    service: str | None = None  # the set that the Sentinels watch
    tls: bool = False
    db: int = 0
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        """The address without its secrets."""
        if self.path:
            return f"unix:{self.path}"
        where = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{where}/{self.service}" if self.service else where

    __repr__ = __str__


def parse_redis_url(url: str) -> RedisAddress:
    """Read a Redis URL. Raises ValueError, without the URL in it: it may hold a password."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"a Redis URL starts with one of {', '.join(s + '://' for s in _SCHEMES)}")
    query = parse_qs(parts.query)
    unknown = set(query) - {"db"} - _IGNORED
    if unknown:
        raise ValueError(f"unknown Redis URL parameters: {', '.join(sorted(unknown))}")
    userinfo, _, netloc = parts.netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    common: dict[str, Any] = {
        "tls": parts.scheme.startswith("rediss"),
        "username": unquote(username) or None,
        "password": unquote(password) or None,
    }
    db = query["db"][0] if "db" in query else ""
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("a unix:// Redis URL needs the path of a socket")
        return RedisAddress(path=unquote(parts.path), db=_db(db), **common)
    segments = [part for part in parts.path.split("/") if part]
    sentinel = parts.scheme.endswith("+sentinel")
    if sentinel and not segments:
        raise ValueError("a Sentinel URL names the set to ask for: …://host:26379/set")
    service = segments.pop(0) if sentinel else None
    if len(segments) > 1:
        raise ValueError("a Redis URL ends with one database number")
    port = 26379 if sentinel else 6379
    hosts = tuple(_host(part, port) for part in netloc.split(","))
    if len(hosts) > 1 and not sentinel and (segments or db):
        raise ValueError("several hosts are nodes of a cluster, which has one database only")
    return RedisAddress(hosts, service=service, db=_db(segments[0] if segments else db), **common)


def _db(text: str) -> int:
    if text and not text.isdecimal():
        raise ValueError("the Redis database is a number")
    return int(text or 0)


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port or port
    except ValueError as error:
        raise ValueError("bad host or port in the Redis URL") from error
    if not host:
        raise ValueError("a Redis URL names a host")
    return host, port


class RedisSettings(BaseModel):
    """The Redis that replicas share as a cache. Losing it costs speed, nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: SecretStr = Field(
        description="Where Redis is: `redis://`, `rediss://`, `unix://` or `redis+sentinel://`; "
        "of a cluster some nodes, separated by commas."
    )
    username: str | None = Field(None, description="User name; goes before the one in the URL.")
    password: SecretStr | None = Field(None, description="Password; goes before that in the URL.")
    sentinel_username: str | None = Field(None, description="User name at the Sentinels.")
    sentinel_password: SecretStr | None = Field(None, description="Password at the Sentinels.")
    ca_file: Path | None = Field(
        None, description="PEM file of the authorities that sign the server's certificate."
    )
    cert_file: Path | None = Field(None, description="PEM file of the client's certificate.")
    key_file: Path | None = Field(None, description="PEM file of the client's private key.")
    verify: bool = Field(
        True, description="Whether the server's certificate and name are checked under TLS."
    )
    timeout_ms: int = Field(
        100,
        ge=5,
        le=5000,
        description="Milliseconds that a look-up may take before the database is asked instead.",
    )

    @field_validator("url")
    @classmethod
    def _parses(cls, value: SecretStr) -> SecretStr:
        parse_redis_url(value.get_secret_value())
        return value

    def address(self) -> RedisAddress:
        """The parsed URL, with the user name and password that go before its own."""
        parsed = parse_redis_url(self.url.get_secret_value())
        return RedisAddress(
            parsed.hosts,
            parsed.path,
            parsed.service,
            parsed.tls,
            parsed.db,
            self.username or parsed.username,
            self.password.get_secret_value() if self.password else parsed.password,
        )


class CacheSettings(BaseModel):
    """What is kept of the database's answers, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="Whether answers of the database are cached at all.")
    expire_hours: float = Field(
        24, gt=0, le=24 * 365, description="Hours after which a cached answer is asked for again."
    )
    local_entries: int = Field(
        100_000, ge=1, description="Most answers that one process keeps in memory."
    )
    local_bytes: int = Field(
        32 * 1024 * 1024, ge=0, description="Most bytes of answers that one process keeps."
    )
    payload_bytes: int = Field(
        32 * 1024 * 1024, ge=0, description="Most bytes of manifests that one process keeps."
    )
