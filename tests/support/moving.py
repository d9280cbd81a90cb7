"""Two installations without faces: one in use, one that nobody has used.

`kinds` says which databases they have, and a test that cares gives it:

    @pytest.mark.parametrize("kinds", EVERY, indirect=True)
"""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.content import Content
from tests.support.databases import PostgresServer, open_sqlite, sqlite_template

from moorage.artifacts.rules import Rules
from moorage.blobstore.filesystem import FilesystemStore
from moorage.clock import SystemClock
from moorage.db import Database, connect

RULES = Rules(lease=3600, drain=0, trash=3600)
EVERY = ["sqlite-sqlite", "sqlite-postgresql", "postgresql-sqlite", "postgresql-postgresql"]


def quiet(stage: str, done: int, total: int | None) -> None:
    """Nobody is told."""


@pytest.fixture
def kinds(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The databases of both."""
    ours, theirs = getattr(request, "param", "sqlite-sqlite").split("-")
    return ours, theirs


@pytest.fixture
async def inhabited(
    kinds: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Content]:
    """The one in use, with a project `library`."""
    db: Database
    if kinds[0] == "sqlite":
        shutil.copyfile(sqlite_template(), tmp_path / "moorage.db")
        db = await open_sqlite(tmp_path / "moorage.db", SystemClock())
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        db = connect(server.settings(server.fresh()), data_dir=tmp_path, clock=SystemClock())
    made = Content(db, FilesystemStore(tmp_path / "blobs"), RULES)
    await made.project("library")
    yield made
    await db.close()
    await made.store.close()


@pytest.fixture
async def vacant(
    kinds: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Content]:
    """The other one: a database without a schema, an empty folder."""
    folder = tmp_path / "target"
    folder.mkdir()
    db: Database
    if kinds[1] == "sqlite":
        db = await open_sqlite(folder / "moorage.db", SystemClock())
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = f"empty_{os.urandom(6).hex()}"
        server.sql(f"CREATE DATABASE {name}")
        db = connect(server.settings(name), data_dir=tmp_path, clock=SystemClock())
    made = Content(db, FilesystemStore(folder / "blobs"), RULES)
    yield made
    await db.close()
    await made.store.close()
