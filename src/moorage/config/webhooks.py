"""Settings of webhooks."""

from pydantic import BaseModel, ConfigDict, Field


class WebhookSettings(BaseModel):
    """How other servers are told."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    timeout_seconds: float = Field(
        3.0, ge=0.1, le=60, description="How long a target may take to answer."
    )
    tries: int = Field(3, ge=1, le=20, description="How often a target is told that refuses.")
