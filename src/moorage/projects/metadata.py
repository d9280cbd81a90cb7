"""The settings of one project: strings by name, as Harbor keeps them.

`public` looks like one of them and is a column of the project.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import delete, select, update

from moorage.access.principals import Principal
from moorage.db.engine import Database
from moorage.db.tables import project_metadata, projects
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import Conflict, Invalid, NotFound, ProjectUnknown
from moorage.events import ProjectUpdated, emit
from moorage.projects.kinds import PROJECT

MAX_VALUE = 4096
"""Characters of one value."""


def _boolean(value: str) -> bool:
    return value in ("true", "false")


def _severity(value: str) -> bool:
    return value in ("none", "low", "medium", "high", "critical")


def _speed(value: str) -> bool:
    digits = value.isascii() and value.removeprefix("-").isdigit()
    return digits and len(value) <= 10 and -1 <= int(value) < 2**31


def _kind(value: str) -> bool:
    return value in ("doublestar", "regex")


def _text(value: str) -> bool:
    return True


NAMES: Mapping[str, Callable[[str], bool]] = {
    "public": _boolean,
    "enable_content_trust": _boolean,
    "enable_content_trust_cosign": _boolean,
    "prevent_vul": _boolean,
    "severity": _severity,
    "auto_scan": _boolean,
    "auto_sbom_generation": _boolean,
    "reuse_sys_cve_allowlist": _boolean,
    "retention_id": _speed,
    "proxy_speed_kb": _speed,
    "max_upstream_conn": _speed,
    "proxy_cache_filter_pattern": _text,
    "proxy_cache_filter_kind": _kind,
    "proxy_referrer_api": _boolean,
    "proxy_cache_local_on_not_found": _boolean,
}
"""Every known name with the check of its value."""

OWNED_ELSEWHERE = frozenset({"retention_id"})
"""Set by the server when it makes the thing that the value names."""


def check(values: Mapping[str, str]) -> dict[str, str]:
    """Return `values`; raises Invalid for an unknown name or a wrong value."""
    for name, value in values.items():
        if name not in NAMES:
            raise Invalid(f"invalid key: {name[:64]}")
        if name in OWNED_ELSEWHERE:
            raise Invalid(f"{name} cannot be set here")
        if len(value) > MAX_VALUE or not NAMES[name](value):
            raise Invalid(f"invalid value for {name}: {value[:64]!r}")
    return dict(values)


async def store(tx: Tx, project_id: int, values: Mapping[str, str]) -> None:
    """Set checked `values` and `public` among them; the caller touches the project's key.

    Raises ProjectUnknown.
    """
    values = dict(values)
    public = values.pop("public", None)
    changes = {} if public is None else {"public": public == "true"}
    changed = await tx.execute(
        update(projects)
        .where(projects.c.id == project_id)
        .values(**changes, revision=projects.c.revision + 1, updated_at=now())
    )
    if not changed.rowcount:
        raise ProjectUnknown(f"project {project_id} not found")
    if values:
        insert = tx.dialect.insert(project_metadata)
        await tx.execute(
            insert.values(
                [{"project_id": project_id, "name": n, "value": v} for n, v in values.items()]
            ).on_conflict_do_update(
                index_elements=["project_id", "name"],
                set_={"value": insert.excluded.value, "updated_at": now()},
            )
        )


class Metadata:
    """The settings of projects, one by one."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def all(self, project_id: int) -> dict[str, str]:
        """Every value that is set, `public` included; raises ProjectUnknown."""
        async with self._db.read() as tx:
            public = await tx.execute(select(projects.c.public).filter_by(id=project_id))
            found = public.scalar_one_or_none()
            if found is None:
                raise ProjectUnknown(f"project {project_id} not found")
            rows = await tx.execute(
                select(project_metadata.c.name, project_metadata.c.value).filter_by(
                    project_id=project_id
                )
            )
            return {"public": "true" if found else "false", **{r.name: r.value for r in rows}}

    async def add(self, principal: Principal, project_id: int, values: Mapping[str, str]) -> None:
        """Set one value that is not set yet; raises Invalid, Conflict."""
        await self._set(principal, project_id, values, new=True)

    async def change(
        self, principal: Principal, project_id: int, name: str, values: Mapping[str, str]
    ) -> None:
        """Set one value that is set already; raises Invalid, NotFound."""
        if list(values) != [name]:
            raise Invalid(f"the body must hold exactly the key {name[:64]}")
        await self._set(principal, project_id, values, new=False)

    async def remove(self, principal: Principal, project_id: int, name: str) -> None:
        """Forget one value; raises Invalid, NotFound. `public` falls back to private."""
        if name in OWNED_ELSEWHERE:
            raise Invalid(f"{name} cannot be removed here")

        async def step(tx: Tx) -> None:
            project = await _name(tx, project_id)
            tx.touch(PROJECT.key(project))
            if name == "public":
                await store(tx, project_id, {"public": "false"})
            else:
                gone = await tx.execute(
                    delete(project_metadata).where(
                        project_metadata.c.project_id == project_id, project_metadata.c.name == name
                    )
                )
                if not gone.rowcount:
                    raise NotFound(f"metadata {name[:64]} not found")
            await _tell(tx, principal, project_id, project, name)

        await self._db.run(step)

    async def _set(
        self, principal: Principal, project_id: int, values: Mapping[str, str], *, new: bool
    ) -> None:
        if len(values) != 1:
            raise Invalid("only one key/value pair is allowed")
        values = check(values)
        name = next(iter(values))

        async def step(tx: Tx) -> None:
            project = await _name(tx, project_id)
            tx.touch(PROJECT.key(project))
            exists = (
                name == "public"
                or (
                    await tx.execute(
                        select(project_metadata.c.name).filter_by(project_id=project_id, name=name)
                    )
                ).scalar_one_or_none()
            )
            if new and exists:
                raise Conflict(f"metadata {name} exists already")
            if not new and not exists:
                raise NotFound(f"metadata {name} not found")
            await store(tx, project_id, values)
            await _tell(tx, principal, project_id, project, name)

        await self._db.run(step)


async def _tell(tx: Tx, principal: Principal, project_id: int, project: str, name: str) -> None:
    fact = ProjectUpdated(
        operator=principal.name, project_id=project_id, project=project, names=[name]
    )
    await emit(tx, fact)


async def _name(tx: Tx, project_id: int) -> str:
    found = await tx.execute(select(projects.c.name).filter_by(id=project_id))
    name = found.scalar_one_or_none()
    if name is None:
        raise ProjectUnknown(f"project {project_id} not found")
    return str(name)
