"""Steps that begin executions.

asked for, scheduled   one task that finds out what there is, and adds a task for each artifact
an event               the same about one artifact
a delete               the task itself
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update

from moorage.db.tables import executions, tasks
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import NotFound, PreconditionFailed
from moorage.jobs import ERROR, MANUAL, NewTask, enqueue
from moorage.jobs.records import FINAL, STOPPED
from moorage.replication import filters
from moorage.replication.records import KIND, PLAN, Move, Policy

SKIPPED = "skipped: the execution before it has not ended"


async def launch(
    tx: Tx,
    policy: Policy,
    *,
    trigger: str,
    about: Mapping[str, Any] | None = None,
    moves: tuple[Move, ...] = (),
    dedupe: str | None = None,
    delay: float = 0.0,
) -> int | None:
    """Step: queue an execution; None when there is one with that `dedupe` already.

    `about` narrows the plan to one artifact; `moves` are what is planned already.
    """
    busy = policy.settings.single_active and await _active(tx, policy.id)
    new = [task(each) for each in moves] or [NewTask(PLAN, about or {}, delay=delay)]
    made = await enqueue(
        tx,
        KIND,
        [] if busy else new,
        trigger=trigger,
        vendor_id=policy.id,
        extra={"policy": snapshot(policy)},
        dedupe=dedupe,
    )
    if busy and made is not None:
        ended = {"status": ERROR, "status_message": SKIPPED, "ended_at": now()}
        await tx.execute(update(executions).where(executions.c.id == made).values(**ended))
    return made


def task(move: Move) -> NewTask:
    """What does a move."""
    shown = {
        "operation": move.operation,
        "resource_type": filters.resource(move.type),
        "source_resource": f"{move.source}{move.reference}",
        "destination_resource": f"{move.target}{move.reference}",
    }
    return NewTask(KIND, move.dump(), shown)


async def _active(tx: Tx, policy_id: int) -> bool:
    query = select(executions.c.id).where(
        executions.c.vendor_type == KIND,
        executions.c.vendor_id == policy_id,
        executions.c.status.not_in(FINAL),
    )
    return (await tx.execute(query.limit(1))).first() is not None


async def again(tx: Tx, execution_id: int, task_id: int) -> int:
    """Step: a task that failed or was stopped, in a new execution; raises NotFound."""
    query = (
        select(
            tasks.c.arguments,
            tasks.c.status,
            tasks.c.checkpoint,
            executions.c.vendor_id,
            executions.c.extra,
        )
        .join(executions, executions.c.id == tasks.c.execution_id)
        .where(
            tasks.c.id == task_id,
            tasks.c.kind == KIND,
            tasks.c.execution_id == execution_id,
            executions.c.vendor_type == KIND,
        )
    )
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"task {task_id} not found")
    if row.status not in (ERROR, STOPPED):
        raise PreconditionFailed("only a task that failed or was stopped can be done again")
    new = task(Move.load(row.arguments))
    made = await enqueue(tx, KIND, [new], trigger=MANUAL, vendor_id=row.vendor_id, extra=row.extra)
    assert made is not None
    if row.checkpoint:  # it goes on inside of a blob where the failed one was
        mine = tasks.c.execution_id == made
        await tx.execute(update(tasks).where(mine).values(checkpoint=row.checkpoint))
    return made


def snapshot(policy: Policy) -> dict[str, Any]:
    """What an execution keeps of its policy: it goes on as it began."""
    said = policy.settings
    return {
        "id": policy.id,
        "creator": policy.creator,
        **{name: getattr(said, name) for name in said.__slots__ if name != "filters"},
        "filters": filters.dump(said.filters),
    }
