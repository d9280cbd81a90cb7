"""Settings of the database."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

SslMode = Literal["disable", "require", "verify-ca", "verify-full"]


class DatabaseSettings(BaseModel):
    """Where the rows are. Nothing set: a SQLite file in the data directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host:5432/name`, or `sqlite:///path`; "
        "instead of the single fields. Several hosts are separated by commas.",
    )
    host: str | None = Field(
        None,
        description="Host of PostgreSQL, or the directory of its socket. Several hosts, such as "
        "`db-1,db-2:5433`, are a primary and its standbys: whichever takes writes is used.",
    )
    port: int = Field(5432, ge=1, le=65535, description="Port of PostgreSQL.")
    name: str = Field("moorage", description="Name of the database.")
    username: str = Field("moorage", description="User of the database.")
    password: SecretStr | None = Field(None, description="Password of that user.")
    sslmode: SslMode = Field(
        "disable",
        description="`require` encrypts, `verify-ca` also checks who signed the certificate, "
        "`verify-full` also the host name in it.",
    )
    sslrootcert: Path | None = Field(
        None, description="Certificates that sign the server's; the system's unless set."
    )
    pool_size: int = Field(10, ge=1, le=200, description="Connections of one process.")
    wait_seconds: float = Field(
        5.0, gt=0, description="How long a request waits for a free connection before 503."
    )
    transaction_pooler: bool = Field(
        False,
        description="Set when a pooler in transaction mode that does not know prepared "
        "statements stands in front; costs a round trip per statement.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "DatabaseSettings":
        if self.url is not None:
            if self.host is not None:
                raise ValueError("set either url or host, not both")
            scheme = self.url.get_secret_value().partition(":")[0]
            if scheme not in ("postgresql", "postgres", "sqlite"):
                raise ValueError("url starts with postgresql:// or sqlite:///")
        return self

    @property
    def postgres(self) -> bool:
        """Whether PostgreSQL is meant."""
        if self.url is not None:
            return not self.url.get_secret_value().startswith("sqlite")
        return self.host is not None
