"""Ends the rows of usage and of the history of tags that are old enough, a batch at a time."""

from datetime import timedelta

from sqlalchemy import ColumnElement, Table, delete

from moorage.artifacts.pulldays import ALL, ARTIFACT, CALLER, REPOSITORY, TAG
from moorage.config.usage import UsageSettings
from moorage.db.engine import Database
from moorage.db.moments import today
from moorage.db.tables import (
    project_pulls,
    project_storage,
    repository_pulls,
    repository_storage,
    tag_moves,
)
from moorage.db.transactions import Tx
from moorage.db.types import from_now

_BATCH = 2000
_DAY = 86400


class UsageAging:
    """Old rows go; which those are is a setting."""

    def __init__(self, db: Database, settings: UsageSettings) -> None:
        self._db = db
        self._settings = settings

    async def run_once(self) -> bool:
        """One batch of each kind; whether there may be more."""
        async with self._db.read() as tx:
            day = await today(tx)
        whole = day - timedelta(days=self._settings.days)
        detail = day - timedelta(days=self._settings.detail_days)
        history = tag_moves.c.moved_at < from_now(-_DAY * self._settings.tag_history_days)
        old: list[tuple[Table, ColumnElement[bool]]] = [(tag_moves, history)]
        for table in (repository_pulls, project_pulls):
            of_all = table.c.subject == ALL
            old += [(table, of_all & (table.c.day <= whole))]
            # Each subject by itself: the index begins with it.
            old += [
                (table, (table.c.subject == subject) & (table.c.day <= detail))
                for subject in (ARTIFACT, TAG, CALLER, REPOSITORY)
            ]
        old += [(table, table.c.day <= whole) for table in (project_storage, repository_storage)]
        gone = [await self._db.run(_delete, table, which) for table, which in old]
        return max(gone) == _BATCH


async def _delete(tx: Tx, table: Table, which: ColumnElement[bool]) -> int:
    """Step: a batch of rows; how many they were."""
    rows = await tx.execute(delete(table).where(tx.dialect.some(table, which, _BATCH)))
    return int(rows.rowcount)
