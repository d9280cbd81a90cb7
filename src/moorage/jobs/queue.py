"""Steps on the queue. Each is one short transaction or part of one; time is the database's.

    enqueue, extend    in the caller's transaction
    due, claim         what a worker may do now, and taking it
    beat               keeping it
    finish, retry, give_back    leaving it

A claim raises the task's `fence`. Whoever changes a task as its owner names owner and fence, and
learns from the number of rows whether it still is.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    String,
    Update,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from moorage import failpoints
from moorage.db.moments import moment
from moorage.db.prepared import Prepared
from moorage.db.tables import executions, job_queues, tasks
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.jobs import statements
from moorage.jobs.kinds import NewExecution, NewTask
from moorage.jobs.records import (
    ERROR,
    FINAL,
    PENDING,
    RUNNING,
    STOPPED,
    SUCCESS,
    Claim,
    Stopping,
)

MAX_CRASHES = 5
"""Workers that a task may take with it, without getting on, before it counts as poison."""
MAX_MESSAGE = 4096
"""Characters of the message of a task that failed."""

_BATCH = 500  # rows of one statement


# --- asking for work


async def enqueue(
    tx: Tx,
    vendor_type: str,
    new: Sequence[NewTask],
    *,
    trigger: str,
    vendor_id: int = 0,
    extra: Mapping[str, Any] | None = None,
    dedupe: str | None = None,
) -> int | None:
    """Step: an execution with its tasks; returns its id.

    None when there is one with the same `dedupe` already. One without tasks has succeeded.
    """
    values = {
        "vendor_type": vendor_type,
        "vendor_id": vendor_id,
        "status": PENDING if new else SUCCESS,
        "trigger": trigger,
        "extra": dict(extra or {}),
        "unfinished": len(new),
        "dedupe": dedupe,
        "ended_at": None if new else now(),
    }
    insert = tx.dialect.insert(executions).values(**values)
    if dedupe is not None:
        insert = insert.on_conflict_do_nothing(index_elements=["dedupe"])
    made = (await tx.execute(insert.returning(executions.c.id))).scalar_one_or_none()
    if made is not None:
        await _insert(tx, made, new)
    return made


async def enqueue_each(tx: Tx, new: Sequence[NewExecution], *, trigger: str) -> None:
    """Step: executions of one task each, however many, in a few statements."""
    for start in range(0, len(new), _BATCH):
        batch = new[start : start + _BATCH]
        rows = [
            {
                "vendor_type": each.vendor_type,
                "vendor_id": each.vendor_id,
                "status": PENDING,
                "trigger": trigger,
                "extra": dict(each.extra),
                "unfinished": 1,
            }
            for each in batch
        ]
        insert = executions.insert().returning(executions.c.id, sort_by_parameter_order=True)
        ids = (await tx.execute(insert, rows)).scalars().all()
        await _insert_rows(tx, [(made, each.task) for made, each in zip(ids, batch, strict=True)])


async def extend(tx: Tx, execution_id: int, new: Sequence[NewTask]) -> None:
    """Step: more tasks for an execution that is still running; raises Stopping when it shall end.

    The row of the execution is locked first: a `stop` waits and ends these too, or was before us.
    """
    grown = executions.c.unfinished + len(new)
    mine = executions.c.id == execution_id
    await tx.execute(update(executions).where(mine).values(unfinished=grown))
    open_ = tasks.c.execution_id == execution_id, tasks.c.status.not_in(FINAL)
    # The task that asks is one of them, and the first: no look at those it has added before.
    going_on = select(tasks.c.id).where(*open_, ~tasks.c.stop_requested).limit(1)
    if (await tx.execute(going_on)).first() is None:
        raise Stopping
    await _insert(tx, execution_id, new)


async def _insert(tx: Tx, execution_id: int, new: Sequence[NewTask]) -> None:
    await _insert_rows(tx, [(execution_id, each) for each in new])


async def _insert_rows(tx: Tx, new: Sequence[tuple[int, NewTask]]) -> None:
    """Tasks, each of an execution."""
    if not new:
        return
    at = await moment(tx)
    for start in range(0, len(new), _BATCH):
        rows = [
            {
                "execution_id": execution_id,
                "kind": each.kind,
                "arguments": dict(each.arguments),
                "extra": dict(each.extra),
                "status": PENDING,
                "rank": each.rank,
                "run_at": at + timedelta(seconds=each.delay),
            }
            for execution_id, each in new[start : start + _BATCH]
        ]
        await tx.execute(tasks.insert(), rows)


# --- taking it


def _waiting(kind: Any) -> tuple[ColumnElement[bool], ...]:
    return tasks.c.kind == kind, _is(PENDING), tasks.c.run_at <= now()


def _abandoned(kind: Any) -> tuple[ColumnElement[bool], ...]:
    return tasks.c.kind == kind, _is(RUNNING), tasks.c.lease_until <= now()


def _is(status: str) -> ColumnElement[bool]:
    """As a constant of the statement: a parameter would keep it from the partial index."""
    return tasks.c.status == literal_column(f"'{status}'")


async def due(tx: Tx, kinds: Sequence[str]) -> list[str]:
    """Those of the kinds that have something to claim; one statement, two index look-ups each."""
    if not kinds:
        return []
    return [kind for (kind,) in await tx.fetch(_due(tuple(kinds)))]


@lru_cache(128)
def _due(kinds: tuple[str, ...]) -> Prepared:
    """A worker asks after every task that ends: building it anew would cost more than it does."""
    looks = [
        select(literal(kind).label("kind")).where(
            or_(
                select(tasks.c.id).where(*_waiting(kind)).exists(),
                select(tasks.c.id).where(*_abandoned(kind)).exists(),
            ),
            ~select(job_queues.c.kind)
            .where(job_queues.c.kind == kind, job_queues.c.paused)
            .exists(),
        )
        for kind in kinds
    ]
    return Prepared(lambda _: union_all(*looks))


async def claim(
    tx: Tx, kind: str, count: int, owner: str, lease: float, limit: int | None = None
) -> list[Claim]:
    """Step: take at most `count` tasks; `limit` is of the kind, in the whole installation."""
    if not await _open(tx, kind, alone=limit is not None):
        return []
    fresh = count if limit is None else limit - await _running(tx, kind)
    ids = await _pick(tx, kind, count, fresh)
    if not ids:
        return []
    taken = (
        update(tasks)
        .where(tasks.c.id.in_(ids))
        .values(
            status=RUNNING,
            owner=owner,
            lease_until=from_now(lease),
            fence=tasks.c.fence + 1,
            runs=tasks.c.runs + 1,
            crashes=tasks.c.crashes + case((tasks.c.status == RUNNING, 1), else_=0),
            started_at=func.coalesce(tasks.c.started_at, now()),
            updated_at=now(),
        )
        .returning(
            tasks.c.id,
            tasks.c.execution_id,
            tasks.c.kind,
            tasks.c.arguments,
            tasks.c.checkpoint,
            tasks.c.fence,
            tasks.c.failures,
            tasks.c.crashes,
            tasks.c.created_at,
            tasks.c.stop_requested,
        )
    )
    rows = (await tx.execute(taken)).all()
    vendors = await _started(tx, sorted({row.execution_id for row in rows}))
    return [Claim(**row._mapping, vendor_id=vendors[row.execution_id]) for row in rows]


async def _open(tx: Tx, kind: str, *, alone: bool) -> bool:
    """Whether the queue is not paused; `alone` also keeps other workers from counting with us."""
    rows = await tx.fetch(_OPEN_ALONE if alone else _OPEN, kind=kind)
    return bool(rows) and not rows[0][0]


async def _running(tx: Tx, kind: str) -> int:
    """Also those whose lease ran out: their owner may still renew it."""
    return int((await tx.fetch(_COUNT_RUNNING, kind=kind))[0][0])


async def _pick(tx: Tx, kind: str, count: int, fresh: int) -> list[int]:
    """Locked ids: first what a dead worker left, then at most `fresh` of what waits."""
    found: list[int] = []
    for picking, most in ((_PICK_ABANDONED, count), (_PICK_WAITING, fresh)):
        room = min(count - len(found), most)
        if room > 0:
            found += [task for (task,) in await tx.fetch(picking, kind=kind, room=room)]
    return found


def _picking(where: tuple[ColumnElement[bool], ...], *order: Any) -> Prepared:
    query = select(tasks.c.id).where(*where).order_by(*order)
    query = query.limit(bindparam("room", type_=Integer))
    return Prepared(lambda dialect: dialect.for_update(query, skip_locked=True))


_KIND = bindparam("kind", type_=String)
_PAUSED = select(job_queues.c.paused).where(job_queues.c.kind == _KIND)
_OPEN = Prepared(lambda _: _PAUSED)
_OPEN_ALONE = Prepared(lambda dialect: dialect.for_update(_PAUSED, skip_locked=True))
_COUNT_RUNNING = Prepared(
    lambda _: select(func.count()).select_from(tasks).where(tasks.c.kind == _KIND, _is(RUNNING))
)
_PICK_ABANDONED = _picking(_abandoned(_KIND), tasks.c.lease_until)
_PICK_WAITING = _picking(_waiting(_KIND), tasks.c.rank, tasks.c.run_at, tasks.c.id)


async def _started(tx: Tx, ids: list[int]) -> dict[int, int]:
    """Executions whose tasks run now, with their policies."""
    many = tx.dialect.many(ids)
    await tx.fetch(_START, ids=many)
    return {row[0]: row[1] for row in await tx.fetch(_VENDORS, ids=many)}


_START = Prepared(
    lambda dialect: (
        update(executions)
        .where(
            dialect.among(executions.c.id, "ids"),
            executions.c.status == literal_column(f"'{PENDING}'"),
        )
        .values(status=RUNNING, updated_at=now(), revision=executions.c.revision + 1)
    )
)
_VENDORS = Prepared(
    lambda dialect: select(executions.c.id, executions.c.vendor_id).where(
        dialect.among(executions.c.id, "ids")
    )
)


# --- keeping it


def _held(owner: str, claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """The task, if it is still this worker's."""
    return (
        tasks.c.id == claim.id,
        tasks.c.owner == owner,
        tasks.c.fence == claim.fence,
        tasks.c.status == RUNNING,
    )


