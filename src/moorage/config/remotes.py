"""Settings of other registries."""

from pydantic import BaseModel, ConfigDict, Field


class RemoteSettings(BaseModel):
    """Registries that this one copies from and to, or is a cache of."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    token_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts whose token services may be sent the credentials of registries "
        "elsewhere, such as `gitlab.example.com`; `.example.com` stands for all below it.",
    )
