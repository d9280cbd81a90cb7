"""Settings of what is counted day by day."""

from pydantic import BaseModel, ConfigDict, Field


class UsageSettings(BaseModel):
    """How long the figures of usage and the history of tags are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    days: int = Field(
        400,
        ge=1,
        le=3650,
        description="How long the pulls and the bytes of each day are kept, of projects and "
        "repositories as a whole.",
    )
    detail_days: int = Field(
        90,
        ge=1,
        le=3650,
        description="How long it is kept which artifacts and tags were pulled, and by whom.",
    )
    callers: bool = Field(
        True, description="Whether it is counted who pulls; unset, only what is pulled."
    )
    tag_history_days: int = Field(
        730, ge=1, le=3650, description="How long the moves of tags are kept."
    )
