"""Old backups go: which stay, what goes with them, and what a kill leaves."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.content import ALICE, Content, sha256
from tests.support.moving import quiet
from tests.support.stores import Bucket

from moorage import failpoints
from moorage.artifacts.rules import Rules
from moorage.blobstore import open as open_store
from moorage.blobstore.base import BlobStore
from moorage.blobstore.filesystem import FilesystemStore
from moorage.clock import SystemClock
from moorage.errors import Conflict, NotFound
from moorage.moving import backup as making
from moorage.moving import dumps
from moorage.moving.backup import MARKS, Backup, Backups
from moorage.moving.pruning import ABANDONED, Keep, Pruned, Pruning

pytestmark = pytest.mark.anyio

FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)  # a Thursday


class Calendar(SystemClock):
    """A clock that tests set."""

    def __init__(self) -> None:
        self.at = FIRST

    def now(self) -> datetime:
        """When it is."""
        return self.at


@pytest.fixture
def clock() -> Calendar:
    """Of those who make backups and those who delete them."""
    return Calendar()


@pytest.fixture(params=["folder", "bucket"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    """An empty place of either kind."""
    store: BlobStore = FilesystemStore(tmp_path / "backups")
    if request.param == "bucket":
        bucket: Bucket = request.getfixturevalue("seaweed")
        store = open_store(bucket.settings, data_dir=tmp_path)
    yield store
    await store.close()


@pytest.fixture
def backups(place: BlobStore, clock: Calendar) -> Backups:
    """None yet."""
    return Backups(place, clock)


async def pruned(
    backups: Backups, clock: Calendar, *, dry_run: bool = False, **keep: int
) -> Pruned:
    """Prune."""
    return await Pruning(backups, clock).run(Keep(**keep), quiet, dry_run=dry_run)


async def objects(backups: Backups) -> int:
    """How many objects are at the place."""
    return len([each async for each in backups.place.scan(making.OBJECTS)])


async def one_a_day(
    inhabited: Content, backups: Backups, clock: Calendar, days: int
) -> list[Backup]:
    """Each with a layer of its own, that the next one does not have; the oldest first."""
    made = []
    hasty = Content(inhabited.db, inhabited.store, Rules(lease=0, drain=0, trash=0))
    for day in range(days):
        clock.at = FIRST + timedelta(days=day)
        layer = b"of day %d" % day
        payload = await hasty.push_image("library/app", "v", b"{}", [b"shared", layer])
        made.append(await backups.create(inhabited.db, inhabited.store, quiet))
        await hasty.manifests.delete(ALICE, "library/app", sha256(payload))
        await hasty.collect()
    return made


def some(*created: str, failed: tuple[int, ...] = ()) -> list[Backup]:
    """Backups of these times, newest first."""
    return [
        Backup(text, f"{text}+00:00", {"failed": {"key": "missing"} if at in failed else {}})
        for at, text in enumerate(created)
    ]


TIMES = (
    "2026-01-14T12:00:00",  # Wednesday
    "2026-01-14T02:00:00",
    "2026-01-12T02:00:00",  # Monday of the same week
    "2026-01-11T23:59:00",  # Sunday of the one before
    "2026-01-05T02:00:00",
    "2025-12-31T02:00:00",  # of the first week of 2026
    "2025-12-20T02:00:00",
)


@pytest.mark.parametrize(
    ("keep", "stay"),
    [
        (Keep(last=2), (0, 1)),
        (Keep(daily=3), (0, 2, 3)),
        (Keep(weekly=3), (0, 3, 5)),
        (Keep(last=2, daily=2, weekly=4), (0, 1, 2, 3, 5, 6)),
        (Keep(last=99), tuple(range(7))),
        (Keep(), (0,)),
    ],
)
async def test_which_stay(keep: Keep, stay: tuple[int, ...]) -> None:
    """The newest ones, and the newest of each day and week that has one; always the newest."""
    assert keep.chosen(some(*TIMES)) == {TIMES[at] for at in stay}


async def test_the_newest_without_damage_stays() -> None:
    """However many newer ones there are that lack something."""
    assert Keep(last=1).chosen(some(*TIMES, failed=(0, 1))) == {TIMES[0], TIMES[2]}


async def test_objects_go_that_no_other_backup_names(
    inhabited: Content, backups: Backups, clock: Calendar
) -> None:
    """A dry run tells the same and changes nothing; what stays is whole, byte for byte."""
    made = await one_a_day(inhabited, backups, clock, 5)
    there = await objects(backups)
    would = await pruned(backups, clock, dry_run=True, last=2)
    assert (await objects(backups), len(await backups.every())) == (there, 5)
    done = await pruned(backups, clock, last=2)
    assert done == would
    assert done.kept == [made[4].id, made[3].id]
    assert done.removed == [made[2].id, made[1].id, made[0].id]
    assert done.objects > 0
    assert await objects(backups) == there - done.objects
    assert [each.id for each in await backups.every()] == done.kept
    for each in await backups.every():
        assert await backups.verify(each, quiet, deep=True) == []
    assert not [each async for each in backups.place.scan(f"{making.ROOT}{made[0].id}/")]
    again = await pruned(backups, clock, last=2)
    assert (again.removed, again.objects) == ([], 0)
    alone = await pruned(backups, clock)
    assert alone.kept == [made[4].id]
    await backups.create(inhabited.db, inhabited.store, quiet)


@pytest.mark.parametrize("step", ["prune.dropped", "prune.swept"])
async def test_a_run_that_was_killed_is_run_again(
    inhabited: Content, backups: Backups, clock: Calendar, step: str
) -> None:
    """No half of a backup is listed, and none is made, until the next run has done the rest."""
    made = await one_a_day(inhabited, backups, clock, 3)
    failpoints.arm(f"{step}=error")
    try:
        with pytest.raises(failpoints.Injected):
            await pruned(backups, clock, last=1)
    finally:
        failpoints.arm("")
    assert [each.id for each in await backups.every()] == [made[2].id]
    with pytest.raises(Conflict, match="run `moorage backup prune` again"):
        await backups.create(inhabited.db, inhabited.store, quiet)
    await pruned(backups, clock, last=1)
    left = {each.key async for each in backups.place.scan()}
    named = {
        making.OBJECTS + each.key async for each in making.wanted(backups.place, made[2].facts)
    }
    assert {key for key in left if key.startswith(making.OBJECTS)} == named
    assert not [key for key in left if made[0].id in key or made[1].id in key or "pruning" in key]
    await backups.create(inhabited.db, inhabited.store, quiet)


async def test_what_cannot_be_read_stops_it(
    inhabited: Content, backups: Backups, clock: Calendar
) -> None:
    """Nothing is deleted, and the next backup can be made."""
    with pytest.raises(NotFound, match="no complete backup"):
        await pruned(backups, clock, last=1)
    made = await one_a_day(inhabited, backups, clock, 2)
    (part,) = made[1].facts["objects"]["parts"]
    await backups.place.delete([part["key"]])
    there = await objects(backups)
    with pytest.raises(Conflict, match=r"objects-0001.jsonl.gz is missing"):
        await pruned(backups, clock, last=1)
    assert (await objects(backups), len(await backups.every())) == (there, 2)
    await backups.create(inhabited.db, inhabited.store, quiet)


class Making:
    """A backup that stops at a step until it may go on."""

    def __init__(self, patch: pytest.MonkeyPatch, step: str) -> None:
        self._step = step
        self._reached, self._free = asyncio.Event(), asyncio.Event()
        patch.setattr(failpoints, "reach", self._reach)

    async def _reach(self, name: str) -> None:
        if name == self._step:
            self._reached.set()
            await self._free.wait()

    async def begin(self, inhabited: Content, backups: Backups) -> "asyncio.Task[Backup]":
        """Begin one; returns when it has come to the step."""
        await inhabited.push_image("library/app", "new", b"{}", [b"new"])
        work = asyncio.create_task(backups.create(inhabited.db, inhabited.store, quiet))
        await asyncio.wait_for(self._reached.wait(), 120)
        return work

    def go_on(self) -> None:
        """Let it end."""
        self._free.set()


async def test_a_backup_that_is_being_made_keeps_its_objects(
    inhabited: Content, backups: Backups, clock: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has named them and copied them, and is not complete yet."""
    made = await one_a_day(inhabited, backups, clock, 2)
    clock.at += timedelta(days=1)
    step = Making(monkeypatch, "backup.copied")
    work = await step.begin(inhabited, backups)
    done = await pruned(backups, clock, last=1)
    assert (done.removed, done.abandoned) == ([made[0].id], [])
    step.go_on()
    assert await backups.verify(await work, quiet, deep=True) == []


