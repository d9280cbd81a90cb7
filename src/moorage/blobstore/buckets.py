"""From settings to a client of one bucket.

Credentials of Amazon, in the order in which they are looked for:

    accesskey, secretkey      the settings
    profile                   the settings, else AWS_PROFILE: the shared credentials file
    AWS_ACCESS_KEY_ID         the environment
    AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN            a service account of Kubernetes (IRSA)
    [default]                 the shared credentials file, if it is there
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, …_FULL_URI   a container's or a pod's identity
    the instance              its metadata service
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from obstore.store import AzureStore, GCSStore, S3Store

from moorage.blobstore.objects import ATTRIBUTES, ObjectStore, Profile
from moorage.blobstore.profiles import SharedFiles
from moorage.config.storage import AzureSettings, GCSSettings, S3Settings
from moorage.errors import StorageUnavailable

if TYPE_CHECKING:  # the client has these names for type checkers only
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config

USER_AGENT = "moorage"

_WITHOUT_FILES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


def open_s3(
    settings: S3Settings, *, redirect: bool, environment: Mapping[str, str] = os.environ
) -> ObjectStore:
    """A bucket of S3.

    Raises StorageUnavailable when the profile or the certificates cannot be read.
    """
    config: S3Config = {
        "region": settings.region,
        "virtual_hosted_style_request": not settings.path_style,
        "disable_bulk_delete": not settings.bulkdelete,
        "conditional_put": "etag",
    }
    if endpoint := settings.endpoint:
        if not settings.path_style:
            parts = urlsplit(endpoint)
            host = f"{settings.bucket}.{parts.netloc}"
            endpoint = urlunsplit((parts.scheme, host, parts.path, "", ""))
        config["endpoint"] = endpoint
    if settings.encrypt:
        config["server_side_encryption"] = "aws:kms" if settings.keyid else "AES256"
        if settings.keyid:
            config["sse_kms_key_id"] = settings.keyid
    if metadata := environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        config["metadata_endpoint"] = metadata  # the client knows it by a name of its own
    provider = None
    if settings.accesskey:
        config["access_key_id"] = settings.accesskey
        config["secret_access_key"] = settings.secretkey.get_secret_value()
        if token := settings.sessiontoken.get_secret_value():
            config["session_token"] = token
    else:
        files = SharedFiles(environment)
        named = settings.profile or environment.get("AWS_PROFILE", "")
        if named:
            config.update(files.identity(named))
            if "web_identity_token_file" not in config:
                provider = files.provider(named)
        elif not any(environment.get(name) for name in _WITHOUT_FILES) and files.has("default"):
            provider = files.provider("default")
    store = S3Store(
        settings.bucket,
        config=config,
        client_options=_client(settings, plain=endpoint.startswith("http://")),
        retry_config=_retries(settings),
        credential_provider=provider,
    )
    return ObjectStore(store, _profile("s3", settings, redirect, bulk_delete=settings.bulkdelete))


def open_gcs(settings: GCSSettings, *, redirect: bool) -> ObjectStore:
    """A bucket of Google Cloud Storage."""
    config: GCSConfig = {}
    if settings.endpoint:
        config["base_url"] = settings.endpoint.rstrip("/")
    if settings.anonymous:
        # The client signs writes whatever `skip_signature` says; this form of a key stops it.
        config["service_account_key"] = json.dumps(
            {
                "gcs_base_url": settings.endpoint.rstrip("/") or "https://storage.googleapis.com",
                "disable_oauth": True,
                "client_email": "",
                "private_key": "",
                "private_key_id": "",
            }
        )
    elif settings.keyfile:
        config["service_account"] = str(settings.keyfile)
    elif encoded := settings.encodedkey.get_secret_value():
        try:
            config["service_account_key"] = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise StorageUnavailable("`encodedkey` is not base64 of a JSON key") from error
    store = GCSStore(
        settings.bucket,
        config=config,
        client_options=_client(settings, plain=settings.endpoint.startswith("http://")),
        retry_config=_retries(settings),
    )
    signs = redirect and not settings.anonymous
    return ObjectStore(store, _profile("gcs", settings, signs))


def open_azure(settings: AzureSettings, *, redirect: bool) -> ObjectStore:
    """A container of Azure Blob Storage."""
    endpoint = settings.endpoint or f"https://{settings.accountname}.blob.{settings.realm}"
    config: AzureConfig = {
        "container_name": settings.container,
        "account_name": settings.accountname,
        "endpoint": endpoint.rstrip("/"),
    }
    if key := settings.accountkey.get_secret_value():
        config["account_key"] = key
    store = AzureStore(
        config=config,
        client_options=_client(settings, plain=endpoint.startswith("http://")),
        retry_config=_retries(settings),
    )
    return ObjectStore(store, _profile("azure", settings, redirect))


AnySettings = S3Settings | GCSSettings | AzureSettings


def _profile(
    driver: str, settings: AnySettings, redirect: bool, *, bulk_delete: bool = False
) -> Profile:
    attributes = dict(ATTRIBUTES)
    if settings.storageclass:
        attributes["Storage-Class"] = settings.storageclass
    return Profile(
        driver=driver,
        root=settings.rootdirectory,
        part=settings.chunksize,
        concurrency=settings.concurrency,
        redirect=redirect,
        bulk_delete=bulk_delete,
        attributes=attributes,
    )


def _client(settings: AnySettings, *, plain: bool) -> ClientConfig:
    options: ClientConfig = {
        "user_agent": USER_AGENT,
        "connect_timeout": timedelta(seconds=min(settings.timeout, 10)),
        # Counts from the last byte: a big blob on a slow line is no failure.
        "read_timeout": timedelta(seconds=settings.timeout),
        "timeout": timedelta(hours=6),
        "pool_idle_timeout": timedelta(seconds=30),
        "allow_http": plain,
    }
    if settings.skipverify:
        options["allow_invalid_certificates"] = True
    if settings.cacert:
        try:
            options["root_certificate"] = settings.cacert.read_bytes()
        except OSError as error:
            raise StorageUnavailable(
                f"the certificates in {settings.cacert} cannot be read: {error.strerror}"
            ) from error
    return options


def _retries(settings: AnySettings) -> RetryConfig:
    return {
        "max_retries": settings.retries,
        "retry_timeout": timedelta(seconds=settings.retryseconds),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=10),
            "base": 2,
        },
    }
