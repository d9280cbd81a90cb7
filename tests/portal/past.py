"""A year that a registry never had: pulls, bytes held and moves of tags, written to its database.

    python -m tests.portal.past DATA_DIR                  SQLite, in the registry's folder
    python -m tests.portal.past --url postgresql://…      PostgreSQL

Every day has its part: weekends are quiet, use grows, releases make peaks. The same seed makes the
same year. The names are of what is there: repositories, tags, digests.
"""

import argparse
import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, delete, insert, select, update

from moorage.artifacts.pulldays import ALL, ARTIFACT, CALLER, REPOSITORY, TAG
from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.db import Database, connect
from moorage.db.tables import (
    manifests,
    project_pulls,
    project_storage,
    repositories,
    repository_pulls,
    repository_storage,
    tag_moves,
    tags,
)
from moorage.projects.storagedays import StorageDays

CALLERS = ("robot$ci", "robot$deploy", "mara", "jonas", "li", "amina", "")
SHARES = (40, 22, 12, 9, 6, 5, 3, 2, 1)
"""How pulls are spread over names, the first of which has the most."""
_ROWS = 5000


Key = tuple[int, date, str, str]
"""Whose, when, of what, and its name."""


class Year:
    """Makes the rows of one registry."""

    def __init__(
        self,
        db: Database,
        days: int = 365,
        detail: int = 90,
        seed: int = 3,
        callers: Sequence[str] = CALLERS,
    ) -> None:
        self._db = db
        self._callers = callers
        self._dice = random.Random(seed)
        self._today = datetime.now(UTC).date()
        self._days = [self._today - timedelta(days=ago) for ago in range(days - 1, -1, -1)]
        self._detail = set(self._days[-detail:])
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._written = 0
        self._of_project: dict[Key, Counter[str]] = {}
        self._of_repository: dict[Key, Counter[str]] = {}

    async def make(self) -> int:
        """Write all of it instead of what was counted; how many rows that are."""
        async with self._db.write() as tx:
            for table in (repository_pulls, project_pulls, project_storage, repository_storage):
                await tx.execute(delete(table))
        while await StorageDays(self._db).note():
            pass
        async with self._db.read() as tx:
            found = (await tx.execute(select(repositories).order_by(repositories.c.id))).all()
            held = (
                select(manifests.c.repository_id, manifests.c.digest, manifests.c.total_size)
                .add_columns(tags.c.name, tags.c.id, tags.c.manifest_id)
                .join(tags, tags.c.manifest_id == manifests.c.id)
                .order_by(tags.c.id.desc())
            )
            tagged: dict[int, list[Any]] = {}
            for row in await tx.execute(held):
                tagged.setdefault(row.repository_id, []).append(row)
            storage = {
                table: [row._asdict() for row in await tx.execute(select(table))]
                for table in (project_storage, repository_storage)
            }
        for repository in found:
            self._pulls(repository, tagged.get(repository.id, []))
            self._moves(repository, tagged.get(repository.id, []))
            await self._last_pulls(repository, tagged.get(repository.id, []))
            await self._sums(repository_pulls, "repository_id", self._of_repository)
        await self._sums(project_pulls, "project_id", self._of_project)
        for table, rows in storage.items():
            self._storage(table, rows)
        for table in (project_storage, repository_storage, tag_moves):
            await self._write(table)
        return self._written

    async def _last_pulls(self, repository: Any, tagged: Sequence[Any]) -> None:
        """What the repository, its tags and artifacts say themselves of the same pulls."""
        counted = [counts["pulls"] for key, counts in self._of_repository.items() if key[2] == ALL]
        recent = datetime.now(UTC) - timedelta(minutes=self._dice.randrange(600))
        pulled = tagged[: len(SHARES)]
        of_tags = tags.c.id.in_([row.id for row in pulled])
        of_artifacts = manifests.c.id.in_([row.manifest_id for row in pulled])
        mine = repositories.c.id == repository.id
        async with self._db.write() as tx:
            await tx.execute(update(repositories).where(mine).values(pull_count=sum(counted)))
            await tx.execute(update(tags).where(of_tags).values(pulled_at=recent))
            await tx.execute(update(manifests).where(of_artifacts).values(pulled_at=recent))

    async def _sums(self, table: Table, owner: str, sums: dict[Key, Counter[str]]) -> None:
        for (number, day, subject, name), counts in sums.items():
            row = {owner: number, "day": day, "subject": subject, "name": name, **counts}
            self._add(table, row)
        sums.clear()
        await self._write(table)

    def _add(self, table: Table, row: dict[str, Any]) -> None:
        self._rows.setdefault(table.name, []).append(row)

    async def _write(self, table: Table) -> None:
        rows = self._rows.pop(table.name, [])
        self._written += len(rows)
        for start in range(0, len(rows), _ROWS):
            async with self._db.write() as tx:
                await tx.execute(insert(table), rows[start : start + _ROWS])

    def _rhythm(self, place: int, day: date) -> float:
        growth = 0.35 + 0.65 * place / len(self._days)
        weekend = 0.25 if day.weekday() >= 5 else 1.0
        release = 2.4 if self._dice.random() < 0.03 else 1.0
        return growth * weekend * release * self._dice.uniform(0.75, 1.25)

    def _pulls(self, repository: Any, tagged: Sequence[Any]) -> None:
        if not tagged:
            return
        daily = 4 + self._dice.paretovariate(1.1) * 15
        size = tagged[0].total_size
        for place, day in enumerate(self._days):
            pulls = int(daily * self._rhythm(place, day))
            if not pulls:
                continue
            self._count(repository, day, ALL, "", pulls, size)
            if day not in self._detail:
                continue
            self._count(repository, day, REPOSITORY, repository.name, pulls, size)
            spread = list(zip(SHARES, tagged, strict=False))
            for share, row in spread:
                part = pulls * share // 100
                self._count(repository, day, TAG, row.name, part, row.total_size)
                self._count(repository, day, ARTIFACT, row.digest, part, row.total_size)
            for share, caller in zip(SHARES, self._callers, strict=False):
                self._count(repository, day, CALLER, caller, pulls * share // 100, size)

    def _count(
        self, repository: Any, day: date, subject: str, name: str, pulls: int, size: int
    ) -> None:
        if not pulls:
            return
        counts = {"pulls": pulls, "bytes": pulls * size}
        if subject != REPOSITORY:
            key = repository.id, day, subject, name
            self._of_repository.setdefault(key, Counter()).update(counts)
        if subject in (ALL, REPOSITORY, CALLER):
            key = repository.project_id, day, subject, name
            self._of_project.setdefault(key, Counter()).update(counts)

    def _storage(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Less and less, the further back; a clean-up now and then."""
        for row in rows:
            last = dict(row)
            part = 1.0
            for day in reversed(self._days[:-1]):
                part *= 1.09 if self._dice.random() < 0.012 else self._dice.uniform(0.993, 1.0)
                held = {
                    name: int(value * min(part, 1.2))
                    for name, value in last.items()
                    if not name.endswith("_id") and name != "day"
                }
                self._add(table, {**last, **held, "day": day})

    def _moves(self, repository: Any, tagged: Sequence[Any]) -> None:
        """The newest tag went from one digest to the next, every other week."""
        digests = list(dict.fromkeys(row.digest for row in tagged))[:20]
        if len(digests) < 2:
            return
        tag, previous = tagged[0].name, ""
        for place, digest in enumerate(reversed(digests)):
            ago = timedelta(days=13 * (len(digests) - place), minutes=self._dice.randrange(600))
            row = {
                "repository_id": repository.id,
                "tag": tag,
                "kind": "moved" if previous else "created",
                "digest": digest,
                "previous": previous,
                "operator": self._dice.choice(self._callers[:2]),
                "moved_at": datetime.now(UTC) - ago,
            }
            self._add(tag_moves, row)
            previous = digest


async def make(settings: DatabaseSettings, folder: Path, **more: Any) -> int:
    """A year in that database; how many rows it is."""
    db = connect(settings, data_dir=folder, clock=SystemClock())
    try:
        return await Year(db, **more).make()
    finally:
        await db.close()


def main() -> None:
    """Make one by hand."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--url", default="")
    given = parser.parse_args()
    settings = DatabaseSettings(url=given.url) if given.url else DatabaseSettings()
    print(asyncio.run(make(settings, given.folder)), "rows")


if __name__ == "__main__":
    main()