async def test_a_backup_gives_up_when_others_are_deleted(
    inhabited: Content, backups: Backups, clock: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it found there and did not copy may go; it is told before it looks for any of it."""
    await one_a_day(inhabited, backups, clock, 1)
    step = Making(monkeypatch, "backup.dumped")
    work = await step.begin(inhabited, backups)
    await dumps.put(backups.place, f"{MARKS}another", b"{}\n")
    step.go_on()
    with pytest.raises(Conflict, match="are being deleted"):
        await work
    assert len(await backups.every()) == 1


async def test_a_backup_that_lost_its_lists_is_not_complete(
    inhabited: Content, backups: Backups, clock: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took longer than anybody waited for it."""
    await one_a_day(inhabited, backups, clock, 1)
    step = Making(monkeypatch, "backup.copied")
    work = await step.begin(inhabited, backups)
    clock.at += 2 * ABANDONED
    assert len((await pruned(backups, clock, last=1)).abandoned) == 1
    step.go_on()
    with pytest.raises(Conflict, match="was deleted meanwhile"):
        await work
    assert len(await backups.every()) == 1


async def test_one_that_was_never_completed_goes_after_a_week(
    inhabited: Content, backups: Backups, clock: Calendar
) -> None:
    """With what it had copied; until then it may still be at work."""
    await one_a_day(inhabited, backups, clock, 1)
    clock.at += timedelta(days=1)
    await inhabited.push_image("library/app", "late", b"{}", [b"only there"])
    failpoints.arm("backup.copied=error")
    try:
        with pytest.raises(failpoints.Injected):
            await backups.create(inhabited.db, inhabited.store, quiet)
    finally:
        failpoints.arm("")
    there = await objects(backups)
    clock.at += ABANDONED - timedelta(seconds=1)
    assert (await pruned(backups, clock, last=1)).objects == 0
    clock.at += timedelta(seconds=2)
    done = await pruned(backups, clock, last=1)
    assert len(done.abandoned) == 1
    assert await objects(backups) == there - done.objects < there
    assert len(await backups.every()) == 1


async def test_of_two_runs_the_first_gives_up_and_no_backup_is_made_before_the_second_ends(
    inhabited: Content, backups: Backups, clock: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first one would still delete may be of a backup by then, of which it knows nothing.

    So it deletes nothing more, and does not take the second one's mark away.
    """
    made = await one_a_day(inhabited, backups, clock, 3)
    first, second = asyncio.Event(), asyncio.Event()
    held = [first, second]
    reached: asyncio.Queue[None] = asyncio.Queue()

    async def reach(name: str) -> None:
        if name == "prune.dropped":
            reached.put_nowait(None)
            await held.pop(0).wait()

    runs: list[asyncio.Task[Pruned]] = []
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reach", reach)
        for _ in range(2):
            runs.append(asyncio.create_task(pruned(backups, clock, last=1)))
            await asyncio.wait_for(reached.get(), 120)
        there = await objects(backups)
        first.set()
        with pytest.raises(Conflict, match="another run"):
            await runs[0]
        assert await objects(backups) == there
        with pytest.raises(Conflict, match="are being deleted"):
            await backups.create(inhabited.db, inhabited.store, quiet)
        second.set()
        await runs[1]
    clock.at += timedelta(days=1)
    left = await backups.create(inhabited.db, inhabited.store, quiet)
    assert [each.id for each in await backups.every()] == [left.id, made[2].id]
    for each in await backups.every():
        assert await backups.verify(each, quiet, deep=True) == []


async def test_nothing_goes_while_a_backup_is_of_a_later_time(
    inhabited: Content, backups: Backups, clock: Calendar
) -> None:
    """A clock was wrong, then or now: what counts as the newest may be the oldest."""
    made = await one_a_day(inhabited, backups, clock, 1)
    clock.at = FIRST + timedelta(days=300)
    ahead = await backups.create(inhabited.db, inhabited.store, quiet)
    clock.at = FIRST + timedelta(days=1)
    right = await backups.create(inhabited.db, inhabited.store, quiet)
    with pytest.raises(Conflict, match=f"{ahead.id} is of a later time"):
        await pruned(backups, clock, last=1)
    left = [each.id for each in await backups.every()]
    assert left == [ahead.id, right.id, made[0].id]
    await backups.create(inhabited.db, inhabited.store, quiet)
