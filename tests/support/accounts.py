"""The domain of accounts on a real database, with quick hashes."""

from dataclasses import dataclass, field

from tests.support.clocks import TurnedClock

from moorage.access.exchanged import ExchangedTokens
from moorage.access.jwts import KeyRing
from moorage.access.principals import COMMAND_LINE, Principal
from moorage.access.secretbox import SecretBox
from moorage.access.tokens import Tokens
from moorage.accounts.access_tokens import AccessTokens
from moorage.accounts.federation import Lending
from moorage.accounts.keys import Keys
from moorage.accounts.logins import Directory, Logins
from moorage.accounts.passwords import Passwords
from moorage.accounts.records import Permission
from moorage.accounts.robots import Robots
from moorage.accounts.sessions import Sessions
from moorage.accounts.standing import Standings
from moorage.accounts.users import Users
from moorage.cache.base import Cache
from moorage.cache.local import LocalCache, NoCache
from moorage.db.engine import Database
from moorage.projects.grants import Grants
from moorage.projects.members import Members
from moorage.projects.projects import Projects
from moorage.settings import Current
from moorage.web.callers import Callers

PASSWORD = "Correct1horse"
SECRET_KEY = "a secret key of these tests"
SERVICE = "harbor-registry"


def quick_passwords() -> Passwords:
    """Argon2id as weak as it gets: tests hash a lot."""
    return Passwords(memory_kib=8, passes=1)


def in_project(name: str, *pairs: str) -> Permission:
    """Permission in one project; pairs as "repository:pull"."""
    return Permission("project", name, _pairs(pairs))


def in_system(*pairs: str) -> Permission:
    """Permission in the system scope."""
    return Permission("system", "/", _pairs(pairs))


def _pairs(pairs: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (resource, action) for resource, _, action in (p.partition(":") for p in pairs)
    )


@dataclass
class Replica:
    """What one process holds; several share a database."""

    db: Database
    clock: TurnedClock = field(default_factory=TurnedClock)
    single: bool = True  # False: other replicas write too, so nothing is cached
    passwords: Passwords = field(default_factory=quick_passwords)
    settings: Current | None = None
    directory: Directory | None = None

    def __post_init__(self) -> None:
        db, clock = self.db, self.clock
        cache: Cache = NoCache()
        if self.single:
            cache = LocalCache(clock, entries=1000, size=1 << 20, expire_seconds=86400)
            db.notifier = cache
        self.cache = cache
        self.users = Users(db, self.passwords)
        self.robots = Robots(db, self.passwords)
        self.standings = Standings(db, cache, clock)
        self.ring = KeyRing()
        self.keys = Keys(
            db, SecretBox(SECRET_KEY), self.ring, token_lifetime=1800, clock=self.clock
        )
        exchanged = ExchangedTokens(
            self.ring, issuer="issuer", audience=SERVICE, longest=86400, clock=clock
        )
        self.lending = Lending(exchanged, self.keys, self.standings, clock)
        self.access_tokens = AccessTokens(db, self.standings, clock)
        self.logins = Logins(
            db,
            self.passwords,
            self.standings,
            settings=self.settings,
            directory=self.directory,
            lenders=(self.access_tokens, self.lending),
            clock=clock,
        )
        self.projects = Projects(db)
        self.members = Members(db)
        self.grants = Grants(db, cache, clock)
        self.tokens = Tokens(
            self.ring, issuer="issuer", audience=SERVICE, lifetime=1800, clock=clock
        )
        self.sessions = Sessions(db, cache, self.standings, clock=clock)
        self.callers = Callers(
            self.tokens,
            self.keys,
            self.logins,
            self.standings,
            self.sessions,
            self.grants,
            clock,
        )

    async def user(self, name: str, *, sysadmin: bool = False) -> Principal:
        """Make a user whose password is PASSWORD."""
        user_id = await self.users.create(COMMAND_LINE, name, PASSWORD, sysadmin=sysadmin)
        return Principal("user", user_id, name, sysadmin)

    async def close(self) -> None:
        """End threads and loads."""
        await self.cache.close()
        self.passwords.close()
