"""Where blob bytes are kept."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FilesystemSettings(BaseModel):
    """A directory on this machine or on a shared file system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rootdirectory: Path | None = Field(
        default=None,
        description="Directory of the blobs; `blobs` inside the data directory when unset.",
    )
    maxthreads: int = Field(
        default=8,
        ge=1,
        le=128,
        description="How many calls of one process may wait for the disk at once.",
    )


class RedirectSettings(BaseModel):
    """Whether clients fetch blobs from the object store themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    disable: bool = Field(
        default=False,
        description="Stream blobs through the registry instead of redirecting clients.",
    )
    seconds: int = Field(
        default=1200,
        ge=1,
        le=1200,
        description="How long a redirect's signed URL is valid, in seconds.",
    )


class StorageSettings(BaseModel):
    """Which driver keeps the blobs, and its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    driver: Literal["filesystem", "memory"] = Field(
        default="filesystem", description="Which driver keeps the blobs."
    )
    redirect: RedirectSettings = Field(
        default_factory=RedirectSettings, description="Redirects of blob downloads."
    )
    filesystem: FilesystemSettings = Field(
        default_factory=FilesystemSettings, description="Settings of the driver `filesystem`."
    )