async def beat(tx: Tx, owner: str, ids: Sequence[int], lease: float) -> dict[int, tuple[int, bool]]:
    """Step: renew the leases; what is still ours, with its fence and whether it shall stop."""
    kept = (
        update(tasks)
        .where(tasks.c.id.in_(ids), tasks.c.owner == owner, tasks.c.status == RUNNING)
        .values(lease_until=from_now(lease))
        .returning(tasks.c.id, tasks.c.fence, tasks.c.stop_requested)
    )
    found = {row.id: (row.fence, row.stop_requested) for row in await tx.execute(kept)}
    await failpoints.reach("job.beating")
    return found


async def stops(tx: Tx, owner: str, ids: Sequence[int]) -> dict[int, tuple[int, bool]]:
    """As `beat`, without a write."""
    query = select(tasks.c.id, tasks.c.fence, tasks.c.stop_requested).where(
        tasks.c.id.in_(ids), tasks.c.owner == owner, tasks.c.status == RUNNING
    )
    return {row.id: (row.fence, row.stop_requested) for row in await tx.execute(query)}


async def guard(tx: Tx, owner: str, claim: Claim) -> bool:
    """Step: whether the task is still this worker's; nobody else claims it before the commit.

    The lock is the weakest that a claim (`FOR UPDATE SKIP LOCKED`) respects. A stronger one would
    make the beat wait, and parts of a task that hold it by turns would let the lease run out.
    """
    return bool(await tx.fetch(_GUARD, task=claim.id, owner=owner, fence=claim.fence))


