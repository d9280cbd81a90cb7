"""From settings to a `Database`."""

import asyncio
import os
import ssl
import uuid
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_

from moorage.clock import Clock
from moorage.config.database import DatabaseSettings
from moorage.db import onehop
from moorage.db.dialects import BUSY_SECONDS, PostgresDialect, SqliteDialect
from moorage.db.engine import Database
from moorage.db.hosts import Host, Hosts, parse
from moorage.db.hosts import connect as connect_one
from moorage.db.types import sqlite_text

FILE = "moorage.db"
READERS = 4
# Statements and not parameters of the start, most of which PgBouncer refuses.
_SESSION = (
    "SET jit = off;"
    "SET lock_timeout = '5s';"  # then the step begins again: a wait for a row is not for ever
    "SET idle_in_transaction_session_timeout = '30s';"  # ends the locks of a frozen process
    # The server ends the session of a machine that is gone, instead of keeping it for two hours.
    "SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4;"
    "SET tcp_user_timeout = '40s'"
)


def connect(settings: DatabaseSettings, *, data_dir: Path, clock: Clock) -> Database:
    """The database that the settings name; nothing is opened before the first use.

    Raises ValueError for settings that cannot work, OSError when a SQLite file cannot be made.
    """
    if settings.postgres:
        return _postgres(settings)
    path = data_dir / FILE
    if settings.url is not None:
        path = Path(make_url(settings.url.get_secret_value()).database or path)
    return open_sqlite(path, clock, wait_seconds=settings.wait_seconds)


def open_sqlite(path: Path, clock: Clock, *, wait_seconds: float = 30.0) -> Database:
    """A SQLite file, made with mode 0600 if it is missing."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    # One connection writes: whoever wants to waits for a turn instead of polling the file.
    engines = [
        create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            pool_size=size,
            max_overflow=0,
            pool_timeout=wait_seconds,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
            pool_reset_on_return=None,  # `Database` rolls back what fails
        )
        for size in (1, READERS)
    ]
    for engine in engines:
        _prepare_sqlite(engine.sync_engine, clock)
    return Database(engines[0], SqliteDialect(), engines[1], wait_seconds=wait_seconds)


def _prepare_sqlite(engine: Engine, clock: Clock) -> None:
    def moorage_now(seconds: float) -> str:
        return sqlite_text(clock.now() + timedelta(seconds=seconds))

    event.listen(engine, "do_connect", onehop.connect)

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say BEGIN
        connection.create_function("moorage_now", 1, moorage_now)
        cursor = connection.cursor()
        _use_wal(cursor)
        for pragma in (
            "synchronous = FULL",  # NORMAL may lose an acknowledged commit when the power fails
            "foreign_keys = ON",
            "temp_store = MEMORY",
            "cache_size = -16384",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def _use_wal(cursor: Any) -> None:
    """Switch the file to a write-ahead log: the one lock that SQLite does not wait for itself."""
    until = monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except Exception as error:
            if "database is locked" not in str(error) or monotonic() > until:
                raise
            await_(asyncio.sleep(0.02))
        else:
            return


def _postgres(settings: DatabaseSettings) -> Database:
    arguments: dict[str, Any] = {
        "ssl": _tls(settings),
        "timeout": settings.wait_seconds,
        "command_timeout": 60,
        "server_settings": {"application_name": "moorage"},
    }
    if settings.transaction_pooler:
        arguments |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__moorage_{uuid.uuid4().hex}__",
        }
    else:
        arguments |= {
            "prepared_statement_cache_size": 500,
            "session": _SESSION,
        }
    address, hosts = _address(settings)
    arguments["async_creator_fn"] = Hosts(hosts).connect if len(hosts) > 1 else connect_one
    engine: AsyncEngine = create_async_engine(
        address,
        connect_args=arguments,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.wait_seconds,
        pool_recycle=1800,
        pool_use_lifo=True,
    )
    return Database(
        engine,
        PostgresDialect(),
        connect_arguments=arguments,
        swapped=settings.transaction_pooler,
    )


def _address(settings: DatabaseSettings) -> tuple[URL, list[Host]]:
    """The address with the first host, and all hosts."""
    if settings.url is not None:
        text, hosts = _one_host(settings.url.get_secret_value())
        url = make_url(text)
        unknown = set(url.query) - {"sslmode", "sslrootcert"}
        if unknown:
            raise ValueError(f"unknown parameters of database.url: {', '.join(sorted(unknown))}")
        return url.set(drivername="postgresql+asyncpg", query={}), hosts
    password = settings.password.get_secret_value() if settings.password else None
    host, hosts = settings.host or "", [(settings.host or "", settings.port)]
    where: dict[str, Any] = {"query": {"host": host, "port": str(settings.port)}}
    if not host.startswith("/"):
        hosts = parse(host, settings.port)
        where = {"host": hosts[0][0], "port": hosts[0][1]}
    url = URL.create(
        "postgresql+asyncpg",
        username=settings.username,
        password=password,
        database=settings.name,
        **where,
    )
    return url, hosts


def _one_host(url: str) -> tuple[str, list[Host]]:
    """An address without all hosts but the first, and all of them."""
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    login, at, names = netloc.rpartition("@")
    if "," not in names:
        return url, []
    return f"{scheme}://{login}{at}{names.partition(',')[0]}{slash}{path}", parse(names, 5432)


def _tls(settings: DatabaseSettings) -> ssl.SSLContext | bool:
    """libpq's modes, without those that fall back to plain text."""
    mode, root = settings.sslmode, settings.sslrootcert
    if settings.url is not None:
        query = make_url(_one_host(settings.url.get_secret_value())[0]).query
        mode = str(query.get("sslmode", mode))  # type: ignore[assignment]
        root = Path(str(query["sslrootcert"])) if "sslrootcert" in query else root
    if mode == "disable":
        return False
    if mode not in ("require", "verify-ca", "verify-full"):
        raise ValueError("sslmode is one of disable, require, verify-ca, verify-full")
    context = ssl.create_default_context(cafile=str(root) if root else None)
    context.check_hostname = mode == "verify-full"
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context
