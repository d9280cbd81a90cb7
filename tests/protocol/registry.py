"""The real domain on SQLite and a store in memory, with people in it, behind `/v2`.

    admin      sysadmin
    dev        maintainer of team
    guest      guest of team
    stranger   maintainer of other, nobody in team
    projects   team and other are private, open is public

The database with the people is made once and copied for each test.
"""

import base64
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import update
from starlette.types import ASGIApp

from moorage.access.jwts import KeyRing
from moorage.access.principals import ANONYMOUS, COMMAND_LINE, Principal
from moorage.access.roles import GUEST, MAINTAINER
from moorage.access.secretbox import SecretBox
from moorage.access.tokens import Right, Tokens
from moorage.accounts.keys import Keys
from moorage.accounts.logins import Logins
from moorage.accounts.passwords import Passwords
from moorage.accounts.sessions import Sessions
from moorage.accounts.standing import Standings, touch_user
from moorage.accounts.users import Users
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
from moorage.db import Database, Tx, open_sqlite
from moorage.db.migrator import migrate
from moorage.db.tables import project_members, projects, quotas, users
from moorage.distribution import Distribution, Options
from moorage.projects.grants import Grants
from moorage.settings import Configurations
from moorage.web.callers import Callers
from tests.protocol.client import Client

PASSWORD = "Correct-horse-7"
PEOPLE = {"admin": 1, "dev": 2, "guest": 3, "stranger": 4}
PROJECTS = {"team": 1, "other": 2, "open": 3}
MEMBERS = {("team", "dev"): MAINTAINER, ("team", "guest"): GUEST, ("other", "stranger"): MAINTAINER}
SECRET_KEY = "protocol tests have no secrets"
LIFETIME = 1800.0
ISSUER, SERVICE = "tests", "harbor-registry"


@dataclass
class Registry:
    """What the tests reach into."""

    app: Distribution
    db: Database
    store: MemoryStore
    ring: KeyRing
    tokens: Tokens
    standings: Standings
    parts: dict[str, Any]

    def client(
        self, name: str | None = None, password: str = PASSWORD, app: ASGIApp | None = None
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
        rights = {}
        for repository, actions in access.items():
            project = await self.parts["grants"].project(repository.partition("/")[0])
            issued_for = None if project is None else (project.id, project.created_at)
            rights[repository] = Right(frozenset(actions.split(",")), issued_for)
        principal = ANONYMOUS if name == "anonymous" else principal_of(name)
        standing = await self.standings.of(principal)
        revision = standing.revision if standing else 0
        issued = self.tokens.issue(principal, rights, revision=revision)
        return Client(app or self.app, f"Bearer {issued.token}")

    def reopened(self, options: Options) -> Distribution:
        """The same registry behind a face with other settings."""
        return Distribution(**self.parts, options=options)

    async def change_account(self, name: str) -> None:
        """Do what every change of an account does: its tokens become void for writing."""

        async def step(tx: Tx) -> None:
            newer = {"revision": users.c.revision + 1}
            await tx.execute(update(users).filter_by(username=name).values(newer))
            touch_user(tx, PEOPLE[name])

        await self.db.run(step)


def principal_of(name: str) -> Principal:
    """Somebody of `PEOPLE`."""
    return Principal("user", PEOPLE[name], name, sysadmin=name == "admin")


def _connect(folder: Path) -> Database:
    return open_sqlite(folder / "registry.db", SystemClock())


async def make_template(folder: Path, passwords: Passwords) -> None:
    """A database with the people and the projects."""
    db = _connect(folder)
    await migrate(db)
    accounts = Users(db, passwords)
    for name, number in PEOPLE.items():
        assert (
            await accounts.create(COMMAND_LINE, name, PASSWORD, sysadmin=name == "admin") == number
        )
    await db.run(_projects)
    await db.close()


async def _projects(tx: Tx) -> None:
    for name, number in PROJECTS.items():
        await tx.execute(
            projects.insert().values(id=number, name=name, owner_id=1, public=name == "open")
        )
        await tx.execute(quotas.insert().values(project_id=number))
    for (project, name), role in MEMBERS.items():
        await tx.execute(
            project_members.insert().values(
                project_id=PROJECTS[project], user_id=PEOPLE[name], role_id=role
            )
        )


@asynccontextmanager
async def open_registry(
    folder: Path, template: Path, passwords: Passwords, rules: Rules | None = None
) -> AsyncIterator[Registry]:
    """A registry on a copy of the template."""
    shutil.copy(template / "registry.db", folder)
    db, store, rules = _connect(folder), MemoryStore(), rules or Rules()
    cache = LocalCache(SystemClock(), entries=10_000, size=8 << 20, expire_seconds=60)
    db.notifier = cache
    ring = KeyRing()
    box = SecretBox(SECRET_KEY)
    keys = Keys(db, box, ring, token_lifetime=LIFETIME)
    await keys.start()
    tokens = Tokens(ring, issuer=ISSUER, audience=SERVICE, lifetime=LIFETIME)
    standings, grants = Standings(db, cache), Grants(db, cache)
    logins = Logins(db, passwords, standings)
    parts: dict[str, Any] = {
        "pulls": Pulls(db, store, cache, PullCounts(db), BytesLRU(size=8 << 20)),
        "uploads": Uploads(db, store, rules),
        "manifests": Manifests(db, rules),
        "listing": Listing(db),
        "callers": Callers(tokens, keys, logins, standings, Sessions(db, cache, standings), grants),
        "grants": grants,
        "settings": Configurations(db, cache, box),
    }
    try:
        yield Registry(Distribution(**parts), db, store, ring, tokens, standings, parts)
    finally:
        await cache.close()
        await db.close()