_GUARD = Prepared(
    lambda dialect: dialect.for_key_share(
        select(tasks.c.id).where(
            tasks.c.id == bindparam("task"),
            tasks.c.owner == bindparam("owner"),
            tasks.c.fence == bindparam("fence"),
            tasks.c.status == literal(RUNNING),
            tasks.c.lease_until > now(),
        )
    )
)


async def tell(tx: Tx, owner: str, claim: Claim, progress: str) -> None:
    """Step: say how far a task is, if it is still this worker's."""
    await tx.fetch(statements.TELL, task=claim.id, holder=owner, held=claim.fence, said=progress)


async def keep(tx: Tx, me: str, claim: Claim, /, **values: Any) -> bool:
    """Step: set columns of a task that is still this worker's."""
    changed = await tx.execute(
        update(tasks).where(*_held(me, claim)).values(**values, updated_at=now())
    )
    return changed.rowcount > 0


# --- leaving it


async def finish(
    tx: Tx,
    owner: str,
    claim: Claim,
    status: str,
    message: str = "",
    extra: Any = None,
    summary: Any = None,
) -> bool:
    """Step: the task ends; False when it is not this worker's any more, and nothing changes."""
    values: dict[str, Any] = {"state": status, "message": message[:MAX_MESSAGE]}
    if extra is not None:
        values["results"] = extra
    ending = statements.FINISH if extra is None else statements.FINISH_WITH
    found = await tx.fetch(ending, task=claim.id, holder=owner, held=claim.fence, **values)
    rows = [execution for (execution,) in found]
    if rows and summary is not None:
        mine = executions.c.id == claim.execution_id
        await tx.execute(update(executions).where(mine).values(extra=summary))
    await _count_down(tx, rows, status, message)
    await failpoints.reach("job.finishing")
    return bool(rows)


