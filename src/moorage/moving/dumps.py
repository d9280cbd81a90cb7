"""Lines of JSON in compressed parts, each with its length and checksum.

<key>-0001.jsonl.gz   at most `PART` bytes before compression, about
"""

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import orjson

from moorage.blobstore.base import BlobStore
from moorage.errors import BlobUnknown, Conflict

PART = 64 << 20

Part = dict[str, Any]
"""`key`, `size` in bytes and `sha256` in hex."""


async def put(store: BlobStore, key: str, content: bytes) -> Part:
    """Write a small object."""
    writer = store.create(key)
    try:
        await writer.write(content)
        await writer.commit()
    except BaseException:
        await writer.abort()
        raise
    return {"key": key, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


async def get(store: BlobStore, key: str) -> bytes:
    """Read a small object; raises BlobUnknown."""
    return b"".join([piece async for piece in store.read(key)])


class Lines:
    """Writes values, a line each."""

    def __init__(self, store: BlobStore, key: str) -> None:
        self._store = store
        self._key = key
        self._gathered: list[bytes] = []
        self._size = 0
        self.parts: list[Part] = []
        self.count = 0

    async def write(self, values: Iterable[Any]) -> None:
        """Append some."""
        for value in values:
            self._gathered.append(orjson.dumps(value))
            self._size += len(self._gathered[-1]) + 1
            self.count += 1
        if self._size >= PART:
            await self.finish()

    async def finish(self) -> None:
        """Write what is left."""
        if not self._gathered:
            return
        gathered, self._gathered, self._size = self._gathered, [], 0
        packed = await asyncio.to_thread(_pack, gathered)
        name = f"{self._key}-{len(self.parts) + 1:04}.jsonl.gz"
        self.parts.append(await put(self._store, name, packed))


def _pack(lines: Sequence[bytes]) -> bytes:
    packer = zlib.compressobj(3, wbits=31)
    pieces = [packer.compress(line + b"\n") for line in lines]
    return b"".join([*pieces, packer.flush()])


async def check(store: BlobStore, part: Part) -> str:
    """What is wrong with a part; nothing when it is as it was written."""
    try:
        await content(store, part)
    except Conflict as error:
        return error.message
    return ""


async def content(store: BlobStore, part: Part) -> bytes:
    """A part as it was written; raises Conflict."""
    try:
        found = await get(store, part["key"])
    except BlobUnknown:
        raise Conflict(f"{part['key']} is missing") from None
    if hashlib.sha256(found).hexdigest() != part["sha256"]:
        raise Conflict(f"{part['key']} is damaged")
    return found


async def read(store: BlobStore, parts: Sequence[Part], batch: int) -> AsyncIterator[list[Any]]:
    """The values of parts, `batch` at a time; raises Conflict for a part that is not whole."""
    for part in parts:
        packed = await content(store, part)
        plain = await asyncio.to_thread(zlib.decompress, packed, 31)
        lines = plain.splitlines()
        for start in range(0, len(lines), batch):
            yield [orjson.loads(line) for line in lines[start : start + batch]]
