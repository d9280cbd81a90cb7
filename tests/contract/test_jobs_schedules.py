"""Schedules: what they may say, and that each firing comes once, whoever dies on the way."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, Table, func, select, update
from sqlalchemy.schema import CreateTable
from tests.support.databases import PostgresServer
from tests.support.jobworker import Fleet, opened, prepare, stepped

from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.migrator import migrate
from moorage.db.queries import Query
from moorage.db.transactions import Tx
from moorage.db.types import Timestamp, from_now
from moorage.errors import Invalid, NotFound
from moorage.jobs import LocalBell, Schedule, cron, schedules
from moorage.jobs.history import History
from moorage.jobs.requests import Requests
from moorage.jobs.schedules import SCHEDULER, Schedules, Ticker, single

START = datetime(2026, 3, 3, 3, 3, 3, tzinfo=UTC)  # a Tuesday


# --- cron


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("0 0 2 * * *", "2026-03-04T02:00:00"),
        ("0 30 2 * * 1-5", "2026-03-04T02:30:00"),
        ("0 30 2 ? * SAT", "2026-03-07T02:30:00"),
        ("0 0 0 1 ? ?", "2026-04-01T00:00:00"),
        ("15 */20 * * * *", "2026-03-03T03:20:15"),
        ("0 5,50 3 * * *", "2026-03-03T03:05:00"),
        ("0 0 8-18/2 * * *", "2026-03-03T08:00:00"),
        ("0 0 0 * JAN-FEB *", "2027-01-01T00:00:00"),
        ("0 0 0 * jun mon,wed", "2026-06-01T00:00:00"),
        ("0 0 0 * * 0", "2026-03-08T00:00:00"),
        ("0 0 0 * * 7", "2026-03-08T00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 0 L * *", "2026-03-31T00:00:00"),
        ("0 0 0 * * MON#2", "2026-03-09T00:00:00"),
        ("59 59 23 31 12 *", "2026-12-31T23:59:59"),
        ("0 0 0 13 * FRI", "2026-03-06T00:00:00"),  # either, as cron has it
        (cron.PRESETS["Hourly"], "2026-03-03T04:00:00"),
        (cron.PRESETS["Daily"], "2026-03-04T00:00:00"),
        (cron.PRESETS["Weekly"], "2026-03-08T00:00:00"),
    ],
)
def test_an_expression_says_when_it_comes(expression: str, first: str) -> None:
    found = cron.following(cron.check(expression), START)
    assert found == datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert cron.following(expression, found) > found


def test_an_expression_is_kept_in_its_plain_form() -> None:
    assert cron.check("  0 0\t2  * * ? ") == "0 0 2 * * ?"


def test_it_is_utc_whatever_the_zone_of_the_moment() -> None:
    east = START.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+09:00").tzinfo)
    assert cron.following("0 0 2 * * *", east) == datetime(2026, 3, 4, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "six fields"),
        ("0 2 * * *", "six fields"),
        ("0 0 2 * * * 2026", "six fields"),
        ("@daily", "six fields"),
        ("* * * * * *", "once a minute"),
        ("*/30 * * * * *", "once a minute"),
        ("0,30 0 2 * * *", "once a minute"),
        ("0-1 0 2 * * *", "once a minute"),
        ("60 0 2 * * *", "second"),
        ("0 60 2 * * *", "minute"),
        ("0 0 24 * * *", "hour"),
        ("0 0 2 32 * *", "day-of-month"),
        ("0 0 2 0 * *", "day-of-month"),
        ("0 0 2 30 2 *", "day-of-month"),
        ("0 0 2 31 4,6 *", "never|day-of-month"),
        ("0 0 2 * 13 *", "month"),
        ("0 0 2 * * 8", "day-of-week"),
        ("0 0 2 * * FRI-MON", "day-of-week"),
        ("0 0 2 * FOO *", "month"),
        ("0 0 2 */0 * *", "day-of-month"),
        ("0 0 -2 * * *", "hour"),
        ("0 0 ٣ * * *", "hour"),
        ("0 0 2 * * *\0", "day-of-week"),
        ("0 0 2 * * " + "1," * 100 + "1", "128 characters"),
    ],
)
def test_what_is_no_expression_is_refused_with_a_reason(expression: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        cron.check(expression)


# --- schedules as rows


async def put(
    db: Database, expression: str = "0 0 2 * * *", vendor: str = "MARK", **more: Any
) -> None:
    kind = more.pop("kind", "Custom")
    await db.run(schedules.put, vendor, kind, expression, **more)


async def make_due(db: Database, vendor: str = "MARK", seconds: float = 1) -> None:
    mine = tables.schedules.c.vendor_type == vendor
    async with db.write() as tx:
        await tx.execute(update(tables.schedules).where(mine).values(next_at=from_now(-seconds)))


async def fired(db: Database, vendor: str = "MARK") -> int:
    mine = tables.executions.c.vendor_type == vendor
    async with db.read() as tx:
        query = select(func.count()).select_from(tables.executions).where(mine)
        return int((await tx.execute(query)).scalar_one())


def ticker(db: Database, *vendors: str) -> Ticker:
    return Ticker(db, {vendor: single(vendor) for vendor in vendors or ("MARK",)})


@pytest.mark.anyio
async def test_a_schedule_is_set_and_replaced_and_removed(database: Database) -> None:
    found = Schedules(database)
    await put(database, arguments={"deep": True}, vendor_id=7)
    first = await found.find("MARK", 7)
    assert first is not None
    assert (first.cron, first.arguments, first.enabled) == ("0 0 2 * * *", {"deep": True}, True)
    await put(database, "", kind="Hourly", vendor_id=7)
    second = await found.find("MARK", 7)
    assert second is not None
    assert (second.id, second.type, second.cron) == (first.id, "Hourly", "0 0 * * * *")
    assert second.next_at - datetime.now(UTC) <= timedelta(hours=1)
    assert (await found.list(Query())).total == 1
    assert await found.find("MARK") is None
    await database.run(schedules.remove, "MARK", 7)
    assert await found.find("MARK", 7) is None


@pytest.mark.anyio
async def test_an_expression_that_is_wrong_leaves_what_was(database: Database) -> None:
    await put(database)
    with pytest.raises(Invalid):
        await put(database, "* * * * * *")
    with pytest.raises(Invalid):
        await put(database, "", kind="Custom")
    found = await Schedules(database).find("MARK")
    assert found is not None
    assert found.cron == "0 0 2 * * *"


@pytest.mark.usefixtures("same_hour")
@pytest.mark.anyio
async def test_what_was_missed_comes_once(database: Database) -> None:
    await put(database, "0 0 * * * *", arguments={"a": 1}, vendor_id=3)
    await make_due(database, seconds=7 * 86400)
    before = datetime.now(UTC)
    assert await ticker(database).tick() == 1
    assert await ticker(database).tick() == 0
    assert await fired(database) == 1
    found = await Schedules(database).find("MARK", 3)
    assert found is not None
    assert before < found.next_at <= datetime.now(UTC) + timedelta(hours=1)
    (execution,) = (await History(database).list(["MARK"], Query())).items
    assert (execution.trigger, execution.vendor_id, execution.extra) == ("SCHEDULE", 3, {"a": 1})


@pytest.mark.anyio
async def test_what_is_disabled_removed_or_paused_does_not_come(database: Database) -> None:
    requests = Requests(database, LocalBell())
    await put(database, vendor="OFF", enabled=False)
    await put(database, vendor="GONE")
    await put(database, vendor="STRANGE")
    await put(database)
    for vendor in ("OFF", "GONE", "STRANGE", "MARK"):
        await make_due(database, vendor)
    await database.run(schedules.remove, "GONE")
    every = ticker(database, "OFF", "GONE", "MARK")
    await requests.pause("me", [SCHEDULER], paused=True)
    assert await Schedules(database).paused()
    assert await every.tick() == 0
    await requests.pause("me", [SCHEDULER], paused=False)
    assert await every.tick() == 1
    assert [await fired(database, vendor) for vendor in ("OFF", "GONE", "MARK")] == [0, 0, 1]


@pytest.mark.anyio
async def test_the_same_firing_does_not_come_again(database: Database) -> None:
    """Also when its row was set back, as a restored copy of the database would have it."""
    await put(database)
    await make_due(database)
    async with database.read() as tx:
        moment = (await tx.execute(select(tables.schedules.c.next_at))).scalar_one()
    await ticker(database).tick()
    async with database.write() as tx:
        await tx.execute(update(tables.schedules).values(next_at=moment))
    await ticker(database).tick()
    assert await fired(database) == 1


@pytest.mark.anyio
async def test_many_that_are_due_at_once_come_in_one_tick(database: Database) -> None:
    for number in range(120):
        await put(database, vendor_id=number)
    await make_due(database)
    found = await asyncio.gather(*(ticker(database).tick() for _ in range(3)))
    assert sum(found) == 120
    assert await fired(database) == 120


@pytest.mark.anyio
async def test_one_that_cannot_fire_is_in_no_other_ones_way(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """What its vendor refuses for good is removed; a bug is told, and tried again."""

    async def gone(tx: Tx, schedule: Schedule, mark: str) -> None:
        raise NotFound("the policy is gone")

    async def bug(tx: Tx, schedule: Schedule, mark: str) -> None:
        await tx.execute(select(func.nothing_like_this()))

    for vendor, seconds in (("BUG", 9), ("GONE", 8), ("MARK", 7)):
        await put(database, vendor=vendor)
        await make_due(database, vendor, seconds)
    every = Ticker(database, {"BUG": bug, "GONE": gone, "MARK": single("MARK")})
    assert await every.tick() == 2
    assert await fired(database) == 1
    assert await Schedules(database).find("GONE") is None
    assert await Schedules(database).find("BUG") is not None
    assert "schedule 1 cannot fire" in caplog.text
    assert await every.tick() == 0


# --- a clock that a test moves


class Hand:
    """A clock of its own for tickers: it stands until it is moved."""

    def __init__(self, db: Database, began: datetime) -> None:
        self.db = db
        self.began = self.now = began
        self._clock = Table("clock", MetaData(), Column("moment", Timestamp))

    async def make(self) -> None:
        async with self.db.write() as tx:
            await tx.execute(CreateTable(self._clock))
            await tx.execute(self._clock.insert().values(moment=self.now))

    async def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        async with self.db.write() as tx:
            await tx.execute(self._clock.update().values(moment=self.now))

    async def schedule(self, count: int) -> None:
        """Schedules that come each minute of this clock, each in a second of its own."""
        for number in range(count):
            await put(self.db, self.cron(number), vendor_id=number)
            first = cron.following(self.cron(number), self.began)
            mine = tables.schedules.c.vendor_id == number
            async with self.db.write() as tx:
                await tx.execute(update(tables.schedules).where(mine).values(next_at=first))

    def cron(self, number: int) -> str:
        return f"{number * 7 % 60} * * * * *"

    def expected(self, number: int) -> list[datetime]:
        """Every firing of a schedule from the beginning until now."""
        found = [cron.following(self.cron(number), self.began)]
        while found[-1] <= self.now:
            found.append(cron.following(self.cron(number), found[-1]))
        return found[:-1]

    async def due(self) -> int:
        """Schedules that have not fired yet, though this clock says so."""
        late = tables.schedules.c.next_at <= self.now
        async with self.db.read() as tx:
            query = select(func.count()).select_from(tables.schedules).where(late)
            return int((await tx.execute(query)).scalar_one())

    async def marks(self) -> dict[int, list[datetime]]:
        """When each fired, as the mark of its execution says."""
        e = tables.executions
        async with self.db.read() as tx:
            rows = await tx.execute(select(e.c.vendor_id, e.c.dedupe).order_by(e.c.id))
            found: dict[int, list[datetime]] = {}
            for row in rows:
                at = datetime.fromisoformat(row.dedupe.partition("@")[2])
                found.setdefault(row.vendor_id, []).append(at)
            return found


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(3))
async def test_every_firing_comes_once_however_the_ticks_fall(
    database: Database, seed: int
) -> None:
    """Three schedulers that tick at once, at any distance that is shorter than the schedule's."""
    chance, hand, count = random.Random(seed), Hand(database, START), 5
    await hand.make()
    await hand.schedule(count)
    tickers = [Ticker(database, {"MARK": single("MARK")}, stepped()) for _ in range(3)]
    while hand.now < START + timedelta(minutes=15):
        await hand.move(chance.choice([0, 0.001, 0.999, 1, 7, 30, 59, 59.999]))
        await asyncio.gather(*(each.tick() for each in tickers))
        assert not await hand.due()
    assert await hand.marks() == {number: hand.expected(number) for number in range(count)}


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(2))
async def test_what_came_too_late_stands_for_what_was_missed_and_nothing_else(
    database: Database, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Ticks that are minutes apart: each brings the first of what was due, and counts the rest."""
    chance, hand = random.Random(seed), Hand(database, START)
    await hand.make()
    await hand.schedule(1)
    ticker, expected, missed = Ticker(database, {"MARK": single("MARK")}, stepped()), [], 0
    while hand.now < START + timedelta(minutes=90):
        seen = len(hand.expected(0))
        await hand.move(chance.choice([20, 60, 61, 119, 120, 121, 600]))
        assert await ticker.tick() == (len(hand.expected(0)) > seen)
        came = hand.expected(0)[seen:]
        expected += came[:1]
        missed += max(0, len(came) - 1)
    assert (await hand.marks())[0] == expected
    told = [record.args for record in caplog.records if "stands for" in record.msg]
    assert sum(int(str(args[2])) for args in told if isinstance(args, tuple)) == missed


@pytest.mark.usefixtures("same_hour")
@pytest.mark.anyio
async def test_who_saves_a_schedule_while_it_is_due_loses_no_firing(database: Database) -> None:
    """Saved as it was, with other arguments: still due. Another time, or off and on: a new one."""
    for again, comes in (("0 0 2 * * *", 1), ("0 0 3 * * *", 0)):
        await put(database)
        await make_due(database)
        await put(database, again, arguments={"deep": True})
        assert await ticker(database).tick() == comes
    await make_due(database)
    await put(database, "0 0 3 * * *", enabled=False)
    await put(database, "0 0 3 * * *")
    assert await ticker(database).tick() == 0


# --- processes


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of an empty database for processes; none is SQLite in the test's folder."""
    if request.param == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.fresh()
    yield server.url(name)
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.anyio
@pytest.mark.parametrize("minutes", [2, pytest.param(10, marks=pytest.mark.slow)])
async def test_two_schedulers_of_which_one_dies_every_twenty_seconds_fire_each_time_once(
    tmp_path: Path, url: str, minutes: int
) -> None:
    """Thirty schedules of every minute, and a process is killed every 20 seconds of their clock.

    The clock goes on when all has come that is due: a machine that is busy makes it slower, and
    excuses nothing.
    """
    chance, count = random.Random(4711), 30
    db = opened({"folder": str(tmp_path), "url": url})
    jobs = {"poll_seconds": 0.2, "lease_seconds": 2, "drain_seconds": 1}
    fleet: Fleet | None = None
    try:
        await migrate(db)
        await prepare(db)
        hand = Hand(db, START)
        await hand.make()
        await hand.schedule(count)
        fleet = Fleet(tmp_path, 2, url=url, marks=True, jobs=jobs)
        for step in range(minutes * 6):
            if step % 2:
                await _complete(db, fleet)
            await hand.move(10)
            if step % 2:  # before, while or after the firings of this step come
                await asyncio.sleep(chance.uniform(0, 1))
                number = chance.randrange(2)
                fleet.kill(number)
                fleet.again(number)
            async with asyncio.timeout(240):
                while await hand.due():  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(0.05)
        marks = await hand.marks()
    finally:
        if fleet is not None:
            fleet.end()
        await db.close()
    assert marks == {number: hand.expected(number) for number in range(count)}


async def _complete(db: Database, fleet: Fleet) -> None:
    """Return when all processes are at work."""
    pids = {str(each.pid) for each in fleet.processes}
    async with asyncio.timeout(240):
        while True:
            async with db.read() as tx:
                ids = (await tx.execute(select(tables.workers.c.id))).scalars().all()
            if pids <= {each.split("-")[-2] for each in ids}:
                return
            await asyncio.sleep(0.05)
