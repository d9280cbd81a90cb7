"""Old executions and old logs go; what runs, what is new and what others need stays."""

from typing import Any

import pytest
from sqlalchemy import Delete, func, insert, select, update
from tests.support.jobs import ask, ended, row, worker, working

from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.transactions import Tx
from moorage.db.types import from_now
from moorage.jobs import Kind, NewTask
from moorage.jobs.sweeping import KIND, Sweep

pytestmark = pytest.mark.anyio


async def done(database: Database, vendor: str, policy: int, count: int) -> list[int]:
    """Executions that ended."""
    made = [
        await ask(database, NewTask("X"), vendor=vendor, vendor_id=policy) for _ in range(count)
    ]
    async with database.write() as tx:
        ended_ = {"status": "Success", "ended_at": from_now(0)}
        mine = tables.executions.c.id.in_(made)
        await tx.execute(update(tables.executions).where(mine).values(unfinished=0, **ended_))
        mine = tables.tasks.c.execution_id.in_(made)
        await tx.execute(update(tables.tasks).where(mine).values(**ended_))
        for execution_id in made:
            task = select(tables.tasks.c.id).where(tables.tasks.c.execution_id == execution_id)
            await tx.execute(
                insert(tables.task_logs).values(task_id=task.scalar_subquery(), text="said")
            )
    return made


async def left(database: Database, table: Any, column: Any) -> set[int]:
    async with database.read() as tx:
        return set((await tx.execute(select(column).select_from(table))).scalars())


async def sweep(database: Database, log_days: int = 14, policies: Any = None) -> Any:
    made = await ask(database, NewTask(KIND), vendor=KIND)
    async with working(worker(database, Kind(KIND, Sweep(database, log_days, policies)))):
        found = await ended(database, made)
    assert found.status == "Success"
    return found.id


async def test_the_newest_of_each_policy_stay(database: Database) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moorage.jobs.sweeping.KEPT", {"SCAN": 1, KIND: 10})
        patch.setattr("moorage.jobs.sweeping.KEPT_OF_OTHERS", 3)
        patch.setattr("moorage.jobs.sweeping._BATCH", 2)
        scans = await done(database, "SCAN", 1, 4)
        one, two = await done(database, "OTHER", 1, 7), await done(database, "OTHER", 2, 2)
        running = await ask(database, NewTask("X"), vendor="SCAN", vendor_id=1)
        mine = await sweep(database)
    kept = await left(database, tables.executions, tables.executions.c.id)
    assert kept == {running, mine, *one[-3:], *two}
    assert not kept & set(scans)  # the one that may stay is the one that runs
    assert (await row(database, running)).status == "Pending"
    tasks = await left(database, tables.tasks, tables.tasks.c.execution_id)
    assert tasks == kept


async def test_logs_go_after_their_time(database: Database) -> None:
    old, new = await done(database, "OTHER", 1, 2)
    async with database.write() as tx:
        task = select(tables.tasks.c.id).where(tables.tasks.c.execution_id == old)
        mine = tables.task_logs.c.task_id.in_(task)
        aged = update(tables.task_logs).where(mine).values(written_at=from_now(-15 * 86400))
        await tx.execute(aged)
    mine_ = await sweep(database)
    kept = await left(
        database,
        tables.task_logs.join(tables.tasks, tables.tasks.c.id == tables.task_logs.c.task_id),
        tables.tasks.c.execution_id,
    )
    assert kept == {new, mine_}
    assert await left(database, tables.executions, tables.executions.c.id) == {old, new, mine_}


async def test_what_a_deleted_policy_did_goes_after_a_week(database: Database) -> None:
    """Whoever makes and deletes policies all the time fills no database with their past."""
    policy = {"id": 1, "name": "one", "kind": "harbor", "url": "https://one.test"}
    async with database.write() as tx:
        await tx.execute(insert(tables.registries).values(policy))
    living, gone = await done(database, "OTHER", 1, 2), await done(database, "OTHER", 2, 3)
    nobodys = await done(database, "OTHER", 0, 1)
    running = await ask(database, NewTask("X"), vendor="OTHER", vendor_id=2)
    async with database.write() as tx:
        old = tables.executions.c.id.in_([*living, *gone[:2], *nobodys, running])
        aged = update(tables.executions).where(old).values(updated_at=from_now(-8 * 86400))
        await tx.execute(aged)
    mine = await sweep(database, policies={"OTHER": select(tables.registries.c.id)})
    kept = await left(database, tables.executions, tables.executions.c.id)
    assert kept == {*living, gone[2], *nobodys, running, mine}


async def test_no_transaction_deletes_more_than_so_many_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of runs with many tasks, whose logs have many pieces; others can write in between."""
    monkeypatch.setattr("moorage.jobs.sweeping.KEPT_OF_OTHERS", 1)
    monkeypatch.setattr("moorage.jobs.sweeping._ROWS", 5)
    deleted: list[int] = []
    execute = Tx.execute

    async def counted(self: Tx, statement: Any, parameters: Any = None) -> Any:
        rows = (tables.task_logs, tables.tasks, tables.executions)
        before = [await execute(self, select(func.count()).select_from(each)) for each in rows]
        held = sum(found.scalar_one() for found in before)
        result = await execute(self, statement, parameters)
        if isinstance(statement, Delete):
            after = [await execute(self, select(func.count()).select_from(each)) for each in rows]
            deleted.append(held - sum(found.scalar_one() for found in after))
        return result

    old = await done(database, "OTHER", 1, 4)
    async with database.write() as tx:
        of_one: dict[str, Any] = {"execution_id": old[0], "kind": "X", "status": "Success"}
        of_one |= {"arguments": {}, "extra": {}}
        made = insert(tables.tasks).values([of_one] * 7).returning(tables.tasks.c.id)
        for task_id in (await tx.execute(made)).scalars().all():
            pieces = [{"task_id": task_id, "text": "said"}] * 3
            await tx.execute(insert(tables.task_logs).values(pieces))
    monkeypatch.setattr(Tx, "execute", counted)
    mine = await sweep(database)
    monkeypatch.undo()
    assert max(deleted) <= 5
    assert sum(deleted) == 3 * (1 + 1 + 1) + 7 * (1 + 3)
    kept = await left(database, tables.executions, tables.executions.c.id)
    assert kept == {old[3], mine}
    assert await left(database, tables.tasks, tables.tasks.c.execution_id) == kept
