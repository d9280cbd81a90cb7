"""How long a transaction may wait, and that none stays behind in a connection."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import insert, select, text
from tests.support.databases import PostgresServer

from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.db import Database, Tx, connect, open_sqlite, tables
from moorage.db.engine import ATTEMPTS
from moorage.db.hosts import SILENT_SECONDS
from moorage.db.migrator import migrate
from moorage.errors import DatabaseUnavailable

pytestmark = pytest.mark.anyio

SECONDS = 2
"""Of the setting; what was waited for in each of ATTEMPTS would take as many times of them."""

NAMES = select(tables.properties.c.name)


async def put(tx: Tx, name: str) -> None:
    await tx.execute(insert(tables.properties).values(name=name, value="x"))


async def waited(db: Database) -> float:
    """Seconds until a step is told that the database is away."""
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await db.run(put, "late")
    return time.monotonic() - began


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_full_pool_is_waited_for_once(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """The setting is the whole wait, not that of each attempt."""
    if kind == "sqlite":
        db = open_sqlite(tmp_path / "moorage.db", SystemClock(), wait_seconds=SECONDS)
        await migrate(db)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        settings = server.settings(server.fresh(), pool_size=1, wait_seconds=SECONDS)
        db = connect(settings, data_dir=tmp_path, clock=SystemClock())
    async with db.write():
        assert 0.9 * SECONDS < await waited(db) < ATTEMPTS * SECONDS
    await db.run(put, "after")
    await db.close()


async def test_a_server_that_says_nothing_is_waited_for_once(tmp_path: Path) -> None:
    """It accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = DatabaseSettings(host="127.0.0.1", port=port, wait_seconds=SECONDS)
        db = connect(settings, data_dir=tmp_path, clock=SystemClock())
        assert 0.9 * SECONDS < await waited(db) < ATTEMPTS * SECONDS
        await db.close()


async def test_a_host_that_says_nothing_holds_up_no_other(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """The next one is asked as well, and its connection ends when nobody acknowledges any more."""
    name = postgres_server.fresh()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{postgres_server.port}"
        settings = DatabaseSettings(
            url=SecretStr(f"postgresql://postgres@{hosts}/{name}"), wait_seconds=60
        )
        db = connect(settings, data_dir=tmp_path, clock=SystemClock())
        began = time.monotonic()
        async with db.read() as tx:
            assert time.monotonic() - began < 20
            own = tx.driver._transport.get_extra_info("socket")
            assert (
                own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000 * SILENT_SECONDS
            )
            assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await db.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_refused_commit_leaves_nothing_open(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """The next transaction begins on a connection without one, and only it is written."""
    if kind == "sqlite":
        db = open_sqlite(tmp_path / "moorage.db", SystemClock())
        await migrate(db)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        settings = server.settings(server.fresh(), pool_size=1)
        db = connect(settings, data_dir=tmp_path, clock=SystemClock())
    async with db.write() as tx:
        await tx.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        await tx.execute(
            text("CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
        )

    async def orphaned(tx: Tx) -> None:
        await put(tx, "refused")
        await tx.execute(text("INSERT INTO child VALUES (1)"))  # found out by the commit

    for _ in range(3):
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            await db.run(orphaned)
    await db.run(put, "after")
    async with db.read() as tx:
        found = set((await tx.execute(NAMES)).scalars())
    assert "after" in found
    assert "refused" not in found
    await db.close()


BOUNDS = {
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "20",
    "tcp_user_timeout": "40000",  # milliseconds
}


async def test_a_locked_row_is_not_waited_for_without_end(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Whoever holds it may be frozen: both the wait and the holder's patience have an end."""
    settings = postgres_server.settings(postgres_server.fresh())
    db = connect(settings, data_dir=tmp_path, clock=SystemClock())
    async with db.write() as tx:
        for name, wanted in BOUNDS.items():
            assert (await tx.execute(text(f"SHOW {name}"))).scalar_one() == wanted
    runs: list[int] = []

    async def freezing(tx: Tx) -> None:
        await put(tx, "row")
        runs.append((await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one())
        if len(runs) == 1:
            await tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
            await asyncio.sleep(0.5)
        await tx.execute(NAMES)

    await db.run(freezing)
    assert len(set(runs)) == 2
    await db.close()
