"""Settings of projects that are a cache of another registry."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


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
        description="Where blobs are on their way to clients; unset, the system's own folder "
        "for temporary files. It has to hold what is downloaded at the same time.",
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
