"""What a listing said, in a SQLite file of its own: a large registry does not fit into memory.

It is made anew by each run. What was done already is known by the rows of the registry itself.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moorage.blobstore.base import BlobStore
from moorage.moving.storage import layout

_PAGE = 2000
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE blobs (digest TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID;
CREATE TABLE revisions (repository TEXT, digest TEXT, size INTEGER, modified REAL,
    PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE TABLE tags (repository TEXT, tag TEXT, size INTEGER, modified REAL,
    PRIMARY KEY (repository, tag)) WITHOUT ROWID;
CREATE TABLE former (repository TEXT, tag TEXT, digest TEXT,
    PRIMARY KEY (repository, tag, digest)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """A manifest that a repository has."""

    repository: str
    digest: str
    size: int  # bytes of the link, 0 for a broken one
    modified: float


@dataclass(frozen=True, slots=True)
class TagLink:
    """A tag that a repository has."""

    repository: str
    tag: str
    size: int
    modified: float


class Inventory:
    """Made in `folder`, which may be made too, removed by `close`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / "import-inventory.db"
        self._path.unlink(missing_ok=True)
        self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._path.chmod(0o600)

    def close(self) -> None:
        """Remove it."""
        self._db.close()
        self._path.unlink(missing_ok=True)

    async def fill(self, source: BlobStore, tell: Callable[[int], None]) -> None:
        """List the source; raises StorageUnavailable."""
        seen = 0
        rows: dict[str, list[tuple[object, ...]]] = {
            "blobs": [], "revisions": [], "tags": [], "former": []
        }  # fmt: skip
        async for each in source.scan(layout.BLOBS):
            if (digest := layout.digest_of(each.key)) is not None:
                rows["blobs"].append((digest, each.size))
            seen += 1
            self._drain(rows, seen, tell)
        async for each in source.scan(layout.REPOSITORIES):
            seen += 1
            link = layout.link_of(each.key)
            if link is None:
                continue
            if link.kind == "revision":
                row = (link.repository, link.digest, each.size, each.modified_at)
                rows["revisions"].append(row)
            elif link.kind == "tag":
                rows["tags"].append((link.repository, link.tag, each.size, each.modified_at))
            else:
                rows["former"].append((link.repository, link.tag, link.digest))
            self._drain(rows, seen, tell)
        self._drain(rows, 0, tell)
        tell(seen)

    def _drain(
        self, rows: dict[str, list[tuple[object, ...]]], seen: int, tell: Callable[[int], None]
    ) -> None:
        if seen % _PAGE:
            return
        self._db.execute("BEGIN")
        for table, values in rows.items():
            if values:
                marks = ",".join("?" * len(values[0]))
                insert = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"  # noqa: S608
                self._db.executemany(insert, values)
                values.clear()
        self._db.execute("COMMIT")
        tell(seen)

    def counts(self) -> dict[str, int]:
        """Rows of each kind, and how many repositories there are."""
        found = {}
        for name in ("blobs", "revisions", "tags"):
            (found[name],) = self._db.execute(f"SELECT count(*) FROM {name}").fetchone()  # noqa: S608
        names = "SELECT repository FROM revisions UNION SELECT repository FROM tags"
        query = f"SELECT count(*) FROM ({names})"  # noqa: S608
        (found["repositories"],) = self._db.execute(query).fetchone()
        return found

    def sizes(self, digests: Sequence[str]) -> dict[str, int]:
        """Bytes of those digests that are there."""
        found: dict[str, int] = {}
        for start in range(0, len(digests), 500):
            some = digests[start : start + 500]
            marks = ",".join("?" * len(some))
            query = f"SELECT digest, size FROM blobs WHERE digest IN ({marks})"  # noqa: S608
            found.update(self._db.execute(query, some).fetchall())
        return found

    def revisions(self, most: int) -> Iterator[list[Revision]]:
        """All manifests by repository, in batches of `most` or a little more."""
        last = ("", "")
        query = (
            "SELECT * FROM revisions WHERE (repository, digest) > (?, ?) "
            "ORDER BY repository, digest LIMIT ?"
        )
        while rows := self._db.execute(query, (*last, most)).fetchall():
            yield [Revision(*row) for row in rows]
            last = rows[-1][:2]

    def tags(self, most: int) -> Iterator[list[TagLink]]:
        """All tags by repository, in batches."""
        last = ("", "")
        query = (
            "SELECT * FROM tags WHERE (repository, tag) > (?, ?) ORDER BY repository, tag LIMIT ?"
        )
        while rows := self._db.execute(query, (*last, most)).fetchall():
            yield [TagLink(*row) for row in rows]
            last = rows[-1][:2]

    def holds(self, repository: str, digest: str) -> bool:
        """Whether a repository has this manifest."""
        query = "SELECT 1 FROM revisions WHERE repository = ? AND digest = ?"
        return self._db.execute(query, (repository, digest)).fetchone() is not None

    def former(self, repository: str, tag: str) -> list[str]:
        """Digests that a tag ever meant."""
        query = "SELECT digest FROM former WHERE repository = ? AND tag = ?"
        return [digest for (digest,) in self._db.execute(query, (repository, tag))]
