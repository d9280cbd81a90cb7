"""What a project may store: each distinct digest counts once.

    charge(tx, …)    inside the transaction of a push
    release(tx, …)   inside the transaction of a delete; never refused
    recount(tx, …)   sets `used` to what the rows of project_content say

A push that leaves a project nearly full is told once, by the fact QuotaWarned, and again only after
the project was less full. What that takes is in the row that every push reads anyway.

`project_content` has one row per counted digest, so that two pushes of the same layer count it
once. The quota row comes last in every transaction: it is the one row that all pushes into a
project share, and is locked for as short as can be.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Integer, bindparam, delete, func, select, update

from moorage.access.principals import SERVER, Principal
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.queries import LARGEST, Columns, Page, Query, narrow, one_page, ordered
from moorage.db.tables import project_content, projects, quotas, users
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Invalid, NotFound, QuotaExceeded
from moorage.events import QuotaUpdated, QuotaWarned, emit
from moorage.projects.records import Quota

UNLIMITED = -1
WARN = 85
"""Percent of the limit from which on a project is nearly full."""
_ROWS = 1000  # of one statement: both databases limit the number of its parameters

SORTS: Columns = {"hard.storage": quotas.c.hard, "used.storage": quotas.c.used}
FILTERS: Columns = {"reference_id": quotas.c.project_id}


async def charge(
    tx: Tx, project_id: int, contents: Mapping[str, int], *, limited: bool = True
) -> None:
    """Count `contents` (digest to bytes) that the project does not hold yet.

    Raises QuotaExceeded when they do not fit and quotas are `limited`; the caller's transaction
    must then roll back.
    """
    rows = [
        {"project": project_id, "digest": digest, "size": contents[digest]}
        for digest in sorted(contents)  # one order for all: concurrent pushes cannot deadlock
    ]
    added = sum(size for (size,) in await tx.fetch_many(_COUNT, rows))
    if not added:
        return
    charged = await tx.fetch(_CHARGE, project=project_id, added=added, limited=int(limited))
    if charged:
        used, hard, warned = charged[0]
        if not warned and nearly_full(used, hard):
            await _warn(tx, project_id, used, hard)
        return
    found = await tx.execute(
        select(quotas.c.hard, quotas.c.used).where(quotas.c.project_id == project_id)
    )
    row = found.one()
    raise QuotaExceeded(
        f"adding {display_size(added)} of storage resource, which when updated to current usage "
        f"of {display_size(row.used)} will exceed the configured upper limit of "
        f"{display_size(row.hard)}.",
        detail={"adding": added, "used": row.used, "hard": row.hard},
    )


_COUNT = Prepared(
    lambda dialect: (
        dialect.insert(project_content)
        .values(project_id=bindparam("project"), digest=bindparam("digest"), size=bindparam("size"))
        .on_conflict_do_nothing()
        .returning(project_content.c.size)
    )
)
_CHARGE = Prepared(
    lambda dialect: (
        update(quotas)
        .where(
            quotas.c.project_id == bindparam("project"),
            (quotas.c.hard < 0)
            | (quotas.c.used + bindparam("added") <= quotas.c.hard)
            | (bindparam("limited", type_=Integer()) == 0),
        )
        .values(used=quotas.c.used + bindparam("added"), updated_at=now())
        .returning(quotas.c.used, quotas.c.hard, quotas.c.warned)
    )
)


def nearly_full(used: int, hard: int) -> bool:
    """Whether so many bytes are worth a warning under the limit."""
    return hard > 0 and used * 100 >= hard * WARN


async def _warn(tx: Tx, project_id: int, used: int, hard: int) -> None:
    await tx.execute(update(quotas).where(quotas.c.project_id == project_id).values(warned=True))
    found = await tx.execute(select(projects.c.name).where(projects.c.id == project_id))
    fact = QuotaWarned(
        operator=SERVER.name,
        project_id=project_id,
        project=found.scalar_one(),
        used=used,
        hard=hard,
    )
    await emit(tx, fact)


async def release(tx: Tx, project_id: int, digests: Iterable[str]) -> int:
    """Stop counting `digests`; those that were not counted are no error.

    Returns the bytes freed.
    """
    names = sorted(set(digests))
    freed = 0
    for start in range(0, len(names), _ROWS):
        statement = (
            delete(project_content)
            .where(project_content.c.project_id == project_id)
            .where(project_content.c.digest.in_(names[start : start + _ROWS]))
            .returning(project_content.c.size)
        )
        freed += sum((await tx.execute(statement)).scalars())
    await _give(tx, {project_id: freed})
    return freed


async def give_back(tx: Tx, uncounted: Iterable[Sequence[int]]) -> None:
    """The same for rows that were deleted already: (project, bytes) of each."""
    freed: Counter[int] = Counter()
    for project_id, size in uncounted:
        freed[project_id] += size
    await _give(tx, freed)


async def _give(tx: Tx, freed: Mapping[int, int]) -> None:
    """Give projects back so many bytes each; one that is less full is warned anew."""
    rows = [{"project": each, "freed": freed[each]} for each in sorted(freed) if freed[each]]
    for project_id, used, hard, warned in await tx.fetch_many(_RELEASE, rows):
        if warned and not nearly_full(used, hard):
            less = update(quotas).where(quotas.c.project_id == project_id)
            await tx.execute(less.values(warned=False))


_RELEASE = Prepared(
    lambda dialect: (
        update(quotas)
        .where(quotas.c.project_id == bindparam("project"))
        .values(used=quotas.c.used - bindparam("freed"), updated_at=now())
        .returning(quotas.c.project_id, quotas.c.used, quotas.c.hard, quotas.c.warned)
    )
)


async def recount(tx: Tx, project_id: int) -> int:
    """Make `used` the sum of the counted rows; returns by how many bytes it was wrong."""
    row = tx.dialect.for_update(select(quotas.c.used).where(quotas.c.project_id == project_id))
    used = (await tx.execute(row)).scalar_one_or_none()
    if used is None:
        raise NotFound(f"project {project_id} has no quota")
    total = int(
        (
            await tx.execute(
                select(func.coalesce(func.sum(project_content.c.size), 0)).where(
                    project_content.c.project_id == project_id
                )
            )
        ).scalar_one()
    )
    if total != used:
        await tx.execute(
            update(quotas)
            .where(quotas.c.project_id == project_id)
            .values(used=total, updated_at=now())
        )
    return total - int(used)


def display_size(size: int) -> str:
    """Bytes for people, as Harbor prints them: `512 B`, `1.5 MiB`."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if value < 1024 or unit == "PiB":
            break
    return f"{value:.1f} {unit}"


