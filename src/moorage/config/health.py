"""Settings of metrics, and of how the parts are."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NEAR: tuple[IPv4Network | IPv6Network, ...] = tuple(
    map(
        ip_network,
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
            *("::1/128", "fc00::/7", "fe80::/10"),
        ),
    )
)
"""This machine and private networks."""


class MetricsSettings(BaseModel):
    """Figures for Prometheus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int = Field(
        8001, ge=0, le=65535, description="Port of `--role exporter`, unless `--port` names one."
    )
    allow: tuple[IPv4Network | IPv6Network, ...] = Field(
        NEAR,
        description="Networks from which a process of all roles answers `/metrics`, which names "
        "every project; to others, and through a proxy that is not one of "
        "`http.trusted_proxies`, there is no such page. `0.0.0.0/0` and `::/0` are everybody.",
    )


class HealthSettings(BaseModel):
    """Where the other roles are inside: `/api/v2.0/health` and `harbor_up` tell of them then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    core_url: str = Field("", description="Of the role core, such as `http://core:8080`.")
    registry_url: str = Field("", description="Of the role registry.")
    jobservice_url: str = Field(
        "", description="Of the role jobservice; unset, the workers in the database count."
    )
    portal_url: str = Field("", description="Of the role portal.")
    ca_file: Path | None = Field(
        None,
        description="Certificates of the authority that signs theirs, PEM, beside those of the "
        "system.",
    )

    @model_validator(mode="after")
    def _urls(self) -> Self:
        for name in ("core_url", "registry_url", "jobservice_url", "portal_url"):
            url = getattr(self, name)
            if url and not url.startswith(("http://", "https://")):
                raise ValueError(f"{name} starts with http:// or https://")
        return self
