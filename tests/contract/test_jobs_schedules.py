"""Schedules: what they may say, and that each firing comes once, whoever dies on the way."""

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from tests.support.databases import PostgresServer
from tests.support.jobworker import Fleet, fast, opened, prepare

from moorage.db import tables
from moorage.db.engine import Database
from moorage.db.migrator import migrate
from moorage.db.queries import Query
from moorage.db.transactions import Tx
from moorage.db.types import from_now
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


@pytest.mark.anyio
async def test_what_was_missed_comes_once(database: Database) -> None:
    await put(database, "0 0 * * * *", arguments={"a": 1}, vendor_id=3)
    await make_due(database, seconds=7 * 86400)
    assert await ticker(database).tick() == 1
    assert await ticker(database).tick() == 0
    assert await fired(database) == 1
    found = await Schedules(database).find("MARK", 3)
    assert found is not None
    assert timedelta() < found.next_at - datetime.now(UTC) <= timedelta(hours=1)
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


# --- processes


class Firings:
    """Schedules on a fast clock, and processes that fire them."""

    def __init__(self, folder: Path, url: str, speed: float) -> None:
        self.folder, self.url, self.speed = folder, url, speed
        self.db = opened({"folder": str(folder), "url": url})
        self.began = time.time()
        self.clock = fast(self.began, speed, self.db.dialect.name)

    async def prepare(self, count: int) -> None:
        """Schedules that come each minute of the fast clock, from now on."""
        await migrate(self.db)
        await prepare(self.db)
        start = datetime.fromtimestamp(self.began, UTC)
        for number in range(count):
            await put(self.db, f"{number} * * * * *", vendor_id=number)
            first = cron.following(f"{number} * * * * *", start)
            mine = tables.schedules.c.vendor_id == number
            async with self.db.write() as tx:
                await tx.execute(update(tables.schedules).where(mine).values(next_at=first))

    async def minutes(self) -> float:
        """Of the fast clock, since it began."""
        async with self.db.read() as tx:
            found: datetime = (await tx.execute(select(self.clock))).scalar_one()
        return (found.timestamp() - self.began) / 60

    def fleet(self, count: int) -> Fleet:
        marks = [self.began, self.speed]
        jobs = {"poll_seconds": 0.2, "lease_seconds": 2, "drain_seconds": 1}
        return Fleet(self.folder, count, url=self.url, marks=marks, jobs=jobs)

    async def complete(self, fleet: Fleet) -> None:
        """Return when all of its processes are at work."""
        pids = {str(each.pid) for each in fleet.processes}
        async with asyncio.timeout(30):
            while True:
                async with self.db.read() as tx:
                    ids = (await tx.execute(select(tables.workers.c.id))).scalars().all()
                if pids <= {each.split("-")[-2] for each in ids}:
                    return
                await asyncio.sleep(0.05)

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
@pytest.mark.parametrize(
    ("speed", "seconds", "count"),
    [
        (6, 24, 20),
        # Ten times as fast as ten minutes in which one of two dies every twenty seconds.
        pytest.param(10, 60, 30, marks=pytest.mark.slow),
    ],
)
async def test_two_schedulers_of_which_one_dies_all_the_time_fire_each_time_once(
    tmp_path: Path, url: str, speed: float, seconds: float, count: int
) -> None:
    """Schedules that come every minute of a fast clock; every two seconds a process is killed.

    While both live: with none there is nobody to fire, and what was missed would come once.
    """
    firings = Firings(tmp_path, url, speed)
    await firings.prepare(count)
    fleet = firings.fleet(2)
    chance = random.Random(4711)
    try:
        while (passed := await firings.minutes()) < seconds * speed / 60:
            await asyncio.sleep(2)
            await firings.complete(fleet)
            number = chance.randrange(2)
            fleet.kill(number)
            fleet.again(number)
        marks = await _all(firings, count, passed)
    finally:
        fleet.end()
        await firings.db.close()
    for times in marks.values():
        steps = {later - earlier for earlier, later in pairwise(times)}
        assert steps == {timedelta(minutes=1)}  # none twice, none missed


async def _all(firings: Firings, count: int, minutes: float) -> dict[int, list[datetime]]:
    """What was fired, once that is all of so many minutes."""
    until = firings.began + minutes * 60
    async with asyncio.timeout(20):
        while True:
            marks = await firings.marks()
            late = [times[-1].timestamp() + 60 < until for times in marks.values()]
            if len(marks) == count and not any(late):
                return marks
            await asyncio.sleep(0.2)
