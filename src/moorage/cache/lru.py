"""Maps that forget what was used longest ago, bounded by entries and by bytes."""

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")

# What an entry takes beside its value: the key, the tuple, the slot. Measured on CPython 3.11.
OVERHEAD = 250


class LRU(Generic[V]):
    """Values with their sizes; `get` makes a value the youngest."""

    def __init__(self, *, entries: int, size: int) -> None:
        """Keep at most `entries` values and `size` bytes, overhead included."""
        self._entries = entries
        self._limit = size
        self._used = 0
        self._map: OrderedDict[str, tuple[V, int]] = OrderedDict()

    def get(self, key: str) -> V | None:
        """The value under `key`."""
        entry = self._map.get(key)
        if entry is None:
            return None
        self._map.move_to_end(key)
        return entry[0]

    def put(self, key: str, value: V, size: int) -> None:
        """Keep `value`, which takes `size` bytes; one that is too large is not kept."""
        self.pop(key)
        size += OVERHEAD
        if size > self._limit:
            return
        self._map[key] = (value, size)
        self._used += size
        while self._used > self._limit or len(self._map) > self._entries:
            _, (_, freed) = self._map.popitem(last=False)
            self._used -= freed

    def pop(self, key: str) -> None:
        """Forget `key`, if it is there."""
        entry = self._map.pop(key, None)
        if entry is not None:
            self._used -= entry[1]

    def clear(self) -> None:
        """Forget everything."""
        self._map.clear()
        self._used = 0

    def __len__(self) -> int:
        return len(self._map)

    @property
    def used(self) -> int:
        """Bytes in use, overhead included."""
        return self._used


class BytesLRU:
    """Content by digest: what can never change, so that it needs no invalidation.

    Whether a caller may have the content is asked elsewhere, every time.
    """

    def __init__(self, size: int) -> None:
        """Keep at most `size` bytes; nothing when it is 0."""
        self._lru: LRU[bytes] = LRU(entries=1_000_000, size=size)

    def get(self, digest: str) -> bytes | None:
        """The content with that digest."""
        return self._lru.get(digest)

    def put(self, digest: str, content: bytes) -> None:
        """Keep `content`, which the caller has verified or read under its digest."""
        self._lru.put(digest, content, len(content))

    @property
    def used(self) -> int:
        """Bytes in use, overhead included."""
        return self._lru.used
