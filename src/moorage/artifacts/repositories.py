"""Steps that find and make repositories.

A repository exists from its first upload on, and is listed from its first manifest on.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from moorage.db.prepared import Prepared
from moorage.db.tables import projects, repositories
from moorage.db.transactions import Tx
from moorage.errors import NameInvalid, ProjectUnknown, RepositoryUnknown
from moorage.oci import names


@dataclass(frozen=True, slots=True)
class Place:
    """A repository's row."""

    id: int
    project_id: int
    name: str


async def find(tx: Tx, name: str) -> Place | None:
    """The repository of that full name, listed or not."""
    query = select(repositories.c.id, repositories.c.project_id).where(repositories.c.name == name)
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else Place(row.id, row.project_id, name)


async def listed(tx: Tx, name: str) -> Place:
    """The repository of that full name, if anything was pushed to it; raises RepositoryUnknown."""
    row = await tx.find(_LISTED, name=name)
    return _known(None if row is None else Place(*row), name)


async def demand(tx: Tx, name: str) -> Place:
    """The repository of that full name, held until the commit; raises RepositoryUnknown."""
    return _known(await _hold(tx, name), name)


async def demand_alone(tx: Tx, name: str) -> Place:
    """As `demand`, when all who hold it have committed, and nobody else does before us."""
    query = select(repositories.c.id).where(repositories.c.name == name)
    await tx.execute(tx.dialect.for_update(query))
    return _known(await find(tx, name), name)


def _known(place: Place | None, name: str) -> Place:
    if place is None:
        raise RepositoryUnknown(f"repository {name} not found", detail={"name": name})
    return place


async def ensure(tx: Tx, name: str) -> Place:
    """The repository of that full name, made if need be, and held until the commit.

    Raises ProjectUnknown, NameInvalid.
    """
    place = await _hold(tx, name)
    if place is not None:
        return place
    project = names.project_of(names.check_repository(name))
    if project == name:
        raise NameInvalid("a repository name starts with its project: <project>/<repository>")
    query = select(projects.c.id).where(projects.c.name == project)
    project_id = (await tx.execute(query)).scalar_one_or_none()
    if project_id is None:
        raise ProjectUnknown(f"project {project} not found", detail={"name": project})
    insert = tx.dialect.insert(repositories).values(project_id=project_id, name=name)
    await tx.execute(insert.on_conflict_do_nothing())
    return await _hold(tx, name) or await demand(tx, name)


async def _hold(tx: Tx, name: str) -> Place | None:
    """As `find`, and the janitor cannot drop the row meanwhile."""
    rows = await tx.fetch(_HOLD, name=name)
    return Place(rows[0][0], rows[0][1], name) if rows else None


_LISTED = Prepared(
    lambda _: select(repositories.c.id, repositories.c.project_id, repositories.c.name).where(
        repositories.c.name == bindparam("name"), repositories.c.pushed_at.is_not(None)
    )
)
_HOLD = Prepared(
    lambda dialect: dialect.for_key_share(
        select(repositories.c.id, repositories.c.project_id).where(
            repositories.c.name == bindparam("name")
        )
    )
)
