"""Where the pages for people get what they show."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class PortalSettings(BaseModel):
    """The pages for people."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enabled: bool = Field(True, description="Whether a process with every role serves the portal.")
    core_url: str = Field(
        "",
        description="Where the role `portal` finds the API: the address of the role `core`, or of "
        "a proxy before several. `core` believes the addresses of visitors when "
        "`http.trusted_proxies` there names the portals.",
    )
    ca_file: Path | None = Field(
        None,
        description="Certificates of the authority that signs the one at `core_url`, PEM; the "
        "system's unless set.",
    )

    @field_validator("core_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("core_url starts with http:// or https://")
        return value.rstrip("/")
