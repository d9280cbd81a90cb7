"""Brings a database to this version's schema, one migrator at a time.

    lock (by a transaction) ─► for each missing revision: BEGIN, change, note, COMMIT ─► unlock

A process that is killed at any of these points leaves a database at a whole revision; whoever
comes next goes on there. Replicas that start meanwhile wait, unready, and do not exit.

Expand and contract: a revision only adds while code of the version before still runs. The row
`schema_compat` names the oldest code level that may use the schema; an older one refuses to start.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select, text

from moorage import failpoints
from moorage.db.engine import Database, unhurried
from moorage.db.failures import contended
from moorage.db.tables import metadata, properties
from moorage.db.transactions import Tx
from moorage.db.types import now
from moorage.errors import DatabaseUnavailable

LEVEL = 1
"""Code level of this version: raised with each schema that older code cannot read."""

COMPAT = 1
"""The oldest code level that works on this version's schema."""

ARRIVING = "arriving"
"""The row of `properties` of a database that is being filled; see `moorage.moving.transfer`."""

_LOCK = 0x6D6F6F7261676531  # "moorage1", the advisory lock's number on PostgreSQL
_ATTEMPTS = 30  # of one revision, when running queries hold the tables that it changes


class SchemaTooNew(Exception):
    """The database was migrated by a version that this one cannot work beside."""


class Occupied(Exception):
    """The database holds tables of another program, under names that this one needs."""


class StillArriving(SchemaTooNew):
    """Everything is being moved into this database, and not all of it is there."""


@dataclass(frozen=True)
class Status:
    """Where a database is."""

    current: str | None  # its revision; None: empty
    pending: tuple[str, ...]  # revisions that this version would apply, in order
    newer: bool  # the revision is of a later, compatible version

    @property
    def ready(self) -> bool:
        """Whether this version can work on it."""
        return not self.pending


async def status(db: Database) -> Status:
    """Look, and change nothing; raises SchemaTooNew, DatabaseUnavailable."""
    known = revisions()
    async with db.read() as tx:
        current = await tx.connection.run_sync(_current)
        if current is None:
            return Status(None, tuple(known), newer=False)
        if current in known:
            return Status(current, tuple(known[known.index(current) + 1 :]), newer=False)
        oldest = await _compat(tx)
    if oldest > LEVEL:
        raise SchemaTooNew(
            f"the database has schema {current}, made by a newer version that needs code level "
            f"{oldest}; this version has {LEVEL}: start the newer version"
        )
    return Status(current, (), newer=True)


async def migrate(db: Database, *, to: str | None = None) -> list[str]:
    """Apply what is missing, when this process gets the lock; returns the applied revisions.

    `to` is the last one to apply, which the caller knows to be one of ours.
    Raises SchemaTooNew, Occupied, DatabaseUnavailable.
    """
    applied: list[str] = []
    if (await status(db)).ready:
        return applied
    async with unhurried(db) as own, _locked(own):
        await failpoints.reach("migrate.locked")
        missing = (await status(own)).pending
        if missing == tuple(revisions()):
            await _unoccupied(own)
        if to is not None:
            missing = missing[: missing.index(to) + 1] if to in missing else ()
        for revision in missing:
            await _apply_patiently(own, revision)
            await failpoints.reach("migrate.committed")
            applied.append(revision)
    return applied


async def arrived(db: Database) -> None:
    """Raise StillArriving where another installation is being moved into this schema."""
    query = select(properties.c.name).where(properties.c.name == ARRIVING)
    async with db.read() as tx:
        if (await tx.execute(query)).scalar_one_or_none() is not None:
            raise StillArriving(
                "an installation is being moved into this database, and not all of it is there: "
                "run `moorage move` again until it is done"
            )


def revisions() -> list[str]:
    """Every revision that this version knows, in order."""
    return [revision.revision for revision in _script().walk_revisions()][::-1]


async def wait_until_current(db: Database, every: float = 1.0) -> None:
    """Return once somebody has migrated; raises SchemaTooNew."""
    while True:
        if (await status(db)).ready:
            return
        await asyncio.sleep(every)


async def _unoccupied(db: Database) -> None:
    """Settings of a Harbor name its database: say so before a table of it is in the way."""
    async with db.read() as tx:
        there = set(await tx.connection.run_sync(lambda c: inspect(c).get_table_names()))
    if found := sorted(there & set(metadata.tables)):
        owner = "a Harbor" if "harbor_user" in there else "another program"
        raise Occupied(
            f"the database holds tables of {owner} ({', '.join(found)}): give this registry one "
            "of its own, in database.name or database.url"
        )


async def _apply_patiently(db: Database, revision: str) -> None:
    """DDL waits 2 s for a table, then lets the queries behind it pass and tries again."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with db.write() as tx:
                if db.dialect.name == "postgresql":
                    await tx.execute(text("SET LOCAL lock_timeout = '2s'"))
                await tx.connection.run_sync(_apply, revision)
                await _note_compat(tx)
                await failpoints.reach("migrate.stepped")
        except DatabaseUnavailable as error:
            cause = error.__cause__
            if attempt == _ATTEMPTS or cause is None or not contended(cause):
                raise
            await asyncio.sleep(1)
        else:
            return


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _apply(connection: Connection, revision: str) -> None:
    script = _script()

    def upgrade(current: Any, context: MigrationContext) -> Any:
        return script._upgrade_revs(revision, current)

    with EnvironmentContext(Config(), script, fn=upgrade) as environment:
        environment.configure(connection=connection, target_metadata=None)
        environment.run_migrations()


async def _compat(tx: Tx) -> int:
    if not await tx.connection.run_sync(lambda c: inspect(c).has_table("properties")):
        return LEVEL + 1
    query = select(properties.c.value).where(properties.c.name == "schema_compat")
    return int((await tx.execute(query)).scalar_one_or_none() or LEVEL + 1)


async def _note_compat(tx: Tx) -> None:
    insert = tx.dialect.insert(properties).values(name="schema_compat", value=str(COMPAT))
    await tx.execute(
        insert.on_conflict_do_update(
            index_elements=["name"], set_={"value": str(COMPAT), "updated_at": now()}
        )
    )


@contextlib.asynccontextmanager
async def _locked(db: Database) -> AsyncIterator[None]:
    if db.dialect.name == "postgresql":
        async with _advisory_lock(db):
            yield
        return
    async with _file_lock(Path(f"{db.engine.url.database}.migrating")):
        yield


@contextlib.asynccontextmanager
async def _advisory_lock(db: Database) -> AsyncIterator[None]:
    """Held by a transaction that does nothing else: free as soon as its owner is dead.

    A lock of the session would stay with the server's side of a pooler in transaction mode.
    """
    async with db.write() as tx:
        await tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        ask = text("SELECT pg_try_advisory_xact_lock(:key)")
        while True:
            if (await tx.execute(ask, {"key": _LOCK})).scalar_one():
                break
            await asyncio.sleep(0.5)
        yield


@contextlib.asynccontextmanager
async def _file_lock(path: Path) -> AsyncIterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.2)
        yield
    finally:
        os.close(descriptor)
