"""Statements that each task runs at least once, prepared: what it tells, and how it ends."""

from typing import Any

from sqlalchemy import ColumnElement, Update, bindparam, case, func, literal_column, update

from moorage.db.dialects import Dialect
from moorage.db.prepared import Prepared
from moorage.db.tables import executions, task_logs, tasks
from moorage.db.types import now
from moorage.jobs.records import ERROR, RUNNING, STOPPED, SUCCESS

LOG = Prepared(
    lambda dialect: task_logs.insert().values(task_id=bindparam("task"), text=bindparam("lines"))
)
"""A piece of a log."""


def _constant(word: str) -> ColumnElement[str]:
    return literal_column(f"'{word}'", tasks.c.status.type)


def _held() -> tuple[ColumnElement[bool], ...]:
    """The task `task`, if its owner is `holder` and its fence `held`."""
    return (
        tasks.c.id == bindparam("task"),
        tasks.c.owner == bindparam("holder"),
        tasks.c.fence == bindparam("held"),
        tasks.c.status == _constant(RUNNING),
    )


TELL = Prepared(
    lambda dialect: (
        update(tasks)
        .where(*_held())
        .values(check_in=bindparam("said"), checked_in_at=now(), updated_at=now())
    )
)
"""How far a task is."""


def _finish(**more: Any) -> Update:
    ended = update(tasks).where(*_held())
    ended = ended.values(
        status=bindparam("state"),
        status_message=bindparam("message"),
        owner=None,
        lease_until=None,
        ended_at=now(),
        updated_at=now(),
        **more,
    )
    return ended.returning(tasks.c.execution_id)


FINISH = Prepared(lambda dialect: _finish())
FINISH_WITH = Prepared(lambda dialect: _finish(extra=bindparam("results")))
"""The end of a task, without and with `results` of its own; its execution."""


def _count(dialect: Dialect) -> Update:
    left = executions.c.unfinished - bindparam("ended")
    failed = executions.c.failed + bindparam("bad")
    stopped = executions.c.stopped + bindparam("halted")
    outcome = case(
        (left > 0, executions.c.status),
        (failed > 0, _constant(ERROR)),
        (stopped > 0, _constant(STOPPED)),
        else_=_constant(SUCCESS),
    )
    told: ColumnElement[str] = func.coalesce(bindparam("message"), executions.c.status_message)
    counted = update(executions).where(dialect.among(executions.c.id, "ids"))
    return counted.values(
        unfinished=left,
        failed=failed,
        stopped=stopped,
        status=outcome,
        status_message=told,
        ended_at=case((left > 0, None), else_=now()),
        updated_at=now(),
        revision=executions.c.revision + 1,
    )


COUNT = Prepared(_count)
"""So many tasks of each of the executions `ids` have `ended`; the last one decides."""
