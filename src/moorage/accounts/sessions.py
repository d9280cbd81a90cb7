"""Sessions of people who signed in with a browser: in the database, so that any replica knows them.

    open ─► row ─► find, find, … ─► close, or session_timeout minutes without a request
                     └─ each renews it, at most once a minute

The cookie holds a random id; the row holds its hash. A changed password, a deleted account and
whatever else raises the account's revision end all of its sessions.
"""

import hashlib
import secrets
from dataclasses import dataclass

import orjson
from sqlalchemy import bindparam, delete, select, update

from moorage.access.principals import Principal
from moorage.accounts.records import Login
from moorage.accounts.standing import Standings
from moorage.cache.base import Cache, Kind
from moorage.clock import Clock, SystemClock
from moorage.db.engine import Database
from moorage.db.prepared import Prepared
from moorage.db.tables import sessions, users
from moorage.db.transactions import Tx
from moorage.db.types import from_now, now
from moorage.events import UserSignedIn, UserSignedOut, emit
from moorage.settings import Current, Fixed

RENEW_EVERY = 60.0
"""Seconds for which requests of one session write nothing."""


@dataclass(frozen=True, slots=True)
class _Kept:
    user_id: int
    username: str
    revision: int
    expires_at: float  # seconds since 1970
    renewed_at: float


SESSION: Kind[_Kept] = Kind(
    "session",
    lambda kept: orjson.dumps(
        [kept.user_id, kept.username, kept.revision, kept.expires_at, kept.renewed_at]
    ),
    lambda data: _Kept(*orjson.loads(data)),
)
"""By the hash of the id; touched by its renewal and its end."""


class Sessions:
    """Opens, finds and closes sessions."""

    def __init__(
        self,
        db: Database,
        cache: Cache,
        standings: Standings,
        settings: Current | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._db = db
        self._cache = cache
        self._standings = standings
        self._settings = settings or Fixed()
        self._clock = clock or SystemClock()

    async def open(self, login: Login) -> str:
        """Begin a session for a user whose credentials were right. Returns its secret id."""
        secret = secrets.token_urlsafe(32)
        seconds = await self._seconds()

        async def step(tx: Tx) -> None:
            await tx.execute(
                sessions.insert().values(
                    digest=_digest(secret),
                    user_id=login.principal.id,
                    revision=login.revision,
                    expires_at=from_now(seconds),
                )
            )
            name = login.principal.name
            await emit(tx, UserSignedIn(operator=name, username=name))

        await self._db.run(step)
        return secret

    async def find(self, secret: str, *, renew: bool = True) -> Login | None:
        """Who opened the session; None when it ended. A request that polls does not renew it."""
        digest = _digest(secret)
        kept = await self._cache.through(SESSION, SESSION.key(digest), lambda: self._load(digest))
        moment = self._clock.now().timestamp()
        if kept is None or kept.expires_at <= moment:
            return None
        principal = Principal("user", kept.user_id, kept.username)
        standing = await self._standings.of(principal)
        if standing is None or standing.revision != kept.revision:
            return None
        if renew and moment - kept.renewed_at >= RENEW_EVERY:
            await self._db.run(_renew, digest, await self._seconds())
        return Login(
            Principal("user", kept.user_id, kept.username, sysadmin=standing.sysadmin),
            kept.revision,
        )

    async def close(self, secret: str) -> None:
        """End a session; one that is not there is no error."""
        digest = _digest(secret)

        async def step(tx: Tx) -> None:
            tx.touch(SESSION.key(digest))
            ended = delete(sessions).where(sessions.c.digest == digest)
            row = (await tx.execute(ended.returning(sessions.c.user_id))).one_or_none()
            if row is not None:
                who = select(users.c.username).where(users.c.id == row.user_id)
                name = (await tx.execute(who)).scalar_one()
                await emit(tx, UserSignedOut(operator=name, username=name))

        await self._db.run(step)

    async def tidy(self) -> int:
        """Delete what ended. Returns how many there were."""

        async def step(tx: Tx) -> int:
            gone = await tx.execute(delete(sessions).where(sessions.c.expires_at <= now()))
            return int(gone.rowcount)

        return await self._db.run(step)

    async def _load(self, digest: str) -> _Kept | None:
        async with self._db.read() as tx:
            row = await tx.find(_BY_DIGEST, digest=digest)
        if row is None:
            return None
        ends, renewed = row.expires_at.timestamp(), row.renewed_at.timestamp()
        return _Kept(row.user_id, row.username, row.revision, ends, renewed)

    async def _seconds(self) -> float:
        return (await self._settings.current()).session_timeout * 60.0


async def _renew(tx: Tx, digest: str, seconds: float) -> None:
    """Step: let the session rest as long again, unless it ended meanwhile."""
    tx.touch(SESSION.key(digest))
    await tx.execute(
        update(sessions)
        .where(sessions.c.digest == digest, sessions.c.expires_at > now())
        .values(expires_at=from_now(seconds), renewed_at=now())
    )


_BY_DIGEST = Prepared(
    lambda _: (
        select(
            sessions.c.user_id,
            users.c.username,
            sessions.c.revision,
            sessions.c.expires_at,
            sessions.c.renewed_at,
        )
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.digest == bindparam("digest"))
    )
)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
