"""Settings of background jobs."""

from pydantic import BaseModel, ConfigDict, Field


class JobSettings(BaseModel):
    """How this process does background jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slots: int = Field(10, ge=1, le=1000, description="Tasks that one process does side by side.")
    lease_seconds: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="How long a task stays with a process that is not heard of any more.",
    )
    poll_seconds: float = Field(
        2.0, gt=0, le=60, description="Pause between two looks for tasks when nothing rings."
    )
    drain_seconds: float = Field(
        10.0, ge=0, description="How long tasks may take to let go when the process ends."
    )
    jitter_seconds: float = Field(
        10.0, ge=0, le=3600, description="Over how many seconds scheduled work is spread."
    )
    log_days: int = Field(14, ge=1, le=3650, description="How long the logs of jobs are kept.")
