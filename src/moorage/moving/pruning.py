"""Old backups go, and with them the objects that no other backup needs.

    mark the place ─► which stay? ─► what do they name? ─► `backup.json` of those that go
                   ─► whatever else they had ─► objects that nothing names ─► the mark goes

Killed anywhere, the next run does the rest: it goes on with the backups of which this one wrote
down that they go, and deletes the objects that nothing which stays names. A list that cannot be
read stops the run before it deletes.

A backup that is being made meanwhile, from another machine, names its objects before it copies any,
and looks for the mark after that: so either it sees the mark and gives up, or its list is seen here
and what it names stays.

Each run has a mark of its own, and takes those of others away when it begins: they were killed, or
find theirs gone before they delete anything more, and give up.
"""

import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from moorage import failpoints
from moorage.blobstore.base import BlobStore
from moorage.clock import Clock
from moorage.errors import BlobUnknown, Conflict, NotFound
from moorage.moving import dumps
from moorage.moving.backup import MARKS, OBJECTS, ROOT, Backup, Backups, Tell, wanted

LATER = timedelta(hours=1)
"""By how much another machine's clock may be ahead of this one's."""
ABANDONED = timedelta(days=7)
"""How old a backup is that was never completed when it goes too."""

GOING = "backups/pruning.json"
"""Ids of backups that a run has begun to delete."""

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays: the newest `last`, and the newest of each of so many days and weeks (UTC).

    Days and weeks without a backup do not count.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0

    def chosen(self, found: Sequence[Backup]) -> set[str]:
        """Ids of those that stay, of backups that come newest first.

        The newest always does, and the newest in which no object is damaged or missing.
        """
        whole = [backup for backup in found if not backup.facts["failed"]]
        stay = {backup.id for backup in (*found[: max(1, self.last)], *whole[:1])}
        days: set[date] = set()
        weeks: set[tuple[int, int]] = set()
        for backup in found:
            day = datetime.fromisoformat(backup.created_at).astimezone(UTC).date()
            week = day.isocalendar()[:2]
            if day not in days and len(days) < self.daily:
                days.add(day)
                stay.add(backup.id)
            if week not in weeks and len(weeks) < self.weekly:
                weeks.add(week)
                stay.add(backup.id)
        return stay


@dataclass(slots=True)
class Pruned:
    """What a run took away, or would."""

    kept: list[str] = field(default_factory=list)  # ids, the newest first
    removed: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)  # never completed and old, or half deleted
    objects: int = 0
    size: int = 0  # their bytes


