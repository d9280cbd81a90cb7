"""Profiles of Amazon's shared credentials and configuration files.

    ~/.aws/credentials   [name]            aws_access_key_id, aws_secret_access_key, …
    ~/.aws/config        [profile name]    the same, or web_identity_token_file and role_arn

AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name other files. They are read again while the
process runs, because whoever rotates the keys replaces the file.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from moorage.errors import StorageUnavailable

if TYPE_CHECKING:  # the client has these names for type checkers only
    from obstore.store import S3Config, S3Credential

RELOAD = timedelta(minutes=5)
"""How long keys from a file are used before it is read again."""

_ELSEWHERE = ("credential_process", "sso_session", "sso_start_url", "source_profile")


class SharedFiles:
    """The two files, found as every other tool finds them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        home = Path(environment.get("HOME") or "~").expanduser()
        credentials = environment.get("AWS_SHARED_CREDENTIALS_FILE")
        config = environment.get("AWS_CONFIG_FILE")
        self._credentials = Path(credentials) if credentials else home / ".aws/credentials"
        self._config = Path(config) if config else home / ".aws/config"

    def has(self, name: str) -> bool:
        """Whether a profile holds keys."""
        return "aws_access_key_id" in self._section(name)

    def identity(self, name: str) -> S3Config:
        """The web identity of a profile, empty when it has keys.

        Raises StorageUnavailable for a profile that is missing or needs another tool.
        """
        section = self._section(name)
        if "aws_access_key_id" in section:
            return {}
        if "web_identity_token_file" in section and "role_arn" in section:
            return {
                "web_identity_token_file": section["web_identity_token_file"],
                "role_arn": section["role_arn"],
                "role_session_name": section.get("role_session_name", "moorage"),
            }
        needs = next((key for key in _ELSEWHERE if key in section), None)
        if needs:
            raise StorageUnavailable(
                f"the profile {name!r} uses `{needs}`, which is not supported: "
                "give it keys, or a web_identity_token_file with a role_arn"
            )
        raise StorageUnavailable(f"no profile {name!r} with keys in {self._credentials}")

    def provider(self, name: str) -> Callable[[], S3Credential]:
        """What the client calls for keys of a profile, again whenever they may have changed."""

        def keys() -> S3Credential:
            section = self._section(name)
            try:
                return {
                    "access_key_id": section["aws_access_key_id"],
                    "secret_access_key": section["aws_secret_access_key"],
                    "token": section.get("aws_session_token"),
                    "expires_at": datetime.now(UTC) + RELOAD,
                }
            except KeyError as missing:
                raise StorageUnavailable(f"the profile {name!r} has no {missing}") from None

        return keys

    def _section(self, name: str) -> dict[str, str]:
        titles = (
            (self._config, "default" if name == "default" else f"profile {name}"),
            (self._credentials, name),
        )
        merged: dict[str, str] = {}
        for path, title in titles:
            # "default" is an ordinary name in these files.
            parser = configparser.RawConfigParser(default_section="", strict=False)
            try:
                parser.read(path, encoding="utf-8")
            except (configparser.Error, OSError, UnicodeDecodeError) as error:
                raise StorageUnavailable(f"{path} cannot be read") from error
            if parser.has_section(title):
                merged.update(parser.items(title))
        return merged
