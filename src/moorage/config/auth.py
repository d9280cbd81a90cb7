"""Settings of accounts and sign-in."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

KNOWN_SECRETS = frozenset(
    {"not-a-secure-key", "Harbor12345", "harbor12345", "changeme", "password", "admin"}
)
"""Defaults that other products shipped: whoever reads their documentation has them."""


class AuthSettings(BaseModel):
    """Accounts, tokens and sign-in."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret_key: SecretStr | None = Field(
        None,
        description="Encrypts secrets in the database; at least 16 characters, the same on every "
        "replica. A single process makes one at its first start.",
    )
    previous_secret_keys: tuple[SecretStr, ...] = Field(
        (), description="Former values of `secret_key`: still read, never used to encrypt."
    )
    admin_name: str = Field(
        "admin", min_length=1, max_length=255, description="User name of the first administrator."
    )
    admin_password: SecretStr | None = Field(
        None,
        description="Password of the first administrator, set at the first start only. Without it "
        "a random one is made and printed once.",
    )
    token_service: str = Field(
        "harbor-registry",
        min_length=1,
        max_length=255,
        description="Name of the registry in the challenge and in the audience of its tokens.",
    )
    token_issuer: str = Field(
        "harbor-token-issuer",
        min_length=1,
        max_length=255,
        description="Issuer of the registry's tokens.",
    )
    key_rotation_days: int = Field(
        90, ge=1, description="Age at which a new key takes over signing tokens, in days."
    )
    expired_robot_days: int | None = Field(
        None,
        ge=0,
        description="Days after which a robot account that has expired is deleted; unset, it "
        "stays, and can be given new time.",
    )

    @field_validator("secret_key", "previous_secret_keys")
    @classmethod
    def _long_enough(
        cls, value: SecretStr | tuple[SecretStr, ...] | None
    ) -> SecretStr | tuple[SecretStr, ...] | None:
        for key in value if isinstance(value, tuple) else (value,):
            if key is None:
                continue
            if len(key.get_secret_value()) < 16:
                raise ValueError("a secret key has at least 16 characters")
            if key.get_secret_value() in KNOWN_SECRETS:
                raise ValueError("this secret key is published; make one of your own")
        return value

    @field_validator("admin_password")
    @classmethod
    def _not_published(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and value.get_secret_value() in KNOWN_SECRETS:
            raise ValueError("this password is published; choose one of your own")
        return value