class Pruning:
    """Of the backups at one place."""

    def __init__(self, backups: Backups, clock: Clock) -> None:
        self._backups = backups
        self._place: BlobStore = backups.place
        self._clock = clock
        self._mark = f"{MARKS}{secrets.token_hex(8)}"

    async def run(self, keep: Keep, tell: Tell, *, dry_run: bool = False) -> Pruned:
        """Delete what need not stay; `dry_run` only tells.

        Raises NotFound where there is no complete backup; Conflict, before anything is deleted,
        where one that stays cannot be read or one is of a later time than now, and when another
        run has taken over.
        """
        if not await self._backups.every():
            raise NotFound("there is no complete backup at this place")
        others = [] if dry_run else await self._begin()
        try:
            done, named = await self._choice(keep, tell)
        except BaseException:
            if not (dry_run or others):  # nothing was deleted: let backups be made again
                await self._place.delete([self._mark])
            raise
        if not dry_run:
            await self._drop(done)
        await self._sweep(named, done, tell, dry_run=dry_run)
        if not dry_run:
            await self._demand_mark()
            await self._place.delete([GOING])
            await self._place.delete([self._mark])
        return done

    async def _begin(self) -> list[str]:
        """Mark the place, and end every other run; their marks."""
        await dumps.put(self._place, self._mark, b"{}\n")
        others = [each.key async for each in self._place.scan(MARKS) if each.key != self._mark]
        await self._place.delete(others)
        return others

    async def _demand_mark(self) -> None:
        """Raise Conflict when another run has taken over: what it chose is newer."""
        if await self._place.size(self._mark) is None:
            raise Conflict("another run of `moorage backup prune` has begun, and does the rest")

    # --- what stays

    async def _choice(self, keep: Keep, tell: Tell) -> tuple[Pruned, set[str]]:
        """What stays and what goes, and the keys of all objects that stay."""
        found = await self._backups.every()
        self._check_times(found)
        stay = keep.chosen(found)
        unfinished = await self._unfinished({backup.id for backup in found})
        begun = await self._begun()
        done = Pruned(
            kept=[backup.id for backup in found if backup.id in stay],
            removed=[backup.id for backup in found if backup.id not in stay],
            abandoned=[each for each in sorted(unfinished) if each in begun or self._old(each)],
        )
        named = await self._named([each for each in found if each.id in stay], tell)
        for name in sorted(unfinished.keys() - set(done.abandoned)):
            named |= await self._listed(unfinished[name])
        return done, named

    def _check_times(self, found: Sequence[Backup]) -> None:
        """Raise Conflict for a backup of tomorrow: it would count as newer than all that follow."""
        for backup in found:
            if datetime.fromisoformat(backup.created_at) > self._clock.now() + LATER:
                raise Conflict(
                    f"backup {backup.id} is of a later time than this machine's clock tells: set "
                    f"the clock, or delete {ROOT}{backup.id} by hand if the clock was wrong then"
                )

    async def _named(self, stay: Sequence[Backup], tell: Tell) -> set[str]:
        """Keys of the objects that these name; raises Conflict when a list is not whole."""
        named: set[str] = set()
        for backup in stay:
            async for each in wanted(self._place, backup.facts):
                named.add(each.key)
            tell("reading", len(named), None)
        return named

    async def _unfinished(self, complete: set[str]) -> dict[str, list[str]]:
        """Backups that lack their `backup.json`, with the lists of objects that they have."""
        found: dict[str, list[str]] = {}
        async for each in self._place.scan(ROOT):
            _, _, rest = each.key.partition(ROOT)
            name, slash, file = rest.partition("/")
            if slash and name not in complete:
                lists = found.setdefault(name, [])
                if file.startswith("objects-"):
                    lists.append(each.key)
        return found

    async def _begun(self) -> set[str]:
        """Ids that a run which was killed had begun to delete."""
        try:
            found: list[str] = orjson.loads(await dumps.get(self._place, GOING))
        except (BlobUnknown, ValueError):
            return set()
        return set(found)

    def _old(self, name: str) -> bool:
        """Whether one that is not complete is none that is being made."""
        try:
            began = datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%SZ")
        except ValueError:
            return False  # whatever it is, it is not ours
        return self._clock.now() - began.replace(tzinfo=UTC) > ABANDONED

    async def _listed(self, lists: Sequence[str]) -> set[str]:
        """Keys in lists that have no checksum yet; raises Conflict for one that is not whole."""
        named: set[str] = set()
        for key in lists:
            try:
                plain = zlib.decompress(await dumps.get(self._place, key), 31)
                named |= {str(orjson.loads(line)[0]) for line in plain.splitlines()}
            except (zlib.error, ValueError):
                raise Conflict(f"{key} is damaged") from None
        return named

    # --- what goes

    async def _drop(self, done: Pruned) -> None:
        """First what makes a backup complete, so that no half of one is ever listed."""
        await self._demand_mark()
        await self._place.delete([GOING])
        await dumps.put(self._place, GOING, orjson.dumps([*done.removed, *done.abandoned]))
        gone = [f"{ROOT}{name}/backup.json" for name in done.removed]
        await self._place.delete(gone)
        await failpoints.reach("prune.dropped")
        for name in (*done.removed, *done.abandoned):
            keys = [each.key async for each in self._place.scan(f"{ROOT}{name}/")]
            await self._demand_mark()
            await self._place.delete(keys)

    async def _sweep(self, named: set[str], done: Pruned, tell: Tell, *, dry_run: bool) -> None:
        batch: list[str] = []
        async for each in self._place.scan(OBJECTS):
            if each.key.removeprefix(OBJECTS) in named:
                continue
            done.objects += 1
            done.size += each.size
            batch.append(each.key)
            if len(batch) >= _BATCH:
                await self._delete(batch, dry_run=dry_run)
                batch = []
            tell("deleting", done.objects, None)
        await self._delete(batch, dry_run=dry_run)

    async def _delete(self, keys: Sequence[str], *, dry_run: bool) -> None:
        if keys and not dry_run:
            await self._demand_mark()
            await self._place.delete(keys)
            await failpoints.reach("prune.swept")


def told(done: Pruned, *, dry_run: bool) -> dict[str, Any]:
    """As a verb shows it."""
    return {
        "kept": done.kept,
        "removed": done.removed,
        "abandoned": done.abandoned,
        "objects": done.objects,
        "size": done.size,
        "dry_run": dry_run,
    }
