"""From settings to a blob store."""

from pathlib import Path

from moorage.blobstore.base import BlobStore
from moorage.blobstore.filesystem import FilesystemStore
from moorage.blobstore.memory import MemoryStore
from moorage.config.storage import StorageSettings


def open(settings: StorageSettings, *, data_dir: Path) -> BlobStore:
    """The store that the settings name; `data_dir` is where a directory is put by default."""
    if settings.driver == "memory":
        return MemoryStore()
    root = settings.filesystem.rootdirectory or data_dir / "blobs"
    return FilesystemStore(root, threads=settings.filesystem.maxthreads)
