"""Settings of metrics, and of how the parts are."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class MetricsSettings(BaseModel):
    """Figures for Prometheus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int = Field(
        8001, ge=0, le=65535, description="Port of `--role exporter`, unless `--port` names one."
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

    @model_validator(mode="after")
    def _urls(self) -> Self:
        for name in type(self).model_fields:
            url = getattr(self, name)
            if url and not url.startswith(("http://", "https://")):
                raise ValueError(f"{name} starts with http:// or https://")
        return self
