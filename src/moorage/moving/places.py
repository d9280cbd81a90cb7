"""Where an operator wants something to be: a folder, or a part of a bucket.

/srv/backups                 a folder
s3://bucket/folder           the other settings (region, endpoint, keys) from those of [storage]
gs://bucket/folder           of this installation when it uses the same driver, or of the file
azure://container/folder     that is named beside it
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from moorage.config.storage import AzureSettings, GCSSettings, S3Settings, StorageSettings
from moorage.errors import Conflict, Invalid

_BUCKETS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "azure": "azure"}


def place(text: str, base: StorageSettings) -> StorageSettings:
    """The storage that `text` names; raises Invalid."""
    if "://" not in text:
        folder = Path(text).expanduser().absolute()
        return StorageSettings.model_validate(
            {"driver": "filesystem", "filesystem": {"rootdirectory": folder}}
        )
    url = urlsplit(text)
    driver = _BUCKETS.get(url.scheme)
    if driver is None or not url.netloc or url.query or url.fragment:
        raise Invalid(f"{text}: give a folder, s3://, gs:// or azure:// with a bucket and a folder")
    name = "container" if driver == "azure" else "bucket"
    where = {name: url.netloc, "rootdirectory": url.path.strip("/")}
    known: S3Settings | GCSSettings | AzureSettings | None = getattr(base, driver)
    try:
        if known is None:
            section: object = where
        else:
            section = type(known).model_validate({**known.model_dump(), **where})
        return StorageSettings.model_validate({"driver": driver, driver: section})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise Invalid(f"{text}: {path}: {first['msg']}; set it in [storage.{driver}]") from None


def identity(settings: StorageSettings, data_dir: Path) -> tuple[str, ...]:
    """What tells one storage from another; `data_dir` is where its folder is by default."""
    if settings.driver == "filesystem":
        root = settings.filesystem.rootdirectory or data_dir / "blobs"
        return ("filesystem", str(root.resolve()))
    if settings.s3 is not None and settings.driver == "s3":
        s3 = settings.s3
        return ("s3", s3.endpoint, s3.bucket, s3.rootdirectory)
    if settings.gcs is not None and settings.driver == "gcs":
        return ("gcs", settings.gcs.endpoint, settings.gcs.bucket, settings.gcs.rootdirectory)
    if settings.azure is not None and settings.driver == "azure":
        azure = settings.azure
        return ("azure", azure.endpoint, azure.accountname, azure.container, azure.rootdirectory)
    return (settings.driver,)


@contextlib.contextmanager
def for_owner_only() -> Iterator[None]:
    """No file that is made meanwhile is for the group: of the blobs it may read, of nothing else.

    A backup holds every row, hashes of passwords among them, and perhaps the secret key.
    """
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def alone_at(settings: StorageSettings) -> Iterator[None]:
    """Nobody else writes into this folder through us meanwhile; buckets need no such lock.

    Makes the folder, for its owner only. Raises Conflict.
    """
    root = settings.filesystem.rootdirectory
    if settings.driver != "filesystem" or root is None:
        yield
        return
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(root / ".moorage.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another process writes to {root}") from None
        yield
    finally:
        os.close(descriptor)
