"""Settings of projects that are a cache of another registry."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_ROOMY = Path("/var/tmp")  # noqa: S108 - what is made there has no name


class ProxySettings(BaseModel):
    """The proxy cache."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tag_seconds: float = Field(
        60.0,
        ge=0,
        description="How long a tag is answered from here before the registry behind is asked "
        "whether it moved; 0 asks at each pull.",
    )
    folder: Path | None = Field(
        None,
        description="Where blobs are on their way to clients. It has to hold what is downloaded "
        "at the same time. Unset, it is `TMPDIR`, else `/var/tmp` where that can be written, "
        "else the system's own folder for temporary files, which may be memory.",
    )
    wait_seconds: float = Field(
        20.0,
        ge=0,
        le=600,
        description="How long a replica waits for another one that downloads the same blob, "
        "before it downloads it too. Replicas know of one another through Redis.",
    )
    mirrors: dict[str, str] = Field(
        default_factory=dict,
        description="Registries that clients name by `?ns=`, as containerd does, and the project "
        "that is a cache of each, such as `docker.io` and `hub`.",
    )
    hosts: dict[str, str] = Field(
        default_factory=dict,
        description="Host names of this server that stand for one project each, such as "
        "`hub.example.com` and `hub`.",
    )

    def roomy_folder(self) -> Path | None:
        """The folder, or a better one than memory where there is one; None: what Python takes."""
        if self.folder is not None or os.environ.get("TMPDIR"):
            return self.folder
        return _ROOMY if os.access(_ROOMY, os.W_OK | os.X_OK) else None
