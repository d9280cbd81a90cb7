"""Statements that the driver runs itself give what SQLAlchemy gives."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Select, bindparam, insert, select, text
from sqlalchemy.exc import MultipleResultsFound

from moorage.db import Database, Tx, tables
from moorage.db.prepared import Prepared

pytestmark = pytest.mark.anyio

ROBOTS = tables.robots


def _rows() -> Select[tuple[object, ...]]:
    return select(ROBOTS.c.name, ROBOTS.c.disabled, ROBOTS.c.created_at, ROBOTS.c.expires_at)


BY_NAME = Prepared(lambda _: _rows().where(ROBOTS.c.name == bindparam("name")))
AMONG = Prepared(lambda dialect: _rows().where(dialect.among(ROBOTS.c.name, "names")))


async def fill(tx: Tx) -> None:
    """Two robot accounts, one of which ends."""
    later = datetime.now(UTC) + timedelta(days=1)
    for name, ends in (("ends", later), ("stays", None)):
        row = {"name": name, "secret_hash": "x", "duration": 1, "creator": "x"}
        await tx.execute(insert(ROBOTS).values(row | {"expires_at": ends, "disabled": not ends}))


@pytest.mark.parametrize("inside", [False, True])
async def test_rows_have_the_names_and_types_of_their_columns(
    database: Database, inside: bool
) -> None:
    """Truth values, times in UTC and absent ones, on both databases; in a transaction too."""
    await database.run(fill)
    async with database.write() if inside else database.read() as tx:
        plain = {row.name: row for row in await tx.execute(_rows())}
        found = await tx.select(AMONG, names=tx.dialect.many(["ends", "stays", "none"]))
        one = await tx.find(BY_NAME, name="ends")
        missing = await tx.find(BY_NAME, name="none")
    assert {row.name: row._asdict() for row in found} == {
        name: row._asdict() for name, row in plain.items()
    }
    assert one._asdict() == plain["ends"]._asdict()
    assert one.disabled is False
    assert one.created_at.tzinfo is one.expires_at.tzinfo is UTC
    assert missing is None


async def test_one_row_is_one(database: Database) -> None:
    """A statement that was taken for a look by its key says so when it is none."""
    await database.run(fill)
    async with database.read() as tx:
        with pytest.raises(MultipleResultsFound):
            await tx.find(Prepared(lambda _: _rows()))


async def test_a_statement_that_is_cancelled_ends_before_its_connection_goes_on(
    database: Database,
) -> None:
    """What the next one reads is its own."""
    await database.run(fill)

    async def read(name: str) -> list[str]:
        async with database.read() as tx:
            return [row.name for row in await tx.select(BY_NAME, name=name)]

    for turns in range(12):
        tasks = [asyncio.create_task(read("ends")) for _ in range(8)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await asyncio.gather(*(read("stays") for _ in range(8))) == [["stays"]] * 8


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_a_type_that_changes_under_prepared_statements(database: Database) -> None:
    """As a migration of the next version does under this one: none of them fails for it."""

    async def by_driver(tx: Tx) -> bool:
        row = await tx.find(BY_NAME, name="ends")
        return bool(row.disabled)

    async def by_sqlalchemy(tx: Tx) -> int:
        return len((await tx.execute(_rows())).all())

    async def change(tx: Tx, length: int) -> None:
        await tx.execute(text(f"ALTER TABLE robots ALTER COLUMN name TYPE varchar({length})"))

    await database.run(fill)
    for length in (1000, 2000):
        assert await database.run(by_driver) is False
        assert await database.run(by_sqlalchemy) == 2
        await database.run(change, length)
        assert await database.run(by_driver) is False
        assert await database.run(by_sqlalchemy) == 2
        await database.run(change, length + 1)
        async with database.read() as tx:
            assert await tx.find(BY_NAME, name="ends")
