"""A file system in memory that loses power: what was not made durable is forgotten.

    files = CrashFiles()
    store = FilesystemStore(files.root, files=files)
    …
    files.power_loss()                                    # descriptors are gone, names may be back
    store = FilesystemStore(files.root, files=files)      # the process that starts afterwards

Every directory and every file is held twice: as the processes see it, and as the disk holds it.
`fsync` copies the content of one file, `fsync_dir` the names of one directory, nothing else does.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moorage.blobstore.files import Piece


@dataclass
class _File:
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    modified_at: float = 0.0


@dataclass
class _Directory:
    names: dict[str, "_File | _Directory"] = field(default_factory=dict)
    durable: dict[str, "_File | _Directory"] = field(default_factory=dict)


def _never(path: str) -> bool:
    return False


class CrashFiles:
    """`Files` without a disk. Not for threads: every call runs where it is made."""

    blocking = False

    def __init__(self, root: Path = Path("/blobs"), *, capacity: int | None = None) -> None:
        self.root = root
        self.capacity = capacity
        """Bytes that fit before a write fails with ENOSPC; None for no end."""
        self.before: Callable[[str, str], None] | None = None
        """Called with the name of each call that changes something and its path; may raise."""
        self.losses = 0
        self._top = _Directory()
        self._open: dict[int, tuple[_File, str]] = {}
        self._next = 3

    def power_loss(self, keep: Callable[[str], bool] = _never) -> None:
        """Forget what is not durable, except changes of a path for which `keep` is true.

        A real disk may hold any of the changes that nobody waited for; so tests pass the throws
        of a seeded `random.Random` here. It is asked for paths in a fixed order.
        """
        self.losses += 1
        self._open.clear()
        self._lose(self._top, str(self.root), keep)

    def paths(self) -> list[str]:
        """Relative path of every file there is, finished or not."""
        return sorted(name for name, _, _ in self.walk(str(self.root)))

    def _lose(self, at: _Directory, path: str, keep: Callable[[str], bool]) -> None:
        for name in sorted(at.names.keys() | at.durable.keys()):
            now, then = at.names.get(name), at.durable.get(name)
            if now is not then and keep(f"{path}/{name}"):
                then = now
            if then is None:
                at.names.pop(name, None)
            else:
                at.names[name] = then
        at.durable = dict(at.names)
        for name, child in at.names.items():
            if isinstance(child, _Directory):
                self._lose(child, f"{path}/{name}", keep)
            elif child.content != child.durable:
                if keep(f"{path}/{name}"):
                    child.durable = bytes(child.content)
                else:
                    child.content = bytearray(child.durable)

    def create(self, path: str) -> int:
        self._tell("create", path)
        directory, name = self._parent(path)
        if name in directory.names:
            raise OSError(errno.EEXIST, "exists", path)
        file = directory.names[name] = _File(modified_at=time.time())
        return self._descriptor(file, path)

    def open(self, path: str) -> int:
        found = self._find(path)
        if not isinstance(found, _File):
            raise OSError(errno.ENOENT, "not found", path)
        return self._descriptor(found, path)

    def write(self, fd: int, pieces: Sequence[Piece]) -> None:
        file, path = self._file(fd)
        self._tell("write", path)
        for piece in pieces:
            room = len(piece)
            if self.capacity is not None:
                room = min(room, self.capacity - self._used(self._top))
            file.content += piece[:room]
            if room < len(piece):
                raise OSError(errno.ENOSPC, "no space left", path)

    def writeback(self, fd: int, start: int, length: int) -> None:
        self._file(fd)

    def size(self, fd: int) -> int:
        return len(self._file(fd)[0].content)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return bytes(self._file(fd)[0].content[offset : offset + length])

    def cached(self, fd: int, length: int, offset: int) -> bool:
        return True

    def fsync(self, fd: int) -> None:
        file, path = self._file(fd)
        self._tell("fsync", path)
        file.durable = bytes(file.content)

    def close(self, fd: int) -> None:
        self._open.pop(fd, None)

    def stat(self, path: str) -> tuple[int, float] | None:
        found = self._find(path)
        return (len(found.content), found.modified_at) if isinstance(found, _File) else None

    def plain(self, root: str, relative: str) -> bool:
        return True

    def mkdir(self, path: str) -> None:
        self._tell("mkdir", path)
        directory, name = self._parent(path)
        directory.names.setdefault(name, _Directory())

    def rename(self, source: str, target: str) -> None:
        self._tell("rename", target)
        here, name = self._parent(source)
        there, other = self._parent(target)
        if name not in here.names:
            raise OSError(errno.ENOENT, "not found", source)
        there.names[other] = here.names.pop(name)

    def unlink(self, path: str) -> None:
        self._tell("unlink", path)
        found = self._find(path)
        if isinstance(found, _File):
            directory, name = self._parent(path)
            del directory.names[name]

    def fsync_dir(self, path: str) -> None:
        self._tell("fsync_dir", path)
        found = self._find(path)
        if not isinstance(found, _Directory):
            raise OSError(errno.ENOENT, "not found", path)
        found.durable = dict(found.names)

    def free(self, path: str) -> int:
        return 1 << 40 if self.capacity is None else self.capacity - self._used(self._top)

    def walk(self, root: str) -> Iterator[tuple[str, int, float]]:
        start = self._find(root)
        if not isinstance(start, _Directory):
            raise OSError(errno.ENOENT, "not found", root)
        waiting: list[tuple[str, _Directory]] = [("", start)]
        while waiting:
            at, directory = waiting.pop()
            for name, child in list(directory.names.items()):
                if isinstance(child, _Directory):
                    waiting.append((f"{at}{name}/", child))
                else:
                    yield at + name, len(child.content), child.modified_at

    def _tell(self, call: str, path: str) -> None:
        if self.before is not None:
            self.before(call, path)

    def _descriptor(self, file: _File, path: str) -> int:
        self._next += 1
        self._open[self._next] = (file, path)
        return self._next

    def _file(self, fd: int) -> tuple[_File, str]:
        if fd not in self._open:  # opened before the power was lost
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._open[fd]

    def _find(self, path: str) -> "_File | _Directory | None":
        at: _File | _Directory = self._top
        for name in path.removeprefix(str(self.root)).split("/"):
            if not name:
                continue
            if not isinstance(at, _Directory) or name not in at.names:
                return None
            at = at.names[name]
        return at

    def _parent(self, path: str) -> tuple[_Directory, str]:
        above, _, name = path.rpartition("/")
        directory = self._find(above)
        if not isinstance(directory, _Directory):
            raise OSError(errno.ENOENT, "not found", above)
        return directory, name

    def _used(self, at: _Directory) -> int:
        return sum(
            self._used(child) if isinstance(child, _Directory) else len(child.content)
            for child in at.names.values()
        )
