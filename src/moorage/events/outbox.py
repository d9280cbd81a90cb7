"""The outbox: a fact is a row of the transaction that made it true, so none is lost or invented.

    emit(tx, fact) ── commit ──► row ── dispatch ──► subscribers, each on the same transaction
                                                     └─ commit: the rows of a batch are gone

A subscriber does database work only (it enqueues what takes longer), so a fact that was handed
over twice after a crash had no effect the first time. It gets a batch at a time, and what it writes
it writes at once.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, select

from moorage import failpoints
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import outbox
from moorage.db.transactions import Tx
from moorage.events.facts import TYPES, Fact, load


@dataclass(frozen=True, slots=True)
class Happened:
    """A fact and when its transaction told of it."""

    fact: Fact
    at: datetime


Subscriber = Callable[[Tx, Sequence[Happened]], Awaitable[None]]


async def emit(tx: Tx, *happened: Fact) -> None:
    """Tell of facts once `tx` is committed."""
    rows = [{"kind": type(fact).__name__, "said": asdict(fact)} for fact in happened]
    await tx.fetch_many(_EMIT, rows)


_EMIT = Prepared(
    lambda dialect: outbox.insert().values(type=bindparam("kind"), payload=bindparam("said"))
)


class Outbox:
    """Hands facts to subscribers, each fact once, in the order of their rows."""

    def __init__(
        self, db: Database, subscribers: Mapping[type[Fact], Sequence[Subscriber]], batch: int = 200
    ) -> None:
        self._db = db
        self._subscribers = subscribers
        self._batch = batch

    async def dispatch(self) -> int:
        """Hand over one batch; returns how many facts it held."""
        handed = await self._db.run(self._step)
        await failpoints.reach("outbox.committed")
        return handed

    async def _step(self, tx: Tx) -> int:
        # During a rolling upgrade a newer replica may write types that only it can read.
        known = select(outbox).where(outbox.c.type.in_(TYPES))
        query = known.order_by(outbox.c.id).limit(self._batch)
        rows = (await tx.execute(tx.dialect.for_update(query, skip_locked=True))).all()
        heard: dict[Subscriber, list[Happened]] = {}
        for row in rows:
            fact = load(row.type, row.payload)
            for subscriber in self._subscribers.get(type(fact), ()):
                heard.setdefault(subscriber, []).append(Happened(fact, row.occurred_at))
        for subscriber, batch in heard.items():
            await subscriber(tx, batch)
        if rows:
            await failpoints.reach("outbox.dispatching")
            ids = [row.id for row in rows]
            await tx.execute(delete(outbox).where(outbox.c.id.in_(ids)))
        return len(rows)
