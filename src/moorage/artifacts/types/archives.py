"""Few small files out of a tar that somebody pushed, while it streams by.

    blob ─► pieces ─► inflate (bounded) ─► headers ─┬─ a wanted file: kept, up to its limit
                                                    └─ all else: passed over

Nothing is written to disk, no link is followed, and no name becomes a path of this machine. Memory
holds a piece and the wanted files, however large the archive says it is.
"""

import asyncio
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from moorage.artifacts.types.processor import MAX_DOCUMENT, Content, Document
from moorage.errors import Invalid, TooLarge

MAX_PACKED = 32 << 20
"""Bytes of an archive as it is stored."""
MAX_UNPACKED = 128 << 20
"""Bytes of its contents with their headers."""
MAX_RATIO = 200
"""How much larger the contents may be, above the first MiB: no text is packed so well."""
MAX_ENTRIES = 20_000
MAX_PATH = 4096
"""Characters of a name."""
MAX_DEPTH = 64
"""Folders in a name."""
_MAX_EXTENSION = 64 << 10  # bytes of an extended header
_BLOCK = tarfile.BLOCKSIZE
_PIECE = 64 << 10

Wanted = Callable[[Sequence[str]], str | None]
"""From the parts of a name to the key under which the file is kept; None passes it over."""


async def extract(
    content: Content, blob: Document, wanted: Wanted, *, compressed: bool
) -> Mapping[str, bytes]:
    """The wanted files of the tar that a blob is; raises Invalid, TooLarge, NotFound.

    Of two files with one key the last is taken, as when it is unpacked.
    """
    archive = Archive(wanted, compressed=compressed)
    stream = await content.stream(blob, MAX_PACKED)
    async with aclosing(stream.pieces) as pieces:
        async for piece in pieces:
            await asyncio.to_thread(archive.feed, piece)
            if archive.ended:
                break
    archive.finish()
    return archive.files


