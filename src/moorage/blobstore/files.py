"""The few system calls that the filesystem driver makes, behind one small Protocol.

Tests put a file system in its place that forgets what was not made durable, or that is full.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Protocol

Piece = bytes | memoryview


class Files(Protocol):
    """Blocking calls on absolute paths and file descriptors; failures are OSError."""

    blocking: bool
    """Whether the calls may wait for a disk, and so belong in a thread."""

    def create(self, path: str) -> int:
        """A descriptor to write a file that must not exist."""

    def open(self, path: str) -> int:
        """A descriptor to read a regular file; a symbolic link is refused."""

    def write(self, fd: int, pieces: Sequence[Piece]) -> None:
        """Append every byte of the pieces."""

    def writeback(self, fd: int, start: int, length: int) -> None:
        """Hint that these written bytes should go to the disk soon; does not wait."""

    def size(self, fd: int) -> int:
        """Bytes in the open file."""

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """At most `length` bytes; fewer only at the end of the file."""

    def cached(self, fd: int, length: int, offset: int) -> bool:
        """Whether `read` of this range would not wait for a disk, as far as can be told."""

    def fsync(self, fd: int) -> None:
        """Make the file's content durable; not its name."""

    def close(self, fd: int) -> None:
        """Give the descriptor back."""

    def stat(self, path: str) -> tuple[int, float] | None:
        """Size and modification time of a regular file, None if there is no such file."""

    def plain(self, root: str, relative: str) -> bool:
        """Whether no directory on the way from `root` to `relative` is a symbolic link."""

    def mkdir(self, path: str) -> None:
        """Make a directory; no error when it exists."""

    def rename(self, source: str, target: str) -> None:
        """Move a file; durable only after `fsync_dir` of the target's directory."""

    def unlink(self, path: str) -> None:
        """Remove a file; no error when there is none."""

    def fsync_dir(self, path: str) -> None:
        """Make the names in a directory durable."""

    def free(self, path: str) -> int:
        """Bytes that a file in this directory could still get."""

    def walk(self, root: str) -> Iterator[tuple[str, int, float]]:
        """Relative path, size and modification time of every regular file below `root`."""


class SystemFiles:
    """The machine's own file systems."""

    blocking = True

    def create(self, path: str) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o640)

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def write(self, fd: int, pieces: Sequence[Piece]) -> None:
        for first in range(0, len(pieces), 512):  # below IOV_MAX
            group = pieces[first : first + 512]
            missing = sum(map(len, group)) - os.writev(fd, group)
            if missing:  # a nearly full disk writes short, then says why
                rest = memoryview(b"".join(group))[-missing:]
                while rest:
                    rest = rest[os.write(fd, rest) :]

    def writeback(self, fd: int, start: int, length: int) -> None:
        # Linux begins to write dirty pages of a range that is advised away; pages under way stay
        # cached. So the closing fsync finds little left to do.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, start, length, os.POSIX_FADV_DONTNEED)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return os.pread(fd, length, offset)

    def cached(self, fd: int, length: int, offset: int) -> bool:
        nowait = getattr(os, "RWF_NOWAIT", None)
        if nowait is None or length <= 0:
            return False
        probe = bytearray(1)
        try:
            # Both ends: a range that was read ahead in part shows at one of them.
            return (
                os.preadv(fd, [probe], offset + length - 1, nowait) == 1
                and os.preadv(fd, [probe], offset, nowait) == 1
            )
        except OSError:  # not in the page cache, or a file system without the flag
            return False

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def stat(self, path: str) -> tuple[int, float] | None:
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return (found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None

    def plain(self, root: str, relative: str) -> bool:
        at = relative.find("/")
        while at >= 0:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISLNK(os.lstat(f"{root}/{relative[:at]}").st_mode):
                    return False
            at = relative.find("/", at + 1)
        return True

    def mkdir(self, path: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o750)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)

    def fsync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free(self, path: str) -> int:
        found = os.statvfs(path)
        if found.f_files and not found.f_favail:
            return 0  # not one more name
        return found.f_bavail * found.f_frsize

    def walk(self, root: str) -> Iterator[tuple[str, int, float]]:
        waiting = [""]
        while waiting:
            at = waiting.pop()
            with os.scandir(f"{root}/{at}" if at else root) as entries:
                for entry in entries:
                    name = f"{at}/{entry.name}" if at else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    elif entry.is_file(follow_symlinks=False):
                        found = entry.stat(follow_symlinks=False)
                        yield name, found.st_size, found.st_mtime
