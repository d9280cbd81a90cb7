"""A cache of what the database says, never an authority over it.

    reader                                   writer
    get(kind, key) ─ hit ─► value            tx.touch(kind.key(…))
        └─ miss, with a ticket               before_commit: every key is marked; tickets die
    read the database                        COMMIT
    fill(ticket, value) ─ refused if the     after_commit: marks are lifted; the next reader fills
        key was marked meanwhile

So a read that starts after a writer's commit was acknowledged sees that commit, on any replica.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One sort of cached value; `name` starts its keys."""

    name: str
    dumps: Callable[[T], bytes]
    loads: Callable[[bytes], T]

    def key(self, *parts: object) -> str:
        """The key of one value: what a writer touches and a reader asks for."""
        return ":".join((self.name, *map(str, parts)))


class Cache(Protocol):
    """Values by key. `None` is never cached: absence is always asked of the database."""

    def peek(self, kind: Kind[T], key: str) -> T | None:
        """The value if this process may answer alone, without waiting; else None."""

    async def through(
        self, kind: Kind[T], key: str, load: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        """The cached value, or what `load` finds, cached for the next reader.

        Concurrent readers of one key share one `load`. Never fails because of the cache.
        """

    async def before_commit(self, keys: Iterable[str]) -> None:
        """Mark the keys, so that nobody reads or keeps what this transaction replaces.

        Raises DatabaseUnavailable when neither Redis nor the fence can be told; the transaction
        must then not commit. Each call is followed by one of `after_commit`, also when it raised.
        """

    async def after_commit(self, keys: Iterable[str], *, settled: bool = True) -> None:
        """Drop what is kept under the keys and lift this writer's marks.

        `settled` is false when nobody knows whether the commit happened, or whether it still will:
        the marks then stay until they expire. The writer may be told of success only after this
        returned; it raises DatabaseUnavailable when other replicas could not be told.
        """

    def health(self) -> dict[str, Any]:
        """`{"status": "healthy" | "degraded", …}` for the health page."""

    async def close(self) -> None: ...