async def retry(
    tx: Tx, owner: str, claim: Claim, pause: float, message: str, *, crashed: bool = False
) -> bool:
    """Step: the task waits for another try; `crashed`: this one failed by no fault of its own."""
    counter = tasks.c.crashes if crashed else tasks.c.failures
    values = {
        "status_message": message[:MAX_MESSAGE],
        "run_at": from_now(pause),
        counter.name: counter + 1,
    }
    return await _wait_again(tx, owner, claim, values)


async def give_back(tx: Tx, owner: str, claim: Claim) -> bool:
    """Step: the worker leaves; somebody else goes on, and it counts neither as a run nor a try."""
    return await _wait_again(tx, owner, claim, {"runs": tasks.c.runs - 1})


async def _wait_again(tx: Tx, owner: str, claim: Claim, values: Mapping[str, Any]) -> bool:
    """Step: one that shall stop does not wait to be told so by its next owner."""
    going_on = *_held(owner, claim), ~tasks.c.stop_requested
    waits = update(tasks).where(*going_on).values(**_FREE, **values, updated_at=now())
    if (await tx.execute(waits)).rowcount:
        return True
    return await finish(tx, owner, claim, STOPPED)


async def release(tx: Tx, owner: str, busy: Collection[int]) -> None:
    """Step: a worker that leaves gives back whatever it holds, but for what it is busy with.

    That is what it claimed and had not begun.
    """
    held = tasks.c.owner == owner, tasks.c.status == RUNNING, tasks.c.id.not_in(busy)
    freed = update(tasks).where(*held).values(**_FREE, runs=tasks.c.runs - 1, updated_at=now())
    await tx.execute(freed)


_FREE: Mapping[str, Any] = {"status": PENDING, "owner": None, "lease_until": None}


async def stop(tx: Tx, *which: ColumnElement[bool]) -> None:
    """Step: end tasks. One that waits is stopped at once; one that runs is told.

    All are marked, and so locked, before any is looked at: none can begin or fall back meanwhile.
    Then their executions are: who adds to one has committed, or will learn of it.
    """
    open_ = tasks.c.status.not_in(FINAL)
    asked = update(tasks).where(*which, open_)
    await tx.execute(asked.values(stop_requested=True, updated_at=now()))
    theirs = select(tasks.c.execution_id).where(*which, open_)
    locked = select(executions.c.id).where(executions.c.id.in_(theirs)).order_by(executions.c.id)
    await tx.execute(tx.dialect.for_update(locked))
    waiting = _ended(STOPPED, "").where(*which, tasks.c.status == PENDING)
    rows = (await tx.execute(waiting.returning(tasks.c.execution_id))).scalars().all()
    # Added and claimed since the first statement.
    late = tasks.c.status == RUNNING, ~tasks.c.stop_requested
    await tx.execute(update(tasks).where(*which, *late).values(stop_requested=True))
    await _count_down(tx, rows, STOPPED, "")


async def pause(tx: Tx, kinds: Collection[str], *, paused: bool) -> None:
    """Step: hold queues, or let them go on."""
    rows = [{"kind": kind, "paused": paused} for kind in sorted(kinds)]
    if rows:
        insert = tx.dialect.insert(job_queues).values(rows)
        known = insert.on_conflict_do_update(index_elements=["kind"], set_={"paused": paused})
        await tx.execute(known)


def _ended(status: str, message: str) -> Update:
    return update(tasks).values(
        status=status,
        status_message=message[:MAX_MESSAGE],
        owner=None,
        lease_until=None,
        ended_at=now(),
        updated_at=now(),
    )


async def _count_down(tx: Tx, ids: Sequence[int], status: str, message: str) -> None:
    """Of each execution, as often as it is in `ids`, a task has ended; the last decides.

    The counters are changed in place, so that tasks that end at once cannot lose one another.
    """
    often: dict[int, list[int]] = {}
    for execution_id, ended in Counter(ids).items():
        often.setdefault(ended, []).append(execution_id)
    for ended, found in often.items():
        await _count(tx, sorted(found), ended, status, message)


async def _count(tx: Tx, ids: Sequence[int], ended: int, status: str, message: str) -> None:
    await tx.fetch(
        statements.COUNT,
        ids=tx.dialect.many(ids),
        ended=ended,
        bad=ended if status == ERROR else 0,
        halted=ended if status == STOPPED else 0,
        message=message[:MAX_MESSAGE] if status == ERROR else None,
    )
