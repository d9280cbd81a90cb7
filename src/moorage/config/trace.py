"""Settings of traces."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator


class TraceSettings(BaseModel):
    """Spans of requests and jobs for a collector of OpenTelemetry; needs the extra `otel`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enabled: bool = Field(False, description="Whether spans are made and sent.")
    endpoint: str = Field(
        "http://127.0.0.1:4318/v1/traces",
        description="Where spans are sent: OTLP over HTTP, with the path.",
    )
    sample_rate: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the traces that begin here and are sent; whoever asks with a "
        "`traceparent` has decided already.",
    )
    service_name: str = Field(
        "moorage", min_length=1, description="Name of this service in traces."
    )
    attributes: Mapping[str, str] = Field(
        {}, description="Further attributes of every span's resource, such as the environment."
    )

    @field_validator("endpoint")
    @classmethod
    def _url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("endpoint starts with http:// or https://")
        return value
