"""Sends the log to a syslog server, from the rows that wait for it.

    audit_forwards ─► read a batch ─► send, without a transaction ─► delete it

A row goes when it was delivered, so a server that is away loses nothing and the database is the
queue; memory holds one batch. One process sends at a time. When the setting is taken away, what
waits moves to the log unless it is there already.
"""

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from moorage.audit.syslog import Syslog, host_name, message
from moorage.config.syslog import parse_target
from moorage.db.engine import Database
from moorage.db.tables import audit_forwards, audit_log, properties
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.settings import Configurations

LEASE = 120.0
"""Seconds for which nobody else sends; longer than any batch takes."""
BATCH = 200

_HOLDER = "audit_forwarder"  # a row of `properties`


class Forwarder:
    """What one process does of it."""

    def __init__(
        self, db: Database, settings: Configurations, syslog: Syslog, batch: int = BATCH
    ) -> None:
        self._db = db
        self._settings = settings
        self._syslog = syslog
        self._batch = batch
        self._name = secrets.token_hex(8)

    async def run_once(self) -> bool:
        """Send a batch; returns whether there may be more. Raises Unavailable."""
        if not await self._waiting():
            return False
        endpoint = (await self._settings.current()).audit_log_forward_endpoint
        if not endpoint:
            return await self._db.run(self._take_back)
        if not await self._db.run(_hold, self._name):
            return False
        # Read once nobody else sends: what was there before may be gone.
        rows = await self._waiting()
        host = host_name()
        messages = [message(row.id, row.entry, host) for row in rows]
        if messages:
            await self._syslog.send(parse_target(endpoint), messages)
            await self._db.run(_forget, [row.id for row in rows])
        return len(rows) == self._batch

    async def _waiting(self) -> list[Any]:
        query = select(audit_forwards).order_by(audit_forwards.c.id).limit(self._batch)
        async with self._db.read() as tx:
            return list((await tx.execute(query)).all())

    async def _take_back(self, tx: Tx) -> bool:
        """Step: nobody is there to get the rows; returns whether there were some."""
        if (await self._settings.within(tx)).audit_log_forward_endpoint:
            return False
        query = select(audit_forwards).order_by(audit_forwards.c.id).limit(self._batch)
        rows = (await tx.execute(tx.dialect.for_update(query, skip_locked=True))).all()
        back = [
            {**row.entry, "occurred_at": datetime.fromisoformat(row.entry["occurred_at"])}
            for row in rows
            if not row.kept
        ]
        if back:
            await tx.execute(audit_log.insert(), back)
        await _forget(tx, [row.id for row in rows])
        return bool(rows)


async def _hold(tx: Tx, name: str) -> bool:
    """Step: whether this process may send until LEASE seconds from now."""
    row = tx.dialect.insert(properties).values(name=_HOLDER, value=name)
    free = (properties.c.value == name) | (properties.c.updated_at < from_now(-LEASE))
    taken = row.on_conflict_do_update(
        index_elements=["name"], set_={"value": name, "updated_at": now()}, where=free
    )
    return (await tx.execute(taken.returning(properties.c.name))).first() is not None


async def _forget(tx: Tx, ids: list[int]) -> None:
    await tx.execute(delete(audit_forwards).where(audit_forwards.c.id.in_(ids)))
