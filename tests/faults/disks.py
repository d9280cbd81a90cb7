"""A disk of one's own, in memory, that can be full. It takes root; without, a folder stays one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Disk:
    """A folder that may be a disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, size: int) -> None:
        """Make it a disk of so many bytes, if this process may."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            _run("mount", "-t", "tmpfs", "-o", f"size={size}", "moorage-faults", str(self.folder))

    @contextmanager
    def full(self) -> Iterator[None]:
        """There is no room beyond what is used now."""
        status = os.statvfs(self.folder)
        size = status.f_blocks * status.f_frsize
        used = size - status.f_bfree * status.f_frsize
        self._resize(used + status.f_frsize)
        try:
            yield
        finally:
            self._resize(size)

    def _resize(self, size: int) -> None:
        _run("mount", "-o", f"remount,size={size}", str(self.folder))

    def unmount(self) -> None:
        """Make it a plain folder again; what it held is gone."""
        if self.folder.is_mount():
            _run("umount", "-l", str(self.folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
