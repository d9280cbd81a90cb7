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
        """Make it a disk of so many bytes, if this process may; its owner stays the same."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owner = f"size={size},mode=700,uid={self.folder.stat().st_uid}"
            _run("mount", "-t", "tmpfs", "-o", owner, "moorage-faults", str(self.folder))

    @contextmanager
    def full(self) -> Iterator[None]:
        """There is hardly any room beyond what is used now."""
        size, used = self._sizes()
        # It may grow meanwhile, and no disk gets smaller than what is on it.
        while not self._resized(used + (1 << 20)):
            _, used = self._sizes()
        try:
            yield
        finally:
            assert self._resized(size)

    def _sizes(self) -> tuple[int, int]:
        """Bytes that it has, and that are used."""
        status = os.statvfs(self.folder)
        return status.f_blocks * status.f_frsize, (
            (status.f_blocks - status.f_bfree) * status.f_frsize
        )

    def _resized(self, size: int) -> bool:
        command = ["mount", "-o", f"remount,size={size}", str(self.folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def unmount(self) -> None:
        """Make it a plain folder again; what it held is gone."""
        if self.folder.is_mount():
            _run("umount", "-l", str(self.folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
