"""The real domain on SQLite and a store in memory, with people in it, behind `/v2`.

admin      sysadmin
dev        developer of team
guest      guest of team
stranger   developer of other, nobody in team
projects   team and other are private, open is public
"""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.types import ASGIApp

from moorage.access.principals import ANONYMOUS, Principal
from moorage.artifacts.listing import Listing
from moorage.artifacts.manifests import Manifests
from moorage.artifacts.pulls import Pulls
from moorage.artifacts.rules import Rules
from moorage.artifacts.statistics import PullCounts
from moorage.artifacts.uploads import Uploads
from moorage.blobstore.memory import MemoryStore
from moorage.cache.local import LocalCache
from moorage.cache.lru import BytesLRU
from moorage.clock import SystemClock
from moorage.db.dialects import SqliteDialect
from moorage.db.engine import Database
from moorage.db.tables import metadata, projects, quotas, users
from moorage.db.types import SQLITE_FORM
from moorage.distribution import Distribution, Options
from moorage.errors import Unauthenticated
from moorage.projects.grants import Grants
from moorage.web.callers import Caller
from tests.protocol.client import Client

PEOPLE = {"admin": 1, "dev": 2, "guest": 3, "stranger": 4}


class StubCallers:
    """Stands in for identification."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    def peek(self, authorization: bytes) -> Caller | None:
        kind, _, rest = authorization.decode().partition(" ")
        if kind != "Bearer" or rest == "bad":
            return None
        name, _, access = rest.partition(";")
        table = {}
        for entry in filter(None, access.split(";")):
            repository, _, actions = entry.partition("=")
            table[repository] = frozenset(actions.split(","))
        return Caller(_principal(name), "bearer", table)

    async def identify(self, authorization: bytes | None, address: str) -> Caller:
        if authorization is None:
            return Caller(ANONYMOUS, "none", None)
        kind, _, rest = authorization.decode().partition(" ")
        if kind == "Basic":
            name, _, password = base64.b64decode(rest).decode().partition(":")
            known = name in PEOPLE and password == "right"
            return Caller(_principal(name) if known else ANONYMOUS, "basic", None)
        raise Unauthenticated("the token is not valid")

    async def repository_actions(self, caller: Caller, repository: str) -> frozenset[str]:
        if caller.access is not None:
            return caller.access.get(repository, frozenset())
        project = repository.partition("/")[0]
        role = {
            ("admin", "team"): "pull push delete",
            ("admin", "other"): "pull push delete",
            ("admin", "open"): "pull push delete",
            ("admin", "missing"): "pull push delete",
            ("dev", "team"): "pull push delete",
            ("dev", "open"): "pull",
            ("guest", "team"): "pull",
            ("guest", "open"): "pull",
            ("stranger", "other"): "pull push delete",
            ("stranger", "open"): "pull",
        }.get((caller.principal.name, project), "")
        return frozenset(role.split())

    async def still_valid(self, caller: Caller) -> bool:
        return caller.principal.name not in self.revoked


def _principal(name: str) -> Principal:
    if name == "anonymous":
        return ANONYMOUS
    return Principal("user", PEOPLE[name], name, sysadmin=name == "admin")


@dataclass
class Registry:
    """What the tests reach into."""

    app: Distribution
    db: Database
    store: MemoryStore
    callers: StubCallers
    parts: dict[str, object]

    def client(
        self, name: str | None = None, password: str = "right", app: ASGIApp | None = None
    ) -> Client:
        """A client with a name and password, or with neither."""
        if name is None:
            return Client(app or self.app)
        pair = base64.b64encode(f"{name}:{password}".encode()).decode()
        return Client(app or self.app, f"Basic {pair}")

    async def bearer(
        self, name: str, access: Mapping[str, str], app: ASGIApp | None = None
    ) -> Client:
        """A client with a token for repositories and their comma-separated actions."""
        granted = "".join(f";{repository}={actions}" for repository, actions in access.items())
        return Client(app or self.app, f"Bearer {name}{granted}")

    def reopened(self, options: Options) -> Distribution:
        """The same registry behind a face with other settings."""
        return Distribution(**self.parts, options=options)  # type: ignore[arg-type]


@asynccontextmanager
async def open_registry(folder: Path, store: MemoryStore | None = None) -> AsyncIterator[Registry]:
    """A registry in an empty folder."""
    store = store or MemoryStore()
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/registry.db")

    @event.listens_for(engine.sync_engine, "connect")
    def _connect(connection: object, record: object) -> None:
        connection.isolation_level = None
        connection.create_function(
            "moorage_now",
            1,
            lambda s: (datetime.now(UTC) + timedelta(seconds=s)).strftime(SQLITE_FORM),
        )
        connection.execute("PRAGMA foreign_keys=ON").close()

    db = Database(engine, SqliteDialect())
    cache = LocalCache(SystemClock(), entries=10_000, size=8 << 20, expire_seconds=60)
    db.notifier = cache
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await db.run(_people)
    rules = Rules()
    parts = {
        "pulls": Pulls(db, store, cache, PullCounts(db), BytesLRU(size=8 << 20)),
        "uploads": Uploads(db, store, rules),
        "manifests": Manifests(db, rules),
        "listing": Listing(db),
        "callers": StubCallers(),
        "grants": Grants(db, cache),
    }
    try:
        yield Registry(Distribution(**parts), db, store, parts["callers"], parts)
    finally:
        await cache.close()
        await db.close()


async def _people(tx) -> None:
    for name, number in PEOPLE.items():
        await tx.execute(users.insert().values(id=number, username=name, sysadmin=name == "admin"))
    for number, name in enumerate(("team", "other", "open"), 1):
        await tx.execute(
            projects.insert().values(id=number, name=name, owner_id=1, public=name == "open")
        )
        await tx.execute(quotas.insert().values(project_id=number))
