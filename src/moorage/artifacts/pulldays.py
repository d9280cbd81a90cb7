"""Steps that add pulls to the day on which they were, in the batch that counts them.

    repository   all · each artifact · each tag it was pulled by · each caller
    project      all · each repository · each caller

A row is one name on one day. Whoever pulls invents no names, but there may be very many: of one
subject at most MOST_NAMES get rows of their own a day, give or take what replicas write at the same
moment. The rows of `all` count everybody, so what is missing below them is known.

Days are those of the database's clock, in UTC, when a batch is written: seconds after the pull.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Table, bindparam, func, select, update

from moorage.db.moments import today
from moorage.db.tables import project_pulls, repository_pulls
from moorage.db.transactions import Tx

ALL, ARTIFACT, TAG, CALLER, REPOSITORY = "all", "artifact", "tag", "caller", "repository"
"""What rows are about."""

MOST_NAMES = 1000
"""Names of one subject of one repository or project that get rows of their own on a day."""

_LONGEST_NAME = 300
_MOST_KNOWN = 100_000

Key = tuple[int, str, str]
"""Repository or project, subject, name."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """So many pulls of one artifact by one name of it and one caller."""

    project_id: int
    repository_id: int
    repository: str  # with its project
    digest: str
    tag: str  # empty: by digest
    caller: str  # empty: nobody who was signed in
    pulls: int
    size: int  # bytes of all of them


@dataclass(frozen=True, slots=True)
class Written:
    """What has rows for certain once the step is committed."""

    day: date
    keys: Collection[tuple[str, Key]]


class PullDays:
    """Adds up; knows which names this process has written today, so that it need not ask again."""

    def __init__(self, *, callers: bool = True) -> None:
        self._callers = callers
        self._day = date.min
        self._known: set[tuple[str, Key]] = set()

    async def add(self, tx: Tx, pulled: Sequence[Pulled]) -> Written:
        """Step: count these today."""
        day = await today(tx)
        keys: list[tuple[str, Key]] = []
        for table, owner in ((repository_pulls, "repository_id"), (project_pulls, "project_id")):
            pulls, sizes = self._summed(pulled, owner)
            known = self._known if day == self._day else set()
            fresh = {key for key in pulls if key[1] != ALL and (table.name, key) not in known}
            full = await _full(tx, table, owner, day, fresh)
            late = {key for key in fresh if key[:2] in full}
            # Sorted, so that several replicas change rows in the same order.
            rows = [_row(owner, day, key, pulls[key], sizes[key]) for key in sorted(pulls)]
            await _insert(tx, table, owner, [row for row in rows if _key(owner, row) not in late])
            await _update(tx, table, owner, [row for row in rows if _key(owner, row) in late])
            keys += [(table.name, key) for key in pulls if key not in late]
        return Written(day, keys)

    def committed(self, written: Written) -> None:
        """Remember what has rows."""
        if written.day != self._day or len(self._known) > _MOST_KNOWN:
            self._day, self._known = written.day, set()
        self._known.update(written.keys)

    def _summed(self, pulled: Sequence[Pulled], owner: str) -> tuple[Counter[Key], Counter[Key]]:
        """Pulls and bytes of each row of the table whose owners those are."""
        pulls: Counter[Key] = Counter()
        sizes: Counter[Key] = Counter()
        for each in pulled:
            number = each.repository_id if owner == "repository_id" else each.project_id
            for subject, name in self._names(each, owner):
                key = number, subject, name[:_LONGEST_NAME]
                pulls[key] += each.pulls
                sizes[key] += each.size
        return pulls, sizes

    def _names(self, each: Pulled, owner: str) -> Sequence[tuple[str, str]]:
        found = [(ALL, "")]
        if owner == "project_id":
            found.append((REPOSITORY, each.repository))
        else:
            found.append((ARTIFACT, each.digest))
            if each.tag:
                found.append((TAG, each.tag))
        if self._callers:
            found.append((CALLER, each.caller))
        return found


def _row(owner: str, day: date, key: Key, pulls: int, size: int) -> dict[str, object]:
    number, subject, name = key
    return {owner: number, "subject": subject, "day": day, "name": name} | {
        "pulls": pulls,
        "bytes": size,
    }


def _key(owner: str, row: Mapping[str, object]) -> object:
    return row[owner], row["subject"], row["name"]


async def _full(
    tx: Tx, table: Table, owner: str, day: date, fresh: Collection[Key]
) -> Collection[tuple[int, str]]:
    """Owners and subjects that have as many names today as they may."""
    if not fresh:
        return ()
    whose = table.c[owner]
    query = (
        select(whose.label("number"), table.c.subject)
        .where(
            whose.in_(sorted({key[0] for key in fresh})),
            table.c.subject.in_(sorted({key[1] for key in fresh})),
            table.c.day == day,
        )
        .group_by(whose, table.c.subject)
        .having(func.count() >= MOST_NAMES)
    )
    return {(row.number, row.subject) for row in await tx.execute(query)}


async def _insert(tx: Tx, table: Table, owner: str, rows: Sequence[Mapping[str, object]]) -> None:
    if not rows:
        return
    insert = tx.dialect.insert(table)
    more = {name: table.c[name] + insert.excluded[name] for name in ("pulls", "bytes")}
    key = [owner, "subject", "day", "name"]
    await tx.execute(insert.on_conflict_do_update(index_elements=key, set_=more), list(rows))


async def _update(tx: Tx, table: Table, owner: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Names that came late: those that another replica was in time for."""
    if not rows:
        return
    key = [owner, "subject", "day", "name"]
    statement = (
        update(table)
        .where(*(table.c[name] == bindparam(f"its_{name}") for name in key))
        .values({name: table.c[name] + bindparam(f"more_{name}") for name in ("pulls", "bytes")})
    )
    given = [
        {(f"its_{name}" if name in key else f"more_{name}"): value for name, value in row.items()}
        for row in rows
    ]
    await tx.execute(statement, given)
