"""Writes rows of the log, in the transaction that hands the facts over."""

from collections.abc import Sequence
from typing import Any

from moorage.audit.entries import MAX_DESCRIPTION, NOBODY, Entry, entry_of
from moorage.config.configuration import audit_events
from moorage.db.tables import audit_forwards, audit_log
from moorage.db.transactions import Tx
from moorage.events import Happened
from moorage.settings import Configurations

MAX_USERNAME = 300
"""Characters; no account has a name so long."""


class Recorder:
    """Hears of facts. What settings leave out at that moment is never written."""

    def __init__(self, settings: Configurations) -> None:
        self._settings = settings

    async def hear(self, tx: Tx, batch: Sequence[Happened]) -> None:
        """Step: one statement for the log and one for the syslog server, however many facts."""
        settings = await self._settings.within(tx)
        silent = audit_events(settings.disabled_audit_log_event_types)
        told = [(happened, entry_of(happened.fact)) for happened in batch]
        rows = [_row(happened, entry) for happened, entry in told if entry.event_type not in silent]
        if not rows:
            return
        forwarded = bool(settings.audit_log_forward_endpoint)
        kept = not (forwarded and settings.skip_audit_log_database)
        if kept:
            await tx.execute(audit_log.insert(), rows)
        if forwarded:
            entries = [{**row, "occurred_at": row["occurred_at"].isoformat()} for row in rows]
            waiting = [{"entry": entry, "kept": kept} for entry in entries]
            await tx.execute(audit_forwards.insert(), waiting)


def _row(happened: Happened, entry: Entry) -> dict[str, Any]:
    return {
        "occurred_at": happened.at,
        "project_id": entry.project_id,
        "username": (happened.fact.operator or NOBODY)[:MAX_USERNAME],
        "operation": entry.operation,
        "resource_type": entry.resource_type,
        "resource": entry.resource,
        "description": entry.description[:MAX_DESCRIPTION],
        "successful": entry.successful,
    }
