"""A second revision, made up here, while a first version is at work."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select, text
from tests.support.databases import PostgresServer

import moorage.db
from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.db import Database, connect, migrator, tables
from moorage.db.migrator import migrate, status

pytestmark = pytest.mark.anyio

OURS = Path(moorage.db.__file__).parent / "migrations"
HEAD = ScriptDirectory(str(OURS)).get_current_head()

SECOND = '''
"""Add a column."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None


def upgrade() -> None:
    op.add_column("repositories", sa.Column("stars", sa.Integer(), nullable=True))
'''


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database without a schema."""
    settings = DatabaseSettings()
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = f"rolling_{os.urandom(4).hex()}"
        server.sql(f"CREATE DATABASE {name}")
        settings = server.settings(name)
    db = connect(settings, data_dir=tmp_path, clock=SystemClock())
    yield db
    await db.close()


@pytest.fixture
def newer(tmp_path: Path) -> Callable[[], ScriptDirectory]:
    """The revisions of the version after this one."""
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "9999_stars.py").write_text(SECOND.format(head=HEAD))

    def scripts() -> ScriptDirectory:
        config = Config()
        config.set_main_option("script_location", str(OURS))
        config.set_main_option("path_separator", "os")
        config.set_main_option("version_locations", f"{OURS / 'versions'}{os.pathsep}{versions}")
        return ScriptDirectory.from_config(config)

    return scripts


async def new_repository(db: Database, number: int) -> None:
    async with db.write() as tx:
        await tx.execute(insert(tables.users).values(id=number, username=f"u{number}"))
        await tx.execute(insert(tables.projects).values(id=number, name=f"p{number}", owner_id=1))
        row = insert(tables.repositories)
        await tx.execute(row.values(id=number, project_id=number, name=f"p{number}/app"))


async def test_two_versions_work_side_by_side(
    empty: Database, newer: Callable[[], ScriptDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer one migrates; the older one goes on writing, and starts again too."""
    assert (await migrate(empty))[-1] == HEAD
    await new_repository(empty, 1)
    with monkeypatch.context() as patch:
        patch.setattr(migrator, "_script", newer)
        assert (await status(empty)).pending == ("9999",)
        assert await migrate(empty) == ["9999"]
    found = await status(empty)
    assert (found.current, found.newer, found.ready) == ("9999", True, True)
    assert await migrate(empty) == []
    await new_repository(empty, 2)
    async with empty.read() as tx:
        query = text("SELECT name FROM repositories WHERE stars IS NULL ORDER BY name")
        assert (await tx.execute(query)).scalars().all() == ["p1/app", "p2/app"]


async def test_a_change_waits_for_queries_but_stops_none(
    postgres_server: PostgresServer,
    newer: Callable[[], ScriptDirectory],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A long query holds the table: the change gives way every two seconds, and comes again."""
    settings = postgres_server.settings(postgres_server.fresh())
    db = connect(settings, data_dir=tmp_path, clock=SystemClock())
    monkeypatch.setattr(migrator, "_script", newer)
    waited = []

    async def look() -> None:
        began = time.monotonic()
        async with db.read() as tx:
            await tx.execute(select(tables.repositories.c.id))
        waited.append(time.monotonic() - began)

    async with db.write() as long:
        await long.execute(select(tables.repositories.c.id))
        changing = asyncio.create_task(migrate(db))
        for _ in range(6):
            await asyncio.sleep(0.4)
            async with asyncio.timeout(60):  # else it would wait for `long`, which waits for it
                await look()
        assert not changing.done()
    assert await changing == ["9999"]
    await db.close()


async def test_an_older_schema_is_not_ready(
    empty: Database, newer: Callable[[], ScriptDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer version waits for its migrator."""
    await migrate(empty)
    monkeypatch.setattr(migrator, "_script", newer)
    waiting = asyncio.create_task(migrator.wait_until_current(empty, every=0.02))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await migrate(empty)
    await asyncio.wait_for(waiting, 60)


def sqlite_schema(connection: Connection) -> set[str]:
    query = text("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    found = set()
    for kind, name, sql in connection.execute(query):
        # A column that was added later stands behind the constraints, without a line of its own;
        # a table that was made anew has its name in quotes.
        head, _, body = re.sub(r"\s+", " ", sql.replace('"', "")).partition("(")
        parts = sorted(part.strip(" )") for part in re.split(r",(?![^()]*\))", body))
        found.add(f"{kind} {name}: {head.strip()} {parts}")
    return found


def postgres_schema(connection: Connection) -> set[str]:
    found: set[str] = set()
    for query in (
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, "
        "column_default, collation_name FROM information_schema.columns "
        "WHERE table_schema = 'public'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    ):
        found |= {str(tuple(row)) for row in connection.execute(text(query))}
    return found


async def schema(db: Database) -> set[str]:
    read: Any = sqlite_schema if db.dialect.name == "sqlite" else postgres_schema
    async with db.read() as tx:
        lines: set[str] = await tx.connection.run_sync(read)
    return {line for line in lines if "alembic_version" not in line}


async def test_revisions_make_what_the_code_says(empty: Database) -> None:
    """To the letter: checks, defaults, collations and what counts ids too."""
    await migrate(empty)
    migrated = await schema(empty)
    async with empty.write() as tx:
        if empty.dialect.name == "postgresql":
            await tx.execute(text("DROP SCHEMA public CASCADE"))
            await tx.execute(text("CREATE SCHEMA public"))
        else:
            await tx.connection.run_sync(tables.metadata.drop_all)
        await tx.connection.run_sync(tables.metadata.create_all)
    assert migrated == await schema(empty)
