"""PgBouncer between Moorage and PostgreSQL, in either mode."""

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import bindparam, insert, select, text
from tests.support.databases import PostgresServer, count
from tests.support.requirements import path_of
from tools.ports import free_port

from moorage.clock import SystemClock
from moorage.config.database import DatabaseSettings
from moorage.db import Database, Tx, connect, tables
from moorage.db.migrator import migrate, status
from moorage.db.prepared import Prepared

pytestmark = pytest.mark.anyio

VALUE = Prepared(
    lambda _: select(tables.properties.c.value).where(tables.properties.c.name == bindparam("n"))
)


@contextlib.contextmanager
def pooler(server: PostgresServer, mode: str = "transaction") -> Iterator[int]:
    """A PgBouncer whose three sessions are shared by all clients; its port."""
    program = path_of("pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="moorage-pooler-"))
    port = free_port()
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = 3\n"
        "server_round_robin = 1\n"  # the worst case: never the session of the statement before
    )
    options: dict[str, object] = {}
    if os.geteuid() == 0:  # it refuses root, as PostgreSQL does
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "pgbouncer.ini")],
            stdout=log,
            stderr=log,
            **options,  # type: ignore[call-overload]
        )
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


def opened(port: int, name: str, folder: Path, *, transactions: bool = True) -> Database:
    url = SecretStr(f"postgresql://postgres@127.0.0.1:{port}/{name}")
    settings = DatabaseSettings(url=url, transaction_pooler=transactions, pool_size=2)
    return connect(settings, data_dir=folder, clock=SystemClock())


async def write(tx: Tx, name: str) -> None:
    await tx.execute(insert(tables.properties).values(name=name, value="x"))
    assert await tx.fetch(VALUE, n=name)


async def test_sessions_may_be_swapped_under_statements(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Readers and writers at once, by either way of running a statement."""
    with pooler(postgres_server) as port:
        db = opened(port, postgres_server.fresh(), tmp_path)

        async def work(number: int) -> None:
            for step in range(8):
                await db.run(write, f"{number}-{step}")
                async with db.read() as tx:
                    assert await tx.fetch(VALUE, n=f"{number}-{step}")
                    await tx.execute(select(tables.properties.c.name).limit(1))
                    await tx.execute(select(tables.users.c.username).limit(number + 1))

        await asyncio.gather(*(work(number) for number in range(10)))
        assert await count(db, "properties") >= 80
        await db.close()


async def test_a_migrator_behind_a_pooler_leaves_no_lock(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """The pooler keeps the session; the lock went with the transaction."""
    name = f"pooled_{os.urandom(4).hex()}"
    postgres_server.sql(f"CREATE DATABASE {name}")
    with pooler(postgres_server) as port:
        handles = [opened(port, name, tmp_path) for _ in range(2)]
        async with asyncio.timeout(120):
            applied = await asyncio.gather(*(migrate(db) for db in handles))
        assert sorted(map(bool, applied)) == [False, True]
        assert (await status(handles[0])).ready
        async with handles[0].read() as tx:
            query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            assert (await tx.execute(query)).scalar_one() == 0
        for db in handles:
            await db.close()


async def test_sessions_of_their_own_need_no_setting(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Not in the pooler either, and the connection brings its bounds."""
    with pooler(postgres_server, "session") as port:
        db = opened(port, postgres_server.fresh(), tmp_path, transactions=False)
        await db.run(write, "first")
        async with db.read() as tx:
            assert await tx.fetch(VALUE, n="first")
            assert (await tx.execute(text("SHOW lock_timeout"))).scalar_one() == "5s"
        await db.close()
