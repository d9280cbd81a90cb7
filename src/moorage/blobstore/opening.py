"""From settings to a blob store."""

from collections.abc import Callable
from pathlib import Path

from moorage.blobstore.base import BlobStore
from moorage.blobstore.filesystem import FilesystemStore
from moorage.blobstore.measured import MeasuredStore, Observe
from moorage.blobstore.memory import MemoryStore
from moorage.config.storage import StorageSettings


def open(
    settings: StorageSettings,
    *,
    data_dir: Path,
    observe: Observe | None = None,
    missed: Callable[[], None] = lambda: None,
) -> BlobStore:
    """The store that the settings name; `data_dir` is where a directory is put by default.

    observe: told the driver, the action and its seconds after every call; missed: called when an
    object that is to be read is not there. Raises
    StorageUnavailable when the settings name what is not there, as a file of certificates.
    """
    store = _driver(settings, data_dir)
    return store if observe is None else MeasuredStore(store, observe, missed)


def _driver(settings: StorageSettings, data_dir: Path) -> BlobStore:
    if settings.driver == "memory":
        return MemoryStore()
    if settings.driver == "filesystem":
        root = settings.filesystem.rootdirectory or data_dir / "blobs"
        return FilesystemStore(root, threads=settings.filesystem.maxthreads)
    # Only now: the client of the object stores costs memory that a folder does not need.
    from moorage.blobstore import buckets

    redirect = not settings.redirect.disable
    if settings.driver == "s3":
        assert settings.s3 is not None
        return buckets.open_s3(settings.s3, redirect=redirect)
    if settings.driver == "gcs":
        assert settings.gcs is not None
        return buckets.open_gcs(settings.gcs, redirect=redirect)
    assert settings.azure is not None
    return buckets.open_azure(settings.azure, redirect=redirect)
