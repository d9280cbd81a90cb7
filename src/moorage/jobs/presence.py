"""Steps on the list of workers."""

from collections.abc import Sequence

from sqlalchemy import delete, or_, update

from moorage.db.tables import job_queues, tasks, workers
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.jobs.records import RUNNING


async def appear(tx: Tx, owner: str, host: str, pid: int, slots: int) -> None:
    """Step: a worker is there, or still there."""
    insert = tx.dialect.insert(workers).values(id=owner, host=host, pid=pid, slots=slots)
    seen = {"seen_at": now(), "slots": slots}
    await tx.execute(insert.on_conflict_do_update(index_elements=["id"], set_=seen))


async def vanish(tx: Tx, owner: str, seconds: float) -> None:
    """Step: a worker leaves; so do those that were not seen for `seconds`."""
    gone = or_(workers.c.id == owner, workers.c.seen_at < from_now(-seconds))
    await tx.execute(delete(workers).where(gone))


async def ensure_queues(tx: Tx, kinds: Sequence[str]) -> None:
    """Step: every kind has its row."""
    rows = [{"kind": kind} for kind in sorted(kinds)]
    insert = tx.dialect.insert(job_queues).values(rows)
    await tx.execute(insert.on_conflict_do_nothing())


async def orphan(tx: Tx, owner: str) -> None:
    """Step: whoever else held a task is known to be dead: its leases end now."""
    others = tasks.c.status == RUNNING, tasks.c.owner != owner
    await tx.execute(update(tasks).where(*others).values(lease_until=now()))
    await tx.execute(delete(workers).where(workers.c.id != owner))