def check_limit(hard: int) -> int:
    """Return `hard`; raises Invalid for what is neither a size in bytes nor -1."""
    if hard != UNLIMITED and not 0 < hard <= LARGEST:
        raise Invalid("a storage limit is a positive number of bytes, or -1 for no limit")
    return hard


class Quotas:
    """Reading and setting limits."""

    _ROW = (
        select(quotas, projects.c.name.label("project_name"), users.c.username.label("owner_name"))
        .join(projects, projects.c.id == quotas.c.project_id)
        .join(users, users.c.id == projects.c.owner_id)
    )

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, query: Query) -> Page[Quota]:
        """Quotas of all projects, by id unless `hard.storage` or `used.storage` is asked."""
        statement = narrow(self._ROW, query, FILTERS)
        async with self._db.read() as tx:
            rows, total = await one_page(tx, ordered(statement, query, SORTS, quotas.c.id), query)
            return Page([_quota(row) for row in rows], total)

    async def get(self, quota_id: int) -> Quota:
        """Raises NotFound."""
        return await self._one(quotas.c.id == quota_id, f"quota {quota_id} not found")

    async def of_project(self, project_id: int) -> Quota:
        """Raises NotFound."""
        return await self._one(
            quotas.c.project_id == project_id, f"project {project_id} has no quota"
        )

    async def set_hard(self, principal: Principal, quota_id: int, hard: int) -> None:
        """Set the limit in bytes, -1 for none. It may lie below what is used: pushes then fail.

        Raises Invalid, NotFound.
        """
        check_limit(hard)

        async def step(tx: Tx) -> None:
            changed = await tx.execute(
                update(quotas)
                .where(quotas.c.id == quota_id)
                .values(hard=hard, warned=False, updated_at=now())
                .returning(quotas.c.project_id)
            )
            project_id = changed.scalar_one_or_none()
            if project_id is None:
                raise NotFound(f"quota {quota_id} not found")
            name = await tx.execute(select(projects.c.name).where(projects.c.id == project_id))
            fact = QuotaUpdated(
                operator=principal.name,
                project_id=project_id,
                project=name.scalar_one(),
                hard=hard,
            )
            await emit(tx, fact)

        await self._db.run(step)

    async def total_used(self) -> int:
        """Bytes over all projects."""
        async with self._db.read() as tx:
            found = await tx.execute(select(func.coalesce(func.sum(quotas.c.used), 0)))
            return int(found.scalar_one())

    async def _one(self, where: ColumnElement[bool], missing: str) -> Quota:
        async with self._db.read() as tx:
            row = (await tx.execute(self._ROW.where(where))).one_or_none()
        if row is None:
            raise NotFound(missing)
        return _quota(row)


def _quota(row: object) -> Quota:
    return Quota(**{name: getattr(row, name) for name in Quota.__dataclass_fields__})
