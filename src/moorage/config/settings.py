"""All settings, as one frozen tree.

[http]  [database]  [storage]  [redis]  [cache]  [auth]  [gc]  [uploads]  [log]
[metrics]  [health]  [trace]  [jobs]  [webhooks]  [remotes]  [proxy]  [portal]  [outgoing]
[usage]  [configuration]
"""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from moorage.config.auth import AuthSettings
from moorage.config.configuration import Configuration
from moorage.config.database import DatabaseSettings
from moorage.config.health import HealthSettings, MetricsSettings
from moorage.config.jobs import JobSettings
from moorage.config.outgoing import OutgoingSettings
from moorage.config.portal import PortalSettings
from moorage.config.proxy import ProxySettings
from moorage.config.redis import CacheSettings, RedisSettings
from moorage.config.remotes import RemoteSettings
from moorage.config.storage import StorageSettings
from moorage.config.trace import TraceSettings
from moorage.config.usage import UsageSettings
from moorage.config.webhooks import WebhookSettings


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class HttpSettings(_Section):
    """Where the server listens, and how clients reach it."""

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on; `0.0.0.0` for all, empty for all of IPv4 and IPv6.",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on.")
    cert_file: Path | None = Field(
        None,
        description="Certificate to answer HTTPS with, PEM, with those between it and its "
        "authority; read again when it changes. Unset, plain HTTP.",
    )
    key_file: Path | None = Field(None, description="Private key of that certificate, PEM.")
    external_url: str = Field(
        "", description="The URL that clients use; unset, what each request says."
    )
    relative_locations: bool = Field(
        True, description="Send `Location` without scheme and host, which survives every proxy."
    )
    accel_redirect: str = Field(
        "", description="Prefix of nginx's internal location over the blob directory."
    )
    grace_seconds: float = Field(
        25.0, ge=0, description="How long running requests may take to end after SIGTERM."
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."
    )
    notice: str = Field("", description="A text for every user, sent as a `Warning` header.")

    @field_validator("external_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("external_url starts with http:// or https://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _certificate(self) -> "HttpSettings":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("`cert_file` and `key_file` belong together; one of them is unset")
        return self


class GcSettings(_Section):
    """The collector, which runs by itself."""

    enabled: bool = Field(True, description="Whether this process collects garbage.")
    lease_seconds: float = Field(
        86400.0,
        ge=0,
        description="How long a pushed blob that no manifest names stays pushable; "
        "at least an hour unless only this machine can connect.",
    )
    drain_seconds: float = Field(
        3600.0, ge=0, description="How long unneeded bytes stay, so that running pulls finish."
    )
    trash_seconds: float = Field(
        86400.0, ge=0, description="How long a deleted artifact can be restored."
    )
    untagged_seconds: float = Field(
        7200.0,
        ge=0,
        description="How long after its last push an artifact without a tag is left alone when a "
        "collection deletes those: an index may be about to name it.",
    )
    scrub_bytes_per_second: int | None = Field(
        None,
        ge=0,
        description="How fast stored bytes are read and compared with their digests, week by "
        "week; 0 for never. Unset, 4 MiB in a folder, and never in a bucket, where reading costs.",
    )
    interval_seconds: float = Field(60.0, gt=0, description="Pause between two runs.")
    batch: int = Field(100, ge=1, le=10000, description="Candidates looked at in one run.")


class UploadSettings(_Section):
    """Pushes."""

    age_seconds: float = Field(
        86400.0, gt=0, description="How long an upload may rest before it is ended."
    )
    max_blob_bytes: int | None = Field(
        None, gt=0, description="Largest blob, in bytes; unset, no limit."
    )
    stall_seconds: float = Field(
        60.0, ge=1, description="How long a push may bring next to nothing before it is broken off."
    )
    chunk_min_bytes: int = Field(
        0,
        ge=0,
        description="Least bytes of a chunk, told to clients as `OCI-Chunk-Min-Length`; "
        "smaller ones are accepted all the same.",
    )
    sparse_manifests: bool = Field(
        False, description="Accept manifests that name content which was not pushed."
    )


class LogSettings(_Section):
    """What the process writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important message that is written."
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )


class Settings(_Section):
    """Everything that an operator may set."""

    data_dir: Path = Field(
        Path("moorage-data"),
        description="Directory of the database, keys and blobs of a single process.",
    )
    http: HttpSettings = HttpSettings()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    redis: RedisSettings | None = None
    cache: CacheSettings = CacheSettings()
    auth: AuthSettings = AuthSettings()
    gc: GcSettings = GcSettings()
    uploads: UploadSettings = UploadSettings()
    jobs: JobSettings = JobSettings()
    webhooks: WebhookSettings = WebhookSettings()
    remotes: RemoteSettings = RemoteSettings()
    portal: PortalSettings = PortalSettings()
    proxy: ProxySettings = ProxySettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    health: HealthSettings = HealthSettings()
    trace: TraceSettings = TraceSettings()
    outgoing: OutgoingSettings = OutgoingSettings()
    usage: UsageSettings = UsageSettings()
    configuration: Configuration = Configuration()
