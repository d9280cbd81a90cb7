"""Both databases, fresh for each test.

`database` is a migrated, empty database: SQLite in a file, or PostgreSQL in a server of this run's
own. The schema is made once and copied.
"""

import asyncio
import atexit
import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from tests.support.requirements import path_of
from tools.ports import free_port

from moorage.clock import Clock, SystemClock
from moorage.config.database import DatabaseSettings
from moorage.db import Database, connect
from moorage.db import open_sqlite as _open_sqlite
from moorage.db.migrator import migrate


@functools.cache
def sqlite_template() -> Path:
    """A migrated SQLite file to copy."""
    folder = Path(tempfile.mkdtemp(prefix="moorage-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _migrated(_open_sqlite(folder / "moorage.db", SystemClock()))
    return folder / "moorage.db"


def _migrated(db: Database) -> None:
    """Make the schema, and close."""

    async def make() -> None:
        await migrate(db)
        await db.close()

    # A thread of its own: the caller's may be running a loop already.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make()).result()


async def open_sqlite(path: Path, clock: Clock) -> Database:
    """A SQLite database whose clock a test can turn."""
    return _open_sqlite(path, clock)


@dataclass
class PostgresServer:
    """A PostgreSQL server in a temporary directory."""

    folder: Path
    binaries: Path
    port: int
    durable: bool = False  # whether commits wait for the disk

    def url(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def settings(self, database: str, **more: object) -> DatabaseSettings:
        """Settings that name one of its databases; patient, for a machine that is busy."""
        patient: dict[str, object] = {"wait_seconds": 30.0, **more}
        return DatabaseSettings(url=SecretStr(self.url(database)), **patient)

    def control(self, *arguments: str) -> None:
        """Run pg_ctl."""
        _as_postgres([str(self.binaries / "pg_ctl"), "-D", str(self.folder / "data"), *arguments])

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        if not self.durable:
            options += " -c fsync=off"
        self.control(
            "-o", f"{options} -c max_connections=100", "-l", f"{self.folder}/log", "-w", "start"
        )

    def stop(self, mode: str = "immediate") -> None:
        """Stop; `immediate` is as a crash."""
        self.control("-m", mode, "-w", "stop")

    @property
    def pid(self) -> int:
        """The first of its processes."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def sql(self, statement: str, database: str = "postgres") -> None:
        """Run a statement outside of any transaction."""
        subprocess.run(
            [
                *(str(self.binaries / "psql"), "-q", "-v", "ON_ERROR_STOP=1"),
                *(self.url(database), "-c", statement),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def fresh(self) -> str:
        """The name of a new database with the schema."""
        name = f"t{uuid.uuid4().hex}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template_moorage")
        return name


def _as_postgres(command: list[str]) -> None:
    """Run a command; PostgreSQL refuses root, so root becomes another user for it."""
    options: dict[str, object] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
        **options,  # type: ignore[call-overload]
    )


def _binaries() -> Path:
    return Path(path_of("initdb")).resolve().parent


@contextlib.contextmanager
def running_postgres(*options: str, durable: bool = False) -> Iterator[PostgresServer]:
    """A server of one's own."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="moorage-pg-"))
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    server = PostgresServer(folder, binaries, free_port(), durable)
    init = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    _as_postgres([str(binaries / "initdb"), "-D", str(folder / "data"), *init, *options])
    server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The PostgreSQL server of this run, with a migrated template."""
    with running_postgres() as server:
        server.sql("CREATE DATABASE template_moorage")
        settings = server.settings("template_moorage")
        _migrated(connect(settings, data_dir=server.folder, clock=SystemClock()))
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database with the schema, on each of the two kinds."""
    if request.param == "sqlite":
        shutil.copyfile(sqlite_template(), tmp_path / "moorage.db")
        db = _open_sqlite(tmp_path / "moorage.db", SystemClock())
        yield db
        await db.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.fresh()
    db = connect(server.settings(name), data_dir=tmp_path, clock=SystemClock())
    yield db
    await db.close()
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")


async def count(db: Database, table: str) -> int:
    """Rows of a table."""
    async with db.read() as tx:
        rows = await tx.execute(text(f"SELECT count(*) FROM {table}"))
        return int(rows.scalar_one())
