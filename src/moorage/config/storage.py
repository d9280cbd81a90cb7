"""Where blob bytes are kept.

    [storage]
    driver = "s3"                 # filesystem, s3, gcs, azure, memory
    [storage.s3]
    region = "eu-central-1"       # the names are those of the well-known registry's configuration
    bucket = "blobs"
    [storage.redirect]
    disable = false

The form of that configuration, where the section alone names the driver, and the `type` and
`disableredirect` of the Helm chart are understood too.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

DRIVERS = ("filesystem", "s3", "gcs", "azure", "memory")
MIN_PART = 5 << 20
"""The least bytes of a part that S3 accepts."""

_NEVER_COPIES = "objects are never copied or moved inside the bucket; remove the key"
_DATABASE = "what exists is known from the database; remove the section"


class _Section(BaseModel):
    """A part of the settings that knows which keys of other registries mean nothing here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    REFUSED: ClassVar[Mapping[str, str]] = {}
    ALIASES: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        return cls._renamed(data) if isinstance(data, Mapping) else data

    @classmethod
    def _renamed(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        renamed: dict[str, Any] = {}
        for key, value in data.items():
            name = cls.ALIASES.get(key.lower(), key.lower())
            if name in cls.REFUSED:
                raise ValueError(f"`{key}` has no meaning here: {cls.REFUSED[name]}")
            if name in renamed:
                raise ValueError(f"`{key}` and another key say the same")
            renamed[name] = value
        return renamed


class FilesystemSettings(_Section):
    """A directory on this machine or on a shared file system."""

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


class _ObjectSettings(_Section):
    """What every object store has."""

    rootdirectory: str = Field(
        default="", description="Folder inside the bucket that holds every object of this registry."
    )
    chunksize: int = Field(
        default=8 << 20,
        ge=MIN_PART,
        le=64 << 20,
        description="Bytes of one part of a large object; an object has at most 10,000 parts.",
    )
    concurrency: int = Field(
        default=3, ge=1, le=16, description="Parts of one object that are sent at the same time."
    )
    timeout: int = Field(
        default=60,
        ge=1,
        le=600,
        description="Seconds without a byte from the store after which a request has failed.",
    )
    retries: int = Field(
        default=5, ge=0, le=20, description="How often a failed request is sent again."
    )
    retryseconds: int = Field(
        default=60,
        ge=1,
        le=240,
        description="Seconds after its first attempt in which a request is sent again.",
    )
    skipverify: bool = Field(
        default=False, description="Accept any certificate of the store; for trials only."
    )
    cacert: Path | None = Field(
        default=None, description="File with certificates (PEM) to trust besides the system's own."
    )

    @field_validator("rootdirectory")
    @classmethod
    def _relative(cls, value: str) -> str:
        parts = [part for part in value.split("/") if part]
        if any(part in (".", "..") for part in parts):
            raise ValueError("a root directory has no `.` or `..` in it")
        return "/".join(parts)


class S3Settings(_ObjectSettings):
    """A bucket of Amazon S3 or of a server that speaks its protocol."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        "v4auth": "every request is signed with version 4; remove the key",
        "accelerate": "transfer acceleration is reached through `regionendpoint`",
        "usedualstack": "a dual-stack endpoint is reached through `regionendpoint`",
        "multipartcopychunksize": _NEVER_COPIES,
        "multipartcopymaxconcurrency": _NEVER_COPIES,
        "multipartcopythresholdsize": _NEVER_COPIES,
        "multipartcopy": _NEVER_COPIES,
        "objectacl": "objects belong to the bucket's owner; set a bucket policy instead",
        "useragent": "requests name this program; remove the key",
        "loglevel": "request logs follow the log level of the process; remove the key",
        "logs3apirequests": "request logs follow the log level of the process; remove the key",
        "logs3apiresponseheaders": "response headers are not logged; remove the key",
    }

    region: str = Field(default="us-east-1", description="Region of the bucket.")
    bucket: str = Field(min_length=1, description="Name of the bucket; it must exist.")
    regionendpoint: str = Field(
        default="",
        description="Address of another S3 server; a scheme in it wins over `secure`.",
    )
    accesskey: str = Field(
        default="",
        description="Static access key; unset, the usual chain of credentials is asked.",
    )
    secretkey: SecretStr = Field(
        default=SecretStr(""), description="Secret that belongs to `accesskey`."
    )
    sessiontoken: SecretStr = Field(
        default=SecretStr(""), description="Token that belongs to temporary static keys."
    )
    profile: str = Field(
        default="", description="Profile of the shared credentials file that holds the keys."
    )
    encrypt: bool = Field(default=False, description="Ask the store to encrypt objects.")
    keyid: str = Field(default="", description="Key of the key management service to encrypt with.")
    secure: bool = Field(default=True, description="Use HTTPS where the endpoint has no scheme.")
    forcepathstyle: bool | None = Field(
        default=None,
        description="Put the bucket in the path; unset, done exactly when `regionendpoint` is set.",
    )
    storageclass: str = Field(
        default="", description="Storage class of new objects; unset, the bucket's own."
    )
    bulkdelete: bool = Field(
        default=True, description="Delete many objects with one request; a few servers cannot."
    )

    @model_validator(mode="after")
    def _complete(self) -> "S3Settings":
        if bool(self.accesskey) != bool(self.secretkey.get_secret_value()):
            raise ValueError("`accesskey` and `secretkey` belong together; one of them is unset")
        if self.accesskey and self.profile:
            raise ValueError("`accesskey` and `profile` both name credentials; remove one")
        if self.keyid and not self.encrypt:
            raise ValueError("`keyid` needs `encrypt`")
        if self.storageclass.upper() in ("GLACIER", "DEEP_ARCHIVE"):
            raise ValueError(f"objects of the class {self.storageclass} cannot be read at once")
        return self

    @property
    def endpoint(self) -> str:
        """The endpoint's URL without a slash at its end; empty for Amazon's own."""
        value = self.regionendpoint.rstrip("/")
        if not value or "://" in value:
            return value
        return f"{'https' if self.secure else 'http'}://{value}"

    @property
    def path_style(self) -> bool:
        """Whether the bucket stands in the path and not in the host's name."""
        if self.forcepathstyle is None:
            return bool(self.regionendpoint)
        return self.forcepathstyle

    @field_validator("regionendpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        if "://" in value and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("an endpoint begins with http:// or https://")
        return value


class GCSSettings(_ObjectSettings):
    """A bucket of Google Cloud Storage."""

    ALIASES: ClassVar[Mapping[str, str]] = {"maxconcurrency": "concurrency"}
    REFUSED: ClassVar[Mapping[str, str]] = {
        "existingsecret": "it belongs to the chart; set `keyfile` or `encodedkey`",
    }

    bucket: str = Field(min_length=1, description="Name of the bucket; it must exist.")
    keyfile: Path | None = Field(
        default=None,
        description="Service account key (JSON); unset, the application default credentials.",
    )
    encodedkey: SecretStr = Field(
        default=SecretStr(""), description="The same key, base64 encoded, instead of a file."
    )
    useworkloadidentity: bool = Field(
        default=False, description="Use the workload's identity; any key is refused then."
    )
    endpoint: str = Field(default="", description="Address of another server of this protocol.")
    anonymous: bool = Field(default=False, description="Send no credentials, as to an emulator.")
    storageclass: str = Field(
        default="", description="Storage class of new objects; unset, the bucket's own."
    )

    @model_validator(mode="after")
    def _complete(self) -> "GCSSettings":
        given = [bool(self.keyfile), bool(self.encodedkey.get_secret_value())]
        if sum([*given, self.useworkloadidentity, self.anonymous]) > 1:
            raise ValueError(
                "only one of `keyfile`, `encodedkey`, `useworkloadidentity` and `anonymous`"
            )
        return self


class AzureSettings(_ObjectSettings):
    """A container of Azure Blob Storage."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        "copy_status_poll_max_retry": _NEVER_COPIES,
        "copy_status_poll_delay": _NEVER_COPIES,
        "credentials": "set `accountkey`, or let the workload's identity be found",
        "existingsecret": "it belongs to the chart; set `accountkey`",
    }

    accountname: str = Field(min_length=1, description="Name of the storage account.")
    accountkey: SecretStr = Field(
        default=SecretStr(""),
        description="Key of the account; unset, workload or managed identity is asked.",
    )
    container: str = Field(min_length=1, description="Name of the container; it must exist.")
    realm: str = Field(
        default="core.windows.net", description="Domain of the cloud that holds the account."
    )
    endpoint: str = Field(
        default="", description="Address of another server of this protocol, with the account."
    )
    storageclass: str = Field(
        default="", description="Access tier of new objects; unset, the account's own."
    )


class RedirectSettings(_Section):
    """Whether clients fetch blobs from the object store themselves."""

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


class StorageSettings(_Section):
    """Which driver keeps the blobs, and its settings."""

    ALIASES: ClassVar[Mapping[str, str]] = {"type": "driver"}
    REFUSED: ClassVar[Mapping[str, str]] = {
        "cache": _DATABASE,
        "delete": "who may delete is a matter of roles; remove the section",
        "maintenance": "uploads and garbage are collected online; remove the section",
        "tag": "tags are read from the database; remove the section",
        "inmemory": "the driver is called `memory`",
        "oss": "use the driver `s3` with the `regionendpoint` of the OSS region",
        "swift": "use the driver `s3` with Swift's S3 face as `regionendpoint`",
    }

    driver: Literal["filesystem", "s3", "gcs", "azure", "memory"] = Field(
        default="filesystem",
        description="Which driver keeps the blobs; unset, the one whose section is there.",
    )
    redirect: RedirectSettings = Field(
        default=RedirectSettings(), description="Redirects of blob downloads."
    )
    filesystem: FilesystemSettings = Field(
        default=FilesystemSettings(), description="Settings of the driver `filesystem`."
    )
    s3: S3Settings | None = Field(default=None, description="Settings of the driver `s3`.")
    gcs: GCSSettings | None = Field(default=None, description="Settings of the driver `gcs`.")
    azure: AzureSettings | None = Field(default=None, description="Settings of the driver `azure`.")

    @model_validator(mode="before")
    @classmethod
    def _forms(cls, data: Any) -> Any:
        """Understand the forms of the well-known registry and of its chart."""
        if not isinstance(data, Mapping):
            return data
        data = cls._renamed(data)
        if "disableredirect" in data:
            disable = data.pop("disableredirect")
            data["redirect"] = {**(data.get("redirect") or {}), "disable": disable}
        if not data.get("driver"):
            data.pop("driver", None)
            there = [name for name in DRIVERS if data.get(name) is not None]
            remote = [name for name in there if name != "filesystem"]
            if len(remote) > 1 or (remote and len(there) > 1):
                raise ValueError(f"set `driver`: there are sections for {', '.join(there)}")
            if there:
                data["driver"] = there[0]
        driver = data.get("driver", "filesystem")
        if driver in cls.REFUSED:
            raise ValueError(f"no driver `{driver}`: {cls.REFUSED[driver]}")
        if driver not in DRIVERS:
            raise ValueError(f"no driver `{driver}`; there are {', '.join(DRIVERS)}")
        if driver == "memory":
            data.pop("memory", None)
        return data

    @model_validator(mode="after")
    def _complete(self) -> "StorageSettings":
        if self.driver in ("s3", "gcs", "azure") and getattr(self, self.driver) is None:
            raise ValueError(f"the driver `{self.driver}` needs its section `{self.driver}`")
        return self