class Archive:
    """A tar, fed with its bytes from front to back."""

    def __init__(self, wanted: Wanted, *, compressed: bool) -> None:
        self.files: dict[str, bytes] = {}
        self.ended = False
        self._wanted = wanted
        self._inflate = Inflate() if compressed else None
        self._unpacked = 0
        self._entries = 0
        self._buffer = bytearray()
        self._need = _BLOCK  # bytes that the next step is made of
        self._skip = 0  # bytes to pass over before
        self._step: Callable[[bytes], None] = self._header
        self._path: str | None = None  # what extended headers said of the next entry
        self._size: int | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the archive as it is stored."""
        for piece in [data] if self._inflate is None else self._inflate.pieces(data):
            if self.ended:
                return
            self._unpacked += len(piece)
            if self._unpacked > MAX_UNPACKED:
                raise TooLarge(f"the archive unpacks to more than {MAX_UNPACKED >> 20} MiB")
            self._take(memoryview(piece))

    def finish(self) -> None:
        """Say that there are no more bytes; raises Invalid when some are missing."""
        if self.ended:
            return
        between = self._step == self._header and not self._skip and not self._buffer
        if not between or not self._entries or (self._inflate and not self._inflate.whole):
            raise Invalid("the archive is cut off")

    def _take(self, data: memoryview) -> None:
        while len(data) and not self.ended:
            if self._skip:
                passed = min(self._skip, len(data))
                self._skip -= passed
                data = data[passed:]
                continue
            part = data[: self._need - len(self._buffer)]
            self._buffer += part
            data = data[len(part) :]
            if len(self._buffer) == self._need:
                block = bytes(self._buffer)
                self._buffer.clear()
                self._step(block)

    def _next(self) -> None:
        self._need, self._step = _BLOCK, self._header

    def _body(self, size: int, step: Callable[[bytes], None]) -> None:
        """Collect a body of `size` bytes for `step`, and pass over its padding."""

        def complete(data: bytes) -> None:
            self._skip = -size % _BLOCK
            self._next()
            step(data)

        if size == 0:
            complete(b"")
        else:
            self._need, self._step = size, complete

    def _header(self, block: bytes) -> None:
        if block.count(0) == _BLOCK:
            self.ended = True
            return
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise TooLarge(f"the archive has more than {MAX_ENTRIES} entries")
        try:
            entry = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as error:
            raise Invalid("the archive is not a tar") from error
        if not 0 <= entry.size <= MAX_UNPACKED:
            raise TooLarge(f"an entry of the archive has more than {MAX_UNPACKED >> 20} MiB")
        if entry.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            self._extension(entry.size, self._pax)
        elif entry.type == tarfile.GNUTYPE_LONGNAME:
            self._extension(entry.size, self._long_name)
        elif entry.type in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            self._pass_over(entry.size)  # defaults for all, the target of a link: not needed
        else:
            self._entry(entry)

    def _extension(self, size: int, step: Callable[[bytes], None]) -> None:
        if size > _MAX_EXTENSION:
            raise TooLarge("the archive has an extended header that is too long")
        self._body(size, step)

    def _pass_over(self, size: int) -> None:
        self._skip = size + -size % _BLOCK

    def _long_name(self, data: bytes) -> None:
        self._path = _decoded(data.rstrip(b"\0"))

    def _pax(self, data: bytes) -> None:
        records = _records(data)
        self._path = _decoded(records[b"path"]) if b"path" in records else self._path
        if b"size" in records:
            if not records[b"size"].isdigit() or len(records[b"size"]) > 18:
                raise Invalid("the archive has an extended header that is wrong")
            self._size = int(records[b"size"])

    def _entry(self, entry: tarfile.TarInfo) -> None:
        name = entry.name if self._path is None else self._path
        size = entry.size if self._size is None else self._size
        self._path = self._size = None
        if entry.type == tarfile.GNUTYPE_SPARSE:
            raise Invalid("the archive has a sparse file, which is not read")
        path = _parts(name)
        if not entry.isreg():
            if entry.type not in tarfile.SUPPORTED_TYPES:
                self._pass_over(size)
            return  # folders, links and devices have no body
        if size > MAX_UNPACKED:
            raise TooLarge(f"an entry of the archive has more than {MAX_UNPACKED >> 20} MiB")
        key = self._wanted(path)
        if key is None:
            self._pass_over(size)
            return
        if size > MAX_DOCUMENT:
            raise TooLarge(f"{key} has more than {MAX_DOCUMENT >> 20} MiB")
        self._body(size, lambda data: self.files.update({key: data}))


class Inflate:
    """Unpacks gzip, no more than its limits allow."""

    def __init__(self) -> None:
        self._stream: Any = zlib.decompressobj(31)
        self._packed = 0
        self._unpacked = 0

    @property
    def whole(self) -> bool:
        """Whether the last member is complete."""
        return bool(self._stream.eof)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What these packed bytes unpack to; raises Invalid, TooLarge."""
        self._packed += len(data)
        full = False
        while data or full:
            if self._stream.eof:  # another member, or padding
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._stream = zlib.decompressobj(31)
            try:
                piece = self._stream.decompress(data, _PIECE)
            except zlib.error as error:
                raise Invalid("the archive is not gzip") from error
            self._unpacked += len(piece)
            if self._unpacked > max(1 << 20, MAX_RATIO * self._packed):
                raise TooLarge(f"the archive unpacks to more than {MAX_RATIO} times its size")
            yield piece
            # All input may be taken in while some of what it stands for is still to come.
            full = len(piece) == _PIECE and not self._stream.eof
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail


def _parts(name: str) -> list[str]:
    """A name by its folders; raises Invalid for one that leads out of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise Invalid("the archive has a name that leads out of it")
    if len(name) > MAX_PATH or len(parts) > MAX_DEPTH:
        raise TooLarge(f"a name in the archive is longer than {MAX_PATH} or {MAX_DEPTH} folders")
    return parts


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _records(data: bytes) -> dict[bytes, bytes]:
    """The records of an extended header: `length key=value newline`; raises Invalid."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 8)
        length = data[at : max(space, at)]
        end = at + int(length) if length.isdigit() else 0
        if not space < end <= len(data) or data[end - 1 : end] != b"\n":
            raise Invalid("the archive has an extended header that is wrong")
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        found[key] = value
        at = end
    return found
